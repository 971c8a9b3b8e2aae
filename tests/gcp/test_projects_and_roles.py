import asyncio

import pytest

from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.custom_roles import CustomRoles, RoleFields
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.projects import Project, Projects, cloud_run_service_agent
from cloudrun_identity.gcp.roles import Roles
from cloudrun_identity_playground.emulator.emulator import Emulator

GET_ROLE = "google.iam.admin.v1.IAM/GetRole"


async def test_a_project_tells_its_number(clients: GoogleClients) -> None:
    project = await Projects(clients).get("shop-1234")

    assert project == Project("shop-1234", "123456789012", project.display_name, active=True)
    assert cloud_run_service_agent(project.number) == (
        "service-123456789012@serverless-robot-prod.iam.gserviceaccount.com"
    )


async def test_a_missing_project_is_a_denied_one(clients: GoogleClients) -> None:
    with pytest.raises(GoogleError) as raised:
        await Projects(clients).get("nowhere-1")

    assert raised.value.fault is Fault.PERMISSION_DENIED


async def test_a_role_is_expanded_once_for_everybody(clients: GoogleClients, emulator: Emulator) -> None:
    roles = Roles(clients)

    expansions = await asyncio.gather(
        *(roles.permissions("roles/run.invoker", "shop-1234") for _ in range(10))
    )
    again = await roles.permissions("roles/run.invoker", "shop-1234")

    assert "run.routes.invoke" in again
    assert set(expansions) == {again}
    assert emulator.calls[GET_ROLE] == 1


async def test_a_role_is_expanded_anew_once_it_is_too_old(clients: GoogleClients, emulator: Emulator) -> None:
    now = 0.0
    roles = Roles(clients, lambda: now)
    await roles.permissions("roles/run.invoker", "shop-1234", max_age=60)
    now = 61.0

    await roles.permissions("roles/run.invoker", "shop-1234", max_age=60)

    assert emulator.calls[GET_ROLE] == 2


async def test_only_the_roles_that_were_asked_about_last_are_remembered(
    clients: GoogleClients, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloudrun_identity.gcp.roles.CACHE_SIZE", 2)
    roles = Roles(clients)
    invoker, viewer, developer = "roles/run.invoker", "roles/run.viewer", "roles/run.developer"
    for role in (invoker, viewer, invoker, developer):
        await roles.permissions(role, "shop-1234")
    assert emulator.calls[GET_ROLE] == 3

    await roles.permissions(invoker, "shop-1234")
    assert emulator.calls[GET_ROLE] == 3, "it was asked about later than the second"
    await roles.permissions(viewer, "shop-1234")
    assert emulator.calls[GET_ROLE] == 4


async def test_a_missing_role_is_not_found(clients: GoogleClients) -> None:
    with pytest.raises(GoogleError) as raised:
        await Roles(clients).permissions("roles/run.nonsense", "shop-1234")

    assert raised.value.fault is Fault.NOT_FOUND


CUSTOM = "projects/shop-1234/roles/runner"


async def made(clients: GoogleClients, *permissions: str) -> None:
    fields = RoleFields("Runner", None, "GA", frozenset(permissions))
    await CustomRoles(clients, lambda: 0.0).create("shop-1234", "runner", fields)


async def test_a_role_counts_for_what_it_is_being_written_to_until_a_later_read_tells(
    clients: GoogleClients,
) -> None:
    await made(clients, "run.jobs.get")
    roles = Roles(clients, lambda: 0.0)
    before = await roles.permissions(CUSTOM, "shop-1234")
    assert roles.max_permissions(CUSTOM, "shop-1234") == before == {"run.jobs.get"}

    with roles.updating("shop-1234", CUSTOM, frozenset({"run.jobs.get", "run.jobs.run"})):
        await roles.permissions(CUSTOM, "shop-1234", max_age=-1.0)
        assert roles.max_permissions(CUSTOM, "shop-1234") == {"run.jobs.get", "run.jobs.run"}, "at any moment"
    assert roles.max_permissions(CUSTOM, "shop-1234") == {"run.jobs.get", "run.jobs.run"}, (
        "nobody has looked since"
    )

    await roles.permissions(CUSTOM, "shop-1234")
    assert roles.max_permissions(CUSTOM, "shop-1234") == {"run.jobs.get"}
