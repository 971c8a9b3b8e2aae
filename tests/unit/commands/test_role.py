"""`cloudrun-identity role`: a CustomRole from the role file of gcloud."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from cloudrun_identity.api import CustomRole
from cloudrun_identity.cli import cli

RUNNER = """
title: Prefect runner
description: Starts a job for each flow run
stage: GA
includedPermissions:
- run.jobs.run
- run.jobs.create
"""
DESCRIBED = f"{RUNNER}\netag: BwYx\nname: projects/acme-flows/roles/prefectRunner\n"


def role(tmp_path: Path, text: str, *arguments: str) -> Result:
    file = tmp_path / "role.yaml"
    file.write_text(text)
    return CliRunner().invoke(
        cli, ["role", "--from-file", str(file), "--project-ref", "flows", *arguments], prog_name="x"
    )


def manifest(tmp_path: Path, text: str, *arguments: str) -> Any:
    result = role(tmp_path, text, *arguments)
    assert result.exit_code == 0, result.output
    return yaml.safe_load(result.stdout)


def refusal(tmp_path: Path, text: str, *arguments: str) -> str:
    result = role(tmp_path, text, *arguments)
    assert result.exit_code != 0
    (line,) = result.stderr.splitlines()
    return line


def test_output_of_gcloud_describe_becomes_a_valid_custom_role(tmp_path: Path) -> None:
    printed = manifest(tmp_path, DESCRIBED, "--namespace", "flows")

    assert printed == {
        "apiVersion": "cloudrun-identity.dev/v1alpha1",
        "kind": "CustomRole",
        "metadata": {"name": "prefect-runner", "namespace": "flows"},
        "spec": {
            "projectRef": {"name": "flows"},
            "roleID": "prefectRunner",
            "title": "Prefect runner",
            "description": "Starts a job for each flow run",
            "stage": "GA",
            "permissions": ["run.jobs.create", "run.jobs.run"],
        },
    }
    assert CustomRole.model_validate(printed).spec.permissions == ("run.jobs.create", "run.jobs.run")


def test_options_set_the_name_and_the_role_id(tmp_path: Path) -> None:
    printed = manifest(tmp_path, RUNNER, "--role-id", "runner_2", "--name", "runner")

    assert (printed["metadata"], printed["spec"]["roleID"]) == ({"name": "runner"}, "runner_2")


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        (RUNNER, (), "the file has no name; set --role-id"),
        (RUNNER, ("--role-id", "roles/my-custom-role"), "the last part of projects/PROJECT/roles/ID"),
        (
            f"{RUNNER}\nname: roles/my-custom-role",
            (),
            "name: 'roles/my-custom-role' is not a custom role of a project; use projects/PROJECT/roles/ID",
        ),
        (
            "title: Nothing",
            ("--role-id", "nothing"),
            "includedPermissions: must list the permissions of the role",
        ),
        (
            "includedPermissions: [run]",
            ("--role-id", "few"),
            "'run' is not a permission",
        ),
        ("- a list", (), "not a role: expected title, description, stage and includedPermissions"),
        ("title: [", (), "role.yaml, line 1: not valid YAML"),
    ],
)
def test_invalid_role_is_an_error_of_one_line(
    tmp_path: Path, text: str, arguments: tuple[str, ...], message: str
) -> None:
    assert message in refusal(tmp_path, text, *arguments)
