"""Advisory permission checks."""

import asyncio
import time

import grpc
import pytest

from cloudrun_identity.api import TargetKind
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.permission_checks import AccessState, PermissionChecks
from cloudrun_identity.gcp.policies import Policies
from cloudrun_identity.gcp.roles import Roles
from cloudrun_identity.gcp.service_accounts import ServiceAccounts
from cloudrun_identity.gcp.unique_ids import UniqueIDs
from cloudrun_identity.iam.grants import Target
from cloudrun_identity_playground.emulator.emulator import Emulator
from cloudrun_identity_playground.emulator.seed import Binding, Project, Seed, TargetResource
from tests.gcp.conftest import Observer

PROJECT = Target(TargetKind.PROJECT, "shop-1234")
ANN, BOB = "user:ann@example.com", "user:bob@example.com"
PERMISSION = "cloudsql.instances.connect"
ROLE = "roles/cloudsql.client"


def permission_checks(clients: GoogleClients) -> PermissionChecks:
    unique_ids = UniqueIDs(clients, ServiceAccounts(clients))
    return PermissionChecks(Policies(clients), Roles(clients), unique_ids, time.monotonic)


@pytest.fixture
def checks(clients: GoogleClients) -> PermissionChecks:
    return permission_checks(clients)


def grant(emulator: Emulator, member: str, title: str = "") -> None:
    condition = {"condition": {"title": title, "expression": "true"}} if title else {}
    name = "//cloudresourcemanager.googleapis.com/projects/shop-1234"
    emulator.edit({"policy": name, "add": [{"role": ROLE, "member": member, **condition}]})


async def test_binding_of_a_role_with_the_permission_grants_it(
    checks: PermissionChecks, emulator: Emulator
) -> None:
    grant(emulator, ANN)
    assert await checks.member_access("user:Ann@example.com", PERMISSION, PROJECT) is AccessState.GRANTED
    assert await checks.member_access(BOB, PERMISSION, PROJECT) is AccessState.NOT_GRANTED
    assert await checks.member_access(ANN, "run.services.delete", PROJECT) is AccessState.NOT_GRANTED


@pytest.mark.parametrize(("member", "title"), [(ANN, "nightly"), ("group:ops@example.com", "")])
async def test_conditional_or_group_binding_is_unknown(
    checks: PermissionChecks, emulator: Emulator, member: str, title: str
) -> None:
    grant(emulator, member, title)
    assert await checks.member_access(ANN, PERMISSION, PROJECT) is AccessState.UNKNOWN


async def test_binding_with_the_condition_of_the_access_grants_it(
    checks: PermissionChecks, emulator: Emulator
) -> None:
    grant(emulator, ANN, "nightly")
    same = await checks.member_access(ANN, PERMISSION, PROJECT, condition="true")
    other = await checks.member_access(ANN, PERMISSION, PROJECT, condition="false")
    assert (same, other) == (AccessState.GRANTED, AccessState.UNKNOWN)


async def test_bucket_of_another_project_counts_as_missing() -> None:
    """The policy of another team's bucket must not be disclosed."""
    policy = (Binding(role="roles/storage.objectViewer", members=(ANN,)),)
    bucket = TargetResource(kind=TargetKind.STORAGE_BUCKET, name="exports", policy=policy)
    projects = (Project(project_id="finance-1", resources=(bucket,)), Project(project_id="shop-1234"))
    async with Emulator(seed=Seed(projects=projects)) as emulator:
        clients = GoogleClients(emulator.grpc_address, Observer())
        checks = permission_checks(clients)
        own, foreign = (
            Target(TargetKind.STORAGE_BUCKET, project, name="exports")
            for project in ("finance-1", "shop-1234")
        )
        assert await checks.member_access(ANN, "storage.objects.get", own) is AccessState.GRANTED
        assert await checks.member_access(ANN, "storage.objects.get", foreign) is AccessState.UNKNOWN
        assert (await checks.is_missing(own), await checks.is_missing(foreign)) == (False, True)
        await clients.close()


async def test_permission_on_any_target_is_granted(checks: PermissionChecks, emulator: Emulator) -> None:
    grant(emulator, ANN)
    secret = Target(TargetKind.SECRET, "shop-1234", name="missing")
    assert await checks.member_access(ANN, PERMISSION, secret, PROJECT) is AccessState.GRANTED
    assert await checks.member_access(BOB, PERMISSION, secret, PROJECT) is AccessState.UNKNOWN


async def test_concurrent_checks_share_one_call(checks: PermissionChecks, emulator: Emulator) -> None:
    grant(emulator, ANN)
    emulator.calls.reset()
    await asyncio.gather(*(checks.member_access(ANN, PERMISSION, PROJECT) for _ in range(20)))
    await asyncio.gather(*(checks.operator_access(PERMISSION, PROJECT, "shop-1234") for _ in range(20)))
    assert dict(emulator.calls) == {
        "google.cloud.resourcemanager.v3.Projects/GetIamPolicy": 1,
        "google.cloud.resourcemanager.v3.Projects/TestIamPermissions": 1,
        "google.iam.admin.v1.IAM/GetRole": 1,
    }


async def test_failed_check_is_unknown(checks: PermissionChecks, emulator: Emulator) -> None:
    emulator.faults.inject("*", grpc.StatusCode.PERMISSION_DENIED, 2)
    assert await checks.member_access(ANN, PERMISSION, PROJECT) is AccessState.UNKNOWN
    assert await checks.operator_access(PERMISSION, PROJECT, "shop-1234") is AccessState.UNKNOWN
