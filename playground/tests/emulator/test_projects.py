from __future__ import annotations

import grpc.aio
import pytest
from google.api_core import exceptions
from google.cloud import resourcemanager_v3 as resourcemanager
from google.iam.v1 import iam_policy_pb2

from cloudrun_identity_playground.emulator import Emulator, Seed

from .clients import LOCATION, Clients

PERMISSIONS = ["run.services.get", "resourcemanager.projects.setIamPolicy"]


async def permissions(clients: Clients, resource: str) -> list[str]:
    request = iam_policy_pb2.TestIamPermissionsRequest(resource=resource, permissions=PERMISSIONS)
    return list((await clients.projects.test_iam_permissions(request)).permissions)


async def test_every_project_id_has_a_stable_number(clients: Clients) -> None:
    project = await clients.projects.get_project(name="projects/shop")
    number = project.name.removeprefix("projects/")

    assert (project.project_id, project.state.name) == ("shop", "ACTIVE")
    assert number.isdigit()
    assert len(number) == 12
    assert await clients.projects.get_project(name=f"projects/{number}") == project
    async with (
        Emulator() as another,
        grpc.aio.insecure_channel(another.grpc_address) as channel,
    ):
        assert (await Clients(channel).projects.get_project(name="projects/shop")).name == project.name


async def test_a_policy_is_the_same_by_id_and_number(clients: Clients) -> None:
    project = await clients.projects.get_project(name="projects/shop")
    policy = await clients.grant("roles/viewer", "user:ann@example.com", resource=project.name)
    assert await clients.policy("projects/shop") == policy


async def test_search_finds_by_id_and_parent(clients: Clients) -> None:
    for project in ("shop", "shop-test", "other"):
        await clients.create_account(project=project)
    await clients.projects.get_project(name="projects/shop-only-read")

    async def found(query: str) -> list[str]:
        request = resourcemanager.SearchProjectsRequest(query=query)
        return [each.project_id async for each in await clients.projects.search_projects(request)]

    assert await found("") == ["other", "shop", "shop-test"]
    assert await found("id:shop*") == ["shop", "shop-test"]
    assert await found("id:shop state:ACTIVE") == ["shop"]
    with pytest.raises(exceptions.InvalidArgument):
        await found("nonsense")


async def test_test_permissions_of_existing_project_returns_all(clients: Clients) -> None:
    assert await permissions(clients, "projects/shop") == PERMISSIONS


class TestStrict:
    @pytest.fixture
    async def emulator(self):
        seed = Seed.model_validate({"strict": True, "projects": [{"projectID": "shop"}]})
        async with Emulator(seed=seed) as running:
            yield running

    async def test_unseeded_project_is_forbidden(self, clients: Clients) -> None:
        for call in (
            clients.projects.get_project(name="projects/other"),
            clients.policy("projects/other"),
            clients.create_account(project="other"),
            clients.services.get_service(name=f"{LOCATION.replace('shop', 'other')}/services/web"),
        ):
            with pytest.raises(exceptions.PermissionDenied) as error:
                await call
            assert error.value.reason == "IAM_PERMISSION_DENIED"

    async def test_test_permissions_of_unseeded_project_returns_none(self, clients: Clients) -> None:
        assert await permissions(clients, "projects/other") == []
        assert await permissions(clients, "projects/shop") == PERMISSIONS
