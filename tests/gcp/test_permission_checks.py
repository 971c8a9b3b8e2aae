import asyncio
import time

import grpc
import pytest

from cloudrun_identity.api import TargetKind
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.permission_checks import AccessState, PermissionChecks
from cloudrun_identity.gcp.policies import Policies
from cloudrun_identity.gcp.roles import Roles
from cloudrun_identity.iam.grants import Target
from cloudrun_identity_playground.emulator.emulator import Emulator

PROJECT = Target(TargetKind.PROJECT, "shop-1234")
ANN, BOB = "user:ann@example.com", "user:bob@example.com"
PERMISSION = "cloudsql.instances.connect"
ROLE = "roles/cloudsql.client"


@pytest.fixture
def access(clients: GoogleClients) -> PermissionChecks:
    return PermissionChecks(Policies(clients), Roles(clients), time.monotonic)


def grant(emulator: Emulator, member: str, title: str = "") -> None:
    condition = {"condition": {"title": title, "expression": "true"}} if title else {}
    name = "//cloudresourcemanager.googleapis.com/projects/shop-1234"
    emulator.edit({"policy": name, "add": [{"role": ROLE, "member": member, **condition}]})


async def test_a_role_that_holds_the_permission_permits_it(
    access: PermissionChecks, emulator: Emulator
) -> None:
    grant(emulator, ANN)
    assert await access.member_access("user:Ann@example.com", PERMISSION, PROJECT) is AccessState.GRANTED
    assert await access.member_access(BOB, PERMISSION, PROJECT) is AccessState.NOT_GRANTED
    assert await access.member_access(ANN, "run.services.delete", PROJECT) is AccessState.NOT_GRANTED


@pytest.mark.parametrize(("member", "title"), [(ANN, "nightly"), ("group:ops@example.com", "")])
async def test_what_a_condition_or_a_group_decides_is_not_known(
    access: PermissionChecks, emulator: Emulator, member: str, title: str
) -> None:
    grant(emulator, member, title)
    assert await access.member_access(ANN, PERMISSION, PROJECT) is AccessState.UNKNOWN


async def test_any_of_several_targets_permits(access: PermissionChecks, emulator: Emulator) -> None:
    grant(emulator, ANN)
    secret = Target(TargetKind.SECRET, "shop-1234", name="not-there")
    assert await access.member_access(ANN, PERMISSION, secret, PROJECT) is AccessState.GRANTED
    assert await access.member_access(BOB, PERMISSION, secret, PROJECT) is AccessState.UNKNOWN


async def test_many_who_ask_cost_one_call(access: PermissionChecks, emulator: Emulator) -> None:
    grant(emulator, ANN)
    emulator.calls.reset()
    await asyncio.gather(*(access.member_access(ANN, PERMISSION, PROJECT) for _ in range(20)))
    await asyncio.gather(*(access.operator_access(PERMISSION, PROJECT, "shop-1234") for _ in range(20)))
    assert dict(emulator.calls) == {
        "google.cloud.resourcemanager.v3.Projects/GetIamPolicy": 1,
        "google.cloud.resourcemanager.v3.Projects/TestIamPermissions": 1,
        "google.iam.admin.v1.IAM/GetRole": 1,
    }


async def test_a_question_that_google_does_not_answer_is_not_known(
    access: PermissionChecks, emulator: Emulator
) -> None:
    emulator.faults.inject("*", grpc.StatusCode.PERMISSION_DENIED, 2)
    assert await access.member_access(ANN, PERMISSION, PROJECT) is AccessState.UNKNOWN
    assert await access.operator_access(PERMISSION, PROJECT, "shop-1234") is AccessState.UNKNOWN
