"""gcloud commands that grant roles."""

import shlex

import pytest

from cloudrun_identity.api import TargetKind
from cloudrun_identity.iam.gcloud_bindings import COMMANDS, binding_command, removal_command
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.workload_needs import instance_condition


@pytest.mark.parametrize("kind", COMMANDS)
def test_command_names_the_resource_completely(kind: TargetKind) -> None:
    target = Target(kind, "shop-1234", "europe-west1", "the-name", "the-ring")
    command = binding_command(target, "roles/viewer", "user:ann@example.com")
    assert command.startswith("gcloud ")
    assert command.endswith(" --member=user:ann@example.com --role=roles/viewer")
    for part, is_needed in {
        "shop-1234": kind is not TargetKind.STORAGE_BUCKET,
        "europe-west1": target.descriptor.has_location,
        "the-ring": target.descriptor.parent is not None,
        "the-name": kind is not TargetKind.PROJECT,
    }.items():
        assert (part in command) == is_needed


def test_condition_is_one_quoted_argument() -> None:
    condition = instance_condition("shop-1234", "orders")
    command = binding_command(Target.project("shop-1234"), "roles/viewer", "user:a@b.example", condition)
    assert shlex.split(command)[-1] == (
        f"--condition=title={condition.title},expression={condition.expression}"
    )


def test_removal_names_the_condition_of_a_grant() -> None:
    command = removal_command("shop-1234", "roles/viewer", "user:a@b.example", 'resource.name == "a"')
    assert command.endswith(""" --condition='expression=resource.name == "a",title=TITLE'""")
    assert "--condition" not in removal_command("shop-1234", "roles/viewer", "user:a@b.example")
