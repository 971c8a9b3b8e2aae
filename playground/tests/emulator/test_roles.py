from __future__ import annotations

from typing import Any

import grpc.aio
import pytest
from google.api_core import exceptions
from google.cloud import iam_admin_v1 as iam
from google.protobuf.field_mask_pb2 import FieldMask

from cloudrun_identity.iam.role_catalog import role_catalog
from cloudrun_identity_playground.emulator import Emulator, Seed

from .clients import Clients, Clock

DEPRECATED = next(role.name for role in role_catalog().values() if role.stage == "DEPRECATED")
NAME = "projects/shop/roles/deployer"


async def create(clients: Clients, role_id: str = "deployer", **fields: object) -> iam.Role:
    role = iam.Role({"included_permissions": ["run.services.get"], **fields})
    return await clients.iam.create_role(
        iam.CreateRoleRequest(parent="projects/shop", role_id=role_id, role=role)
    )


async def update(clients: Clients, role: iam.Role, *mask: str) -> iam.Role:
    return await clients.iam.update_role(
        iam.UpdateRoleRequest(name=NAME, role=role, update_mask=FieldMask(paths=mask))
    )


@pytest.mark.parametrize(
    ("role", "included", "not_included"),
    [
        ("roles/run.admin", "run.services.setIamPolicy", "iam.serviceAccounts.actAs"),
        ("roles/run.developer", "run.jobs.runWithOverrides", "run.services.setIamPolicy"),
        ("roles/run.invoker", "run.routes.invoke", "run.services.get"),
        ("roles/run.viewer", "run.services.getIamPolicy", "run.services.update"),
        ("roles/run.jobsExecutor", "run.jobs.run", "run.jobs.runWithOverrides"),
        ("roles/run.serviceAgent", "iam.serviceAccounts.getAccessToken", "run.services.create"),
        ("roles/iam.serviceAccountUser", "iam.serviceAccounts.actAs", "iam.serviceAccounts.getAccessToken"),
        ("roles/iam.serviceAccountTokenCreator", "iam.serviceAccounts.signJwt", "iam.serviceAccounts.actAs"),
        ("roles/iam.securityAdmin", "resourcemanager.projects.setIamPolicy", "iam.serviceAccounts.actAs"),
        ("roles/storage.objectAdmin", "storage.objects.setIamPolicy", "storage.buckets.setIamPolicy"),
        ("roles/editor", "iam.serviceAccounts.actAs", "resourcemanager.projects.setIamPolicy"),
        ("roles/owner", "resourcemanager.projects.setIamPolicy", "run.nonsense"),
        ("roles/viewer", "run.services.list", "secretmanager.versions.access"),
    ],
)
async def test_predefined_roles_show_their_permissions(
    clients: Clients, role: str, included: str, not_included: str
) -> None:
    shown = await clients.iam.get_role(iam.GetRoleRequest(name=role))

    assert shown.title
    assert included in shown.included_permissions
    assert not_included not in shown.included_permissions


async def test_only_the_full_view_lists_permissions(clients: Clients) -> None:
    basic = [each async for each in await clients.iam.list_roles(iam.ListRolesRequest(page_size=50))]
    full = [each async for each in await clients.iam.list_roles(iam.ListRolesRequest(view="FULL"))]

    assert [each.name for each in basic] == [each.name for each in full]
    assert not any(each.included_permissions for each in basic)
    assert sum(1 for each in full if each.included_permissions) > 2000


async def test_list_has_every_predefined_role_in_pages(clients: Clients) -> None:
    first = await clients.iam.list_roles(iam.ListRolesRequest(page_size=1000))
    names = [each.name async for each in first]

    assert names == sorted(role_catalog())
    assert len(names) > 2000


async def test_a_role_shows_its_title_and_stage(clients: Clients) -> None:
    shown = await clients.iam.get_role(iam.GetRoleRequest(name="roles/dataproc.worker"))
    retired = await clients.iam.get_role(iam.GetRoleRequest(name=DEPRECATED))

    assert (shown.title, shown.stage.name) == ("Dataproc Worker", "GA")
    assert retired.stage.name == "DEPRECATED"


async def test_an_unknown_role_is_not_found(clients: Clients) -> None:
    for name in ("roles/run.nonsense", NAME):
        with pytest.raises(exceptions.NotFound):
            await clients.iam.get_role(iam.GetRoleRequest(name=name))


async def test_seed_adds_predefined_roles_that_the_catalog_lacks() -> None:
    later = {"role": "roles/run.cakeBaker", "title": "Baker", "permissions": ["run.services.get"]}
    async with (
        Emulator(seed=Seed.model_validate({"predefinedRoles": [later]})) as running,
        grpc.aio.insecure_channel(running.grpc_address) as channel,
    ):
        clients = Clients(channel)
        role = await clients.iam.get_role(iam.GetRoleRequest(name="roles/run.cakeBaker"))
        assert (role.title, list(role.included_permissions)) == ("Baker", ["run.services.get"])
        await clients.grant("roles/run.cakeBaker", "user:ann@example.com")
        with pytest.raises(exceptions.InvalidArgument, match="not supported"):
            await clients.grant("roles/run.cakeTaster", "user:ann@example.com")


async def test_custom_role_update_uses_mask_and_etag(clients: Clients) -> None:
    created = await create(clients, title="Deployer")
    changed = await update(clients, iam.Role(title="New", etag=created.etag), "title")

    assert created.name == NAME
    assert (changed.title, list(changed.included_permissions)) == ("New", ["run.services.get"])
    with pytest.raises(exceptions.Aborted):
        await update(clients, iam.Role(title="Newer", etag=created.etag), "title")


async def test_deleted_role_remains_and_reserves_its_id(clients: Clients) -> None:
    await create(clients)
    deleted = await clients.iam.delete_role(iam.DeleteRoleRequest(name=NAME))
    assert deleted.deleted
    assert (await clients.iam.get_role(iam.GetRoleRequest(name=NAME))).deleted
    with pytest.raises(exceptions.FailedPrecondition):
        await create(clients)

    listed = await clients.iam.list_roles(iam.ListRolesRequest(parent="projects/shop"))
    assert not listed.roles
    listed = await clients.iam.list_roles(iam.ListRolesRequest(parent="projects/shop", show_deleted=True))
    assert [each.name for each in listed.roles] == [NAME]

    restored = await clients.iam.undelete_role(iam.UndeleteRoleRequest(name=NAME))
    assert not restored.deleted


async def test_a_role_cannot_be_undeleted_after_7_days(clients: Clients, clock: Clock) -> None:
    await create(clients)
    await clients.iam.delete_role(iam.DeleteRoleRequest(name=NAME))
    clock.advance(7 * 24 * 3600 + 1)
    with pytest.raises(exceptions.FailedPrecondition):
        await clients.iam.undelete_role(iam.UndeleteRoleRequest(name=NAME))


async def test_project_has_at_most_300_roles_with_deleted_ones(clients: Clients) -> None:
    for number in range(300):
        await create(clients, f"role{number}")
    await clients.iam.delete_role(iam.DeleteRoleRequest(name="projects/shop/roles/role0"))
    with pytest.raises(exceptions.ResourceExhausted):
        await create(clients, "one_more")


@pytest.mark.parametrize(
    ("role_id", "fields"),
    [
        ("ab", {}),
        ("with-dash", {}),
        ("deployer", {"title": "x" * 101}),
        ("deployer", {"description": "x" * 301}),
        ("deployer", {"included_permissions": [f"run.services.{'x' * 50}{n:04d}" for n in range(1000)]}),
        ("deployer", {"included_permissions": ["resourcemanager.projects.list"]}),
        ("deployer", {"included_permissions": ["resourcemanager.folders.get"]}),
    ],
)
async def test_role_outside_limits_is_refused(clients: Clients, role_id: str, fields: dict[str, Any]) -> None:
    with pytest.raises(exceptions.InvalidArgument):
        await create(clients, role_id, **fields)


async def test_testable_permissions_include_predefined_roles(clients: Clients) -> None:
    request = iam.QueryTestablePermissionsRequest(
        full_resource_name="//cloudresourcemanager.googleapis.com/projects/shop", page_size=1000
    )
    names = [each.name async for each in await clients.iam.query_testable_permissions(request)]
    assert "run.services.get" in names
    assert len(names) == len(set(names))


async def test_fact_testable_permissions_report_custom_role_support(clients: Clients) -> None:
    levels = {}
    for resource in ("projects/shop", "organizations/1"):
        request = iam.QueryTestablePermissionsRequest(
            full_resource_name=f"//cloudresourcemanager.googleapis.com/{resource}", page_size=1000
        )
        pages = await clients.iam.query_testable_permissions(request)
        levels[resource] = {each.name: each.custom_roles_support_level.name async for each in pages}
    assert levels["projects/shop"]["resourcemanager.projects.list"] == "NOT_SUPPORTED"
    assert levels["projects/shop"]["run.services.get"] == "SUPPORTED"
    assert levels["organizations/1"]["resourcemanager.projects.list"] == "SUPPORTED"


async def test_permissions_of_an_account_are_testable_on_it(clients: Clients) -> None:
    name = "//iam.googleapis.com/projects/shop/serviceAccounts/checkout@shop.iam.gserviceaccount.com"
    request = iam.QueryTestablePermissionsRequest(full_resource_name=name, page_size=1000)
    testable = {each.name async for each in await clients.iam.query_testable_permissions(request)}
    assert "iam.serviceAccounts.actAs" in testable
    assert not {each for each in testable if not each.startswith("iam.serviceAccount")}
