"""Projects, and permissions of roles."""

import asyncio

import pytest

from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.custom_roles import CustomRoles, RoleFields
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.projects import Project, Projects, cloud_run_service_agent
from cloudrun_identity.gcp.roles import Roles
from cloudrun_identity_playground.emulator.emulator import Emulator

GET_ROLE = "google.iam.admin.v1.IAM/GetRole"


async def test_project_has_a_number(clients: GoogleClients) -> None:
    project = await Projects(clients).get("shop-1234")

    assert project == Project("shop-1234", "123456789012", project.display_name, active=True)
    assert cloud_run_service_agent(project.number) == (
        "service-123456789012@serverless-robot-prod.iam.gserviceaccount.com"
    )


async def test_missing_project_is_permission_denied(clients: GoogleClients) -> None:
    with pytest.raises(GoogleError) as raised:
        await Projects(clients).get("nowhere-1")

    assert raised.value.fault is Fault.PERMISSION_DENIED


async def test_concurrent_callers_share_one_read_of_a_role(
    clients: GoogleClients, emulator: Emulator
) -> None:
    roles = Roles(clients)

    results = await asyncio.gather(*(roles.permissions("roles/run.invoker", "shop-1234") for _ in range(10)))
    again = await roles.permissions("roles/run.invoker", "shop-1234")

    assert "run.routes.invoke" in again
    assert set(results) == {again}
    assert emulator.calls[GET_ROLE] == 1


async def test_role_is_read_again_after_its_maximum_age(clients: GoogleClients, emulator: Emulator) -> None:
    now = 0.0
    roles = Roles(clients, lambda: now)
    await roles.permissions("roles/run.invoker", "shop-1234", max_age=60)
    now = 61.0

    await roles.permissions("roles/run.invoker", "shop-1234", max_age=60)

    assert emulator.calls[GET_ROLE] == 2


async def test_least_recently_used_role_is_dropped(
    clients: GoogleClients, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloudrun_identity.gcp.roles.CACHE_SIZE", 2)
    roles = Roles(clients)
    invoker, viewer, developer = "roles/run.invoker", "roles/run.viewer", "roles/run.developer"
    for role in (invoker, viewer, invoker, developer):
        await roles.permissions(role, "shop-1234")
    assert emulator.calls[GET_ROLE] == 3

    await roles.permissions(invoker, "shop-1234")
    assert emulator.calls[GET_ROLE] == 3, "it was used after the second"
    await roles.permissions(viewer, "shop-1234")
    assert emulator.calls[GET_ROLE] == 4


async def test_missing_role_is_not_found(clients: GoogleClients) -> None:
    with pytest.raises(GoogleError) as raised:
        await Roles(clients).permissions("roles/run.nonsense", "shop-1234")

    assert raised.value.fault is Fault.NOT_FOUND


CUSTOM = "projects/shop-1234/roles/runner"


async def create_role(clients: GoogleClients, *permissions: str) -> None:
    fields = RoleFields("Runner", None, "GA", frozenset(permissions))
    await CustomRoles(clients, lambda: 0.0).create("shop-1234", "runner", fields)


async def test_max_permissions_include_a_write_until_a_later_read(
    clients: GoogleClients,
) -> None:
    await create_role(clients, "run.jobs.get")
    roles = Roles(clients, lambda: 0.0)
    before = await roles.permissions(CUSTOM, "shop-1234")
    assert roles.max_permissions(CUSTOM, "shop-1234") == before == {"run.jobs.get"}

    with roles.updating("shop-1234", CUSTOM, frozenset({"run.jobs.get", "run.jobs.run"})):
        await roles.permissions(CUSTOM, "shop-1234", max_age=-1.0)
        assert roles.max_permissions(CUSTOM, "shop-1234") == {"run.jobs.get", "run.jobs.run"}, (
            "during the write"
        )
    assert roles.max_permissions(CUSTOM, "shop-1234") == {"run.jobs.get", "run.jobs.run"}, (
        "before the next read"
    )

    await roles.permissions(CUSTOM, "shop-1234")
    assert roles.max_permissions(CUSTOM, "shop-1234") == {"run.jobs.get"}
