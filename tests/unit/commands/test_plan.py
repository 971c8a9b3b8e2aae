"""`cloudrun-identity plan`: errors before the first call to Google Cloud."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from cloudrun_identity.cli import cli

OTHER_KIND = "{apiVersion: v1, kind: ConfigMap, metadata: {name: x}}"
VALID_PROJECT = """
apiVersion: cloudrun-identity.dev/v1alpha1
kind: ManagedProject
metadata: {name: shop-1234}
spec: {}
"""
INVALID_PROJECT = """
apiVersion: cloudrun-identity.dev/v1alpha1
kind: ManagedProject
metadata: {name: shop-1234}
spec: {driftInterval: soon, suspend: perhaps}
"""


def refusal(path: Path | str, text: str = "") -> list[str]:
    """Return the error lines of a plan that fails."""
    result = CliRunner().invoke(cli, ["plan", "-f", str(path), "--google-endpoint=127.0.0.1:9"], input=text)
    assert result.exit_code == 1
    assert result.stdout == ""
    return result.stderr.splitlines()


@pytest.mark.parametrize("text", ["", OTHER_KIND])
def test_directory_without_objects_of_the_operator_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "other.yaml").write_text(text)
    assert refusal(tmp_path) == [f"Error: there is no object of cloudrun-identity.dev in {tmp_path}"]


def test_manifests_are_read_from_standard_input() -> None:
    first, second = refusal("-", INVALID_PROJECT)
    assert first.startswith("Error: -: ManagedProject shop-1234: spec.suspend: 'perhaps': ")
    assert second.startswith("Error: -: ManagedProject shop-1234: spec.driftInterval: 'soon': ")


@pytest.mark.parametrize("arguments", [["--prune"], ["-o", "xml"], ["--nonsense"]])
def test_wrong_option_does_not_end_with_the_exit_code_of_changes(
    tmp_path: Path, arguments: list[str]
) -> None:
    result = CliRunner().invoke(cli, ["plan", "-f", str(tmp_path), *arguments])
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)


def test_short_help_option_prints_examples_and_exit_codes() -> None:
    result = CliRunner().invoke(cli, ["plan", "-h"])
    assert result.exit_code == 0
    assert "Examples:" in result.stdout
    assert "Exit codes:" in result.stdout


def test_unreachable_cluster_ends_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "project.yaml").write_text(VALID_PROJECT)
    kubeconfig = tmp_path / "none"
    result = CliRunner().invoke(cli, ["plan", "-f", str(tmp_path), "--kubeconfig", str(kubeconfig)])
    assert result.exit_code == 1
    assert result.stderr == f"Error: kubeconfig {kubeconfig}: no such file\n"
