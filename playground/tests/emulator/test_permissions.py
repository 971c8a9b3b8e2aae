"""Permissions of callers: bindings, roles, members, conditions, and the errors of each API."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import grpc.aio
import pytest
from google.api_core import exceptions
from google.cloud import iam_admin_v1 as iam
from google.iam.v1 import iam_policy_pb2
from google.type import expr_pb2

from cloudrun_identity_playground.emulator import Emulator, Seed

from .clients import LOCATION, Clients, Clock

ANN = "user:ann@example.com"
ACCOUNT = "projects/shop/serviceAccounts/checkout@shop.iam.gserviceaccount.com"
READS = ("iam.serviceAccounts.get", "iam.serviceAccounts.delete", "resourcemanager.projects.get")
SignIn = Callable[[str], Clients]


@pytest.fixture
def ann(sign_in: SignIn) -> Clients:
    return sign_in(ANN)


async def permitted(clients: Clients, resource: str, *permissions: str) -> set[str]:
    """Return the permissions of the caller, by testIamPermissions."""
    request = iam_policy_pb2.TestIamPermissionsRequest(resource=resource, permissions=permissions)
    response = await clients._policy_client(resource).test_iam_permissions(request)
    return set(response.permissions)


async def denial(call: object) -> exceptions.PermissionDenied:
    with pytest.raises(exceptions.PermissionDenied) as error:
        await call
    return error.value


async def test_binding_on_an_account_applies_to_it_only(clients: Clients, ann: Clients) -> None:
    await clients.create_account()
    await clients.create_account("pricing")
    await clients.grant("roles/iam.serviceAccountUser", ANN, resource=ACCOUNT)
    assert (await ann.iam.get_service_account(name=ACCOUNT)).project_id == "shop"
    await denial(ann.iam.get_service_account(name=ACCOUNT.replace("checkout", "pricing")))


async def test_binding_on_a_project_applies_to_everything_in_it(clients: Clients, ann: Clients) -> None:
    await clients.create_account()
    await clients.create_service()
    await clients.grant("roles/run.viewer", ANN)
    await ann.services.get_service(name=f"{LOCATION}/services/web")
    await clients.grant("roles/iam.serviceAccountViewer", ANN)
    await ann.iam.get_service_account(name=ACCOUNT)


async def test_binding_on_a_workload_applies_to_its_revisions(clients: Clients, ann: Clients) -> None:
    service = await clients.create_service()
    await clients.create_service("other")
    await clients.grant("roles/run.viewer", ANN, resource=service.name)
    await ann.revisions.get_revision(name=service.latest_created_revision)
    await denial(ann.services.get_service(name=f"{LOCATION}/services/other"))


async def test_missing_resource_is_404_with_permission_and_403_without(
    clients: Clients, ann: Clients
) -> None:
    await denial(ann.iam.get_service_account(name=ACCOUNT))
    await clients.grant("roles/iam.serviceAccountViewer", ANN)
    with pytest.raises(exceptions.NotFound):
        await ann.iam.get_service_account(name=ACCOUNT)


async def test_undelete_needs_the_permission_in_the_project(clients: Clients, ann: Clients) -> None:
    account = await clients.create_account()
    await clients.iam.delete_service_account(name=ACCOUNT)
    request = iam.UndeleteServiceAccountRequest(name=f"projects/shop/serviceAccounts/{account.unique_id}")
    await denial(ann.iam.undelete_service_account(request))
    await clients.grant("roles/iam.serviceAccountAdmin", ANN)
    restored = await ann.iam.undelete_service_account(request)
    assert restored.restored_account.email == account.email


async def test_deleted_or_disabled_role_permits_nothing(clients: Clients, ann: Clients) -> None:
    name = "projects/shop/roles/looker"
    role = iam.Role(included_permissions=["resourcemanager.projects.get"])
    await clients.iam.create_role(iam.CreateRoleRequest(parent="projects/shop", role_id="looker", role=role))
    await clients.grant(name, ANN)
    await ann.projects.get_project(name="projects/shop")

    disabled = iam.Role(stage=iam.Role.RoleLaunchStage.DISABLED)
    mask = {"paths": ["stage"]}
    await clients.iam.update_role(iam.UpdateRoleRequest(name=name, role=disabled, update_mask=mask))
    await denial(ann.projects.get_project(name="projects/shop", retry=None))

    enabled = iam.Role(stage=iam.Role.RoleLaunchStage.GA)
    await clients.iam.update_role(iam.UpdateRoleRequest(name=name, role=enabled, update_mask=mask))
    await ann.projects.get_project(name="projects/shop")
    await clients.iam.delete_role(iam.DeleteRoleRequest(name=name))
    await denial(ann.projects.get_project(name="projects/shop", retry=None))


@pytest.mark.parametrize(
    ("member", "means_ann"),
    [
        ("user:Ann@Example.com", True),
        ("domain:example.com", True),
        ("group:deployers@example.com", True),
        ("group:everyone@example.com", True),
        ("group:others@example.com", False),
        ("user:bob@example.com", False),
        ("serviceAccount:ann@example.com", False),
        ("domain:ann.example.com", False),
    ],
)
async def test_members_that_match_a_caller(member: str, means_ann: bool) -> None:
    seed = Seed.model_validate(
        {
            "groups": [
                {"email": "deployers@example.com", "members": [ANN]},
                {"email": "everyone@example.com", "members": ["group:deployers@example.com"]},
                {"email": "others@example.com", "members": ["user:bob@example.com"]},
            ],
            "projects": [{"projectID": "shop", "policy": [{"role": "roles/browser", "members": [member]}]}],
            "withoutToken": ANN,
        }
    )
    async with Emulator(seed=seed) as emulator, grpc.aio.insecure_channel(emulator.grpc_address) as channel:
        seen = await permitted(Clients(channel), "projects/shop", *READS)
    assert seen == ({"resourcemanager.projects.get"} if means_ann else set())


async def test_cyclic_groups_are_resolved(emulator: Emulator, clients: Clients, ann: Clients) -> None:
    emulator.cloud.directory.add_group("a@example.com", [ANN, "group:b@example.com"])
    emulator.cloud.directory.add_group("b@example.com", ["group:a@example.com"])
    await clients.grant("roles/browser", "group:b@example.com")
    await ann.projects.get_project(name="projects/shop")


POOL = "://iam.googleapis.com/projects/42/locations/global/workloadIdentityPools/ci"


@pytest.mark.parametrize(
    ("member", "means"),
    [
        (f"principal{POOL}/subject/main", True),
        (f"principalSet{POOL}/*", True),
        (f"principal{POOL}/subject/other", False),
        (f"principalSet{POOL}2/*", False),
        ("allAuthenticatedUsers", True),
        ("allUsers", True),
    ],
)
async def test_members_that_match_a_federated_identity(
    clients: Clients, sign_in: SignIn, member: str, means: bool
) -> None:
    await clients.create_account()
    await clients.grant("roles/iam.workloadIdentityUser", member, resource=ACCOUNT)
    outsider = sign_in(f"principal{POOL}/subject/main")
    lent = await permitted(
        outsider, ACCOUNT, "iam.serviceAccounts.getAccessToken", "iam.serviceAccounts.actAs"
    )
    assert lent == ({"iam.serviceAccounts.getAccessToken"} if means else set())


async def condition_holds(
    clients: Clients, ann: Clients, expression: str, resource: str = "projects/shop"
) -> bool:
    condition = expr_pb2.Expr(title="if", expression=expression)
    await clients.grant("roles/iam.serviceAccountViewer", ANN, condition=condition)
    return bool(await permitted(ann, resource, "iam.serviceAccounts.get"))


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ("true", True),
        ("resource.type == 'iam.googleapis.com/ServiceAccount'", True),
        ("resource.service == 'iam.googleapis.com'", True),
        ("resource.name.startsWith('projects/shop/serviceAccounts/')", True),
        ("resource.name.startsWith('projects/other/')", False),
        ("resource.type == 'run.googleapis.com/Service'", False),
        ("resource.unknown == 'x'", False),
    ],
)
async def test_conditions_on_the_resource(
    clients: Clients, ann: Clients, expression: str, holds: bool
) -> None:
    await clients.create_account()
    assert await condition_holds(clients, ann, expression, ACCOUNT) is holds


async def test_condition_on_time_ends_access(clients: Clients, ann: Clients, clock: Clock) -> None:
    until = datetime.fromtimestamp(clock() + 60, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert await condition_holds(clients, ann, f"request.time < timestamp('{until}')")
    clock.advance(60)
    assert not await permitted(ann, "projects/shop", "iam.serviceAccounts.get")


async def test_delegated_admin_grants_only_roles_of_the_condition(clients: Clients, ann: Clients) -> None:
    only = "api.getAttribute('iam.googleapis.com/modifiedGrantsByRole', []).hasOnly(['roles/run.invoker'])"
    condition = expr_pb2.Expr(title="invokers only", expression=only)
    await clients.grant("roles/resourcemanager.projectIamAdmin", ANN, condition=condition)
    await clients.grant("roles/viewer", "user:eve@example.com")

    await ann.grant("roles/run.invoker", "user:bob@example.com")
    await denial(ann.grant("roles/owner", ANN))
    await denial(ann.grant("roles/viewer", "user:bob@example.com"))

    policy = await ann.policy()
    next(each for each in policy.bindings if each.role == "roles/viewer").members[:] = []
    await denial(ann.set_policy(policy))


async def test_search_returns_only_permitted_projects(clients: Clients, ann: Clients) -> None:
    await clients.iam.create_service_account(name="projects/hidden", account_id="checkout")
    await clients.grant("roles/browser", ANN)
    assert [each.project_id async for each in await ann.projects.search_projects()] == ["shop"]
    assert {each.project_id async for each in await clients.projects.search_projects()} == {"shop", "hidden"}


async def test_predefined_roles_are_readable_without_permission(ann: Clients) -> None:
    role = await ann.iam.get_role(iam.GetRoleRequest(name="roles/run.invoker"))
    assert role.included_permissions
    assert [each async for each in await ann.iam.list_roles(iam.ListRolesRequest())]


async def test_test_iam_permissions_returns_permissions_of_the_caller(clients: Clients, ann: Clients) -> None:
    await clients.create_account()
    assert await permitted(clients, ACCOUNT, *READS) == set(READS)
    assert await permitted(ann, ACCOUNT, *READS) == set()
    await clients.grant("roles/iam.serviceAccountViewer", ANN)
    assert await permitted(ann, ACCOUNT, *READS) == {READS[0], READS[2]}


async def test_permission_errors_have_the_format_of_the_api(clients: Clients, ann: Clients) -> None:
    project = await denial(ann.policy("projects/shop"))
    assert project.message == (
        "Permission 'resourcemanager.projects.getIamPolicy' denied on resource "
        "'//cloudresourcemanager.googleapis.com/projects/shop' (or it may not exist)."
    )
    assert (project.reason, project.domain) == (
        "IAM_PERMISSION_DENIED",
        "cloudresourcemanager.googleapis.com",
    )
    assert project.metadata == {
        "permission": "resourcemanager.projects.getIamPolicy",
        "resource": "projects/shop",
    }

    run_service = await denial(ann.services.get_service(name=f"{LOCATION}/services/web", retry=None))
    assert run_service.message == (
        f"Permission 'run.services.get' denied on resource '{LOCATION}/services/web' "
        "(or resource may not exist)."
    )
    assert run_service.reason is None

    role = iam.CreateRoleRequest(parent="projects/shop", role_id="mine", role=iam.Role())
    new_role = await denial(ann.iam.create_role(role))
    assert new_role.message == "You don't have permission to create a role in projects/shop."
    assert new_role.metadata == {"permission": "iam.roles.create", "resource": "projects/shop"}

    org_policy = await denial(
        ann.org_policy.get_effective_policy(name="projects/shop/policies/iam.disableServiceAccountCreation")
    )
    assert org_policy.metadata == {"permission": "orgpolicy.policy.get", "resource": "projects/shop"}
