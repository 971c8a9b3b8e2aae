"""`cloudrun-identity role explain`: why a role escalates privileges."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cloudrun_identity.cli import cli
from cloudrun_identity.iam.role_catalog import role_catalog

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "escalation.md"


def explain(*arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(cli, ["role", "explain", *arguments], prog_name="x", input=stdin)


def printed(*arguments: str, stdin: str = "") -> str:
    result = explain(*arguments, stdin=stdin)
    assert result.exit_code == 0, result.output
    return result.stdout


def explained(*arguments: str, stdin: str = "") -> Any:
    return json.loads(printed(*arguments, "-o", "json", stdin=stdin))


def refusal(*arguments: str) -> str:
    result = explain(*arguments)
    assert result.exit_code != 0
    (line,) = result.stderr.splitlines()
    return line


def test_escalating_role_is_explained_by_group() -> None:
    text = printed("roles/run.developer")

    assert text.startswith("roles/run.developer escalates privileges (")
    assert role_catalog().date in text
    assert "job-overrides: its holder can run any command as a job's identity" in text
    assert "  - run.jobs.runWithOverrides\n" in text
    assert "  escalates on: projects, single resources" in text
    assert text.endswith("only with allowEscalation: true.\n")


def test_harmless_role_is_reported_as_such() -> None:
    text = printed("roles/run.invoker")

    assert text.startswith("roles/run.invoker does not escalate privileges (")
    assert "without allowEscalation" in text


def test_escalation_on_projects_only_is_told_apart() -> None:
    [finding] = explained("roles/secretmanager.secretAccessor")["findings"]

    assert finding == {
        "group": "secrets",
        "reason": "can read every secret of the project",
        "targets": ["projects"],
        "permissions": ["secretmanager.versions.access"],
    }


def test_role_file_is_explained_like_a_role() -> None:
    file = "includedPermissions: [run.jobs.run, iam.roles.update, run.widgets.frobnicate]"

    explanation = explained("--from-file", "-", stdin=file)

    assert explanation["escalates"]
    assert {finding["group"]: finding["permissions"] for finding in explanation["findings"]} == {
        "roles": ["iam.roles.update"],
        "unknown": ["run.widgets.frobnicate"],
    }


def test_role_without_permissions_is_harmless() -> None:
    role = next(role for role in role_catalog().values() if not role.permissions)
    assert not explained(role.name)["escalates"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name either ROLE"),
        (("roles/run.viewer", "--from-file", "-"), "name either ROLE"),
        (("run.viewer",), "is not the name of a role"),
        (("roles/run.nonsense",), "add --live to read it from Google Cloud"),
    ],
)
def test_wrong_arguments_are_one_line(arguments: tuple[str, ...], message: str) -> None:
    assert message in refusal(*arguments)


def test_page_is_generated_from_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == printed("--markdown"), "run `make generate`"
