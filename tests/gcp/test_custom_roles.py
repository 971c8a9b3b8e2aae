"""Custom roles."""

from dataclasses import replace

import pytest

from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.custom_roles import CustomRoles, RoleFields
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.role_catalog import known_permissions
from cloudrun_identity_playground.emulator.emulator import Emulator

PROJECT = "shop-1234"
POOLS_GET = "iam.googleapis.com/workloadIdentityPools.get"
RUNNER = RoleFields("Runner", "Runs jobs", "BETA", frozenset({"run.jobs.run", "run.jobs.get"}))


@pytest.fixture
def roles(clients: GoogleClients) -> CustomRoles:
    return CustomRoles(clients, clock=lambda: 100.0)


async def test_role_is_created_updated_deleted_and_undeleted(roles: CustomRoles) -> None:
    created = await roles.create(PROJECT, "runner", RUNNER)
    assert await roles.role(PROJECT, "runner", max_age=0.0) == created
    assert (created.name, created.role_id) == (f"projects/{PROJECT}/roles/runner", "runner")
    assert (created.title, created.stage, created.permissions) == ("Runner", "BETA", RUNNER.permissions)

    renamed = replace(RUNNER, title="Job runner", description=None)
    changed = await roles.update(PROJECT, "runner", renamed, created.etag)
    assert changed == replace(created, title="Job runner", etag=changed.etag)

    deleted = await roles.delete(PROJECT, "runner", changed.etag)
    seen = await roles.role(PROJECT, "runner", max_age=0.0)
    assert deleted.deleted
    assert seen is not None
    assert seen.deleted

    restored = await roles.undelete(PROJECT, "runner", deleted.etag)
    assert (restored.deleted, restored.permissions) == (False, RUNNER.permissions)


async def test_update_with_stale_etag_is_aborted(roles: CustomRoles) -> None:
    created = await roles.create(PROJECT, "runner", RUNNER)
    await roles.update(PROJECT, "runner", RUNNER, created.etag)

    with pytest.raises(GoogleError) as raised:
        await roles.update(PROJECT, "runner", RUNNER, created.etag)

    assert raised.value.fault is Fault.ABORTED


async def test_id_of_a_deleted_role_is_in_use(roles: CustomRoles) -> None:
    created = await roles.create(PROJECT, "runner", RUNNER)
    await roles.delete(PROJECT, "runner", created.etag)

    with pytest.raises(GoogleError) as raised:
        await roles.create(PROJECT, "runner", RUNNER)

    assert raised.value.fault is Fault.FAILED_PRECONDITION


async def test_cached_roles_cost_one_list(clients: GoogleClients, emulator: Emulator) -> None:
    now = 100.0
    roles = CustomRoles(clients, clock=lambda: now)
    for role_id in ("runner", "reader"):
        await roles.create(PROJECT, role_id, RUNNER)
    now = 200.0

    for role_id in ("runner", "reader"):
        assert await roles.role(PROJECT, role_id, max_age=60.0) is not None

    assert emulator.calls["google.iam.admin.v1.IAM/ListRoles"] == 1
    assert emulator.calls["google.iam.admin.v1.IAM/GetRole"] == 0


async def test_missing_role_is_none(roles: CustomRoles) -> None:
    assert await roles.role(PROJECT, "missing", max_age=0.0) is None


async def test_unsupported_permissions_are_returned(roles: CustomRoles) -> None:
    asked = frozenset({"run.jobs.run", "nonsense.things.do"})

    assert await roles.unsupported(PROJECT, asked) == {"nonsense.things.do"}


async def test_role_holds_permissions_up_to_the_size_limit(roles: CustomRoles) -> None:
    permissions = frozenset(sorted(known_permissions(), key=len)[:2900])
    created = await roles.create(PROJECT, "wide", replace(RUNNER, permissions=permissions))
    assert created.permissions == permissions


@pytest.mark.parametrize("permission", [POOLS_GET, "iam.workloadIdentityPools.get"])
async def test_permission_is_supported_with_and_without_its_domain(
    roles: CustomRoles, permission: str
) -> None:
    wanted = frozenset({permission, "resourcemanager.projects.list"})
    assert await roles.unsupported(PROJECT, wanted) == {"resourcemanager.projects.list"}
    created = await roles.create(PROJECT, "pools", replace(RUNNER, permissions=frozenset({permission})))
    assert created.permissions == {permission}
