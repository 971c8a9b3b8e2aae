"""A role written down for gcloud becomes a CustomRole."""

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


def test_a_role_as_describe_prints_it_is_a_manifest_that_the_kind_takes(tmp_path: Path) -> None:
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


def test_names_may_be_given(tmp_path: Path) -> None:
    printed = manifest(tmp_path, RUNNER, "--role-id", "runner_2", "--name", "runner")

    assert (printed["metadata"], printed["spec"]["roleID"]) == ({"name": "runner"}, "runner_2")


@pytest.mark.parametrize(
    ("text", "arguments", "said"),
    [
        (RUNNER, (), "which role? the file has no name:, so say --role-id ID"),
        (RUNNER, ("--role-id", "roles/my-custom-role"), "the last part of projects/PROJECT/roles/ID"),
        (
            f"{RUNNER}\nname: roles/my-custom-role",
            (),
            "name: 'roles/my-custom-role' is no custom role of a project; write projects/PROJECT/roles/ID",
        ),
        ("title: Nothing", ("--role-id", "nothing"), "includedPermissions: list the permissions of the role"),
        (
            "includedPermissions: [run]",
            ("--role-id", "few"),
            "'run' is no permission",
        ),
        ("- a list", (), "a role has title, description, stage and includedPermissions"),
        ("title: [", (), "role.yaml, line 1: this is not YAML"),
    ],
)
def test_what_is_no_role_is_refused_in_one_line(
    tmp_path: Path, text: str, arguments: tuple[str, ...], said: str
) -> None:
    assert said in refusal(tmp_path, text, *arguments)
