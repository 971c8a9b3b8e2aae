from dataclasses import replace

import pytest

from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.custom_roles import CustomRoles, RoleFields
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity_playground.emulator.emulator import Emulator

PROJECT = "shop-1234"
RUNNER = RoleFields("Runner", "Runs jobs", "BETA", frozenset({"run.jobs.run", "run.jobs.get"}))


@pytest.fixture
def roles(clients: GoogleClients) -> CustomRoles:
    return CustomRoles(clients, clock=lambda: 100.0)


async def test_a_role_is_made_read_changed_deleted_and_brought_back(roles: CustomRoles) -> None:
    made = await roles.create(PROJECT, "runner", RUNNER)
    assert await roles.role(PROJECT, "runner", max_age=0.0) == made
    assert (made.name, made.role_id) == (f"projects/{PROJECT}/roles/runner", "runner")
    assert (made.title, made.stage, made.permissions) == ("Runner", "BETA", RUNNER.permissions)

    renamed = replace(RUNNER, title="Job runner", description=None)
    changed = await roles.update(PROJECT, "runner", renamed, made.etag)
    assert changed == replace(made, title="Job runner", etag=changed.etag)

    deleted = await roles.delete(PROJECT, "runner", changed.etag)
    seen = await roles.role(PROJECT, "runner", max_age=0.0)
    assert deleted.deleted
    assert seen is not None
    assert seen.deleted

    back = await roles.undelete(PROJECT, "runner", deleted.etag)
    assert (back.deleted, back.permissions) == (False, RUNNER.permissions)


async def test_a_change_of_a_role_that_somebody_else_has_changed_is_aborted(roles: CustomRoles) -> None:
    made = await roles.create(PROJECT, "runner", RUNNER)
    await roles.update(PROJECT, "runner", RUNNER, made.etag)

    with pytest.raises(GoogleError) as raised:
        await roles.update(PROJECT, "runner", RUNNER, made.etag)

    assert raised.value.fault is Fault.ABORTED


async def test_the_id_of_a_deleted_role_is_taken(roles: CustomRoles) -> None:
    made = await roles.create(PROJECT, "runner", RUNNER)
    await roles.delete(PROJECT, "runner", made.etag)

    with pytest.raises(GoogleError) as raised:
        await roles.create(PROJECT, "runner", RUNNER)

    assert raised.value.fault is Fault.FAILED_PRECONDITION


async def test_old_reads_of_many_roles_are_one_list(clients: GoogleClients, emulator: Emulator) -> None:
    now = 100.0
    roles = CustomRoles(clients, clock=lambda: now)
    for role_id in ("runner", "reader"):
        await roles.create(PROJECT, role_id, RUNNER)
    now = 200.0

    for role_id in ("runner", "reader"):
        assert await roles.role(PROJECT, role_id, max_age=60.0) is not None

    assert emulator.calls["google.iam.admin.v1.IAM/ListRoles"] == 1
    assert emulator.calls["google.iam.admin.v1.IAM/GetRole"] == 0


async def test_a_missing_role_is_none(roles: CustomRoles) -> None:
    assert await roles.role(PROJECT, "nobody", max_age=0.0) is None


async def test_what_custom_roles_cannot_hold_is_told_from_what_they_can(roles: CustomRoles) -> None:
    asked = frozenset({"run.jobs.run", "nonsense.things.do"})

    assert await roles.unsupported(PROJECT, asked) == {"nonsense.things.do"}
