"""What `cloudrun-identity plan` says before it comes to Google Cloud."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from cloudrun_identity.cli import cli

OTHERS = "{apiVersion: v1, kind: ConfigMap, metadata: {name: x}}"
LENT = """
apiVersion: cloudrun-identity.dev/v1alpha1
kind: ManagedProject
metadata: {name: shop-1234}
spec: {driftInterval: soon, suspend: perhaps}
"""


def refusal(path: Path | str, text: str = "") -> list[str]:
    """The lines that a plan ends with."""
    result = CliRunner().invoke(cli, ["plan", "-f", str(path), "--google-endpoint=127.0.0.1:9"], input=text)
    assert result.exit_code == 1
    assert result.stdout == ""
    return result.stderr.splitlines()


@pytest.mark.parametrize("text", ["", OTHERS])
def test_a_directory_without_anything_of_ours_is_a_mistake(tmp_path: Path, text: str) -> None:
    (tmp_path / "other.yaml").write_text(text)
    assert refusal(tmp_path) == [f"Error: there is no object of cloudrun-identity.dev in {tmp_path}"]


def test_manifests_come_from_standard_input_too() -> None:
    first, second = refusal("-", LENT)
    assert first.startswith("Error: -: ManagedProject shop-1234: spec.suspend: 'perhaps': ")
    assert second.startswith("Error: -: ManagedProject shop-1234: spec.driftInterval: 'soon': ")
