"""`cloudrun-identity check`: output, exit codes and waiting. Other tests make the checks themselves."""

import json
from collections.abc import Iterable

import pytest
from click.testing import CliRunner, Result

from cloudrun_identity.cli import cli
from cloudrun_identity.commands import check_results
from cloudrun_identity.commands.check_results import failed, passed, skipped

GOOD = passed("API server", "v1.36.0 at https://192.0.2.1")
BAD = failed("CRDs", "the IAMBinding CRD is not installed", "cloudrun-identity crds | kubectl apply -f -")
OPEN = skipped("ManagedProjects", "cannot be listed in the cluster")


def check(
    monkeypatch: pytest.MonkeyPatch, *arguments: str, results: Iterable[tuple[check_results.Result, ...]]
) -> Result:
    """Run the command with the results of one attempt after the other."""
    attempts = iter(results)

    async def made(*_: object) -> tuple[check_results.Result, ...]:
        return next(attempts)

    monkeypatch.setattr("cloudrun_identity.commands.check._check", made)
    monkeypatch.setattr("cloudrun_identity.commands.check.RETRY_INTERVAL", 0.0)
    return CliRunner().invoke(cli, ["check", *arguments])


def test_each_result_is_one_line_with_its_remedy_below(monkeypatch: pytest.MonkeyPatch) -> None:
    result = check(monkeypatch, results=[(GOOD, BAD, OPEN)])
    assert result.exit_code == 1
    assert result.output.splitlines() == [
        "✔ API server: v1.36.0 at https://192.0.2.1",
        "✗ CRDs: the IAMBinding CRD is not installed",
        "    cloudrun-identity crds | kubectl apply -f -",
        "- ManagedProjects: cannot be listed in the cluster",
    ]


def test_skipped_check_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check(monkeypatch, results=[(GOOD, OPEN)]).exit_code == 0


def test_json_has_the_same_results(monkeypatch: pytest.MonkeyPatch) -> None:
    result = check(monkeypatch, "-o", "json", results=[(GOOD, BAD)])
    assert result.exit_code == 1
    assert json.loads(result.output) == {
        "passed": False,
        "checks": [
            {"check": "API server", "state": "Passed", "message": GOOD.message, "remedy": []},
            {"check": "CRDs", "state": "Failed", "message": BAD.message, "remedy": list(BAD.remedy)},
        ],
    }


def test_wait_repeats_failed_checks_until_they_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    result = check(monkeypatch, "--wait", "1h", results=[(BAD,), (BAD,), (GOOD,)])
    assert (result.exit_code, result.stdout) == (0, "✔ API server: v1.36.0 at https://192.0.2.1\n")
    assert result.stderr == "waiting for: CRDs\n"


def test_unreachable_cluster_is_a_failed_check_and_no_error() -> None:
    arguments = ["check", "--kubeconfig", "/nonexistent", "--google-endpoint", "127.0.0.1:1"]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 1
    assert result.output.splitlines()[0] == "✗ API server: kubeconfig /nonexistent: no such file"
