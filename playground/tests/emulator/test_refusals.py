"""Refusals of Google Cloud that a careless stand-in would accept."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc.aio
import pytest
from google.api_core import exceptions
from google.cloud import iam_admin_v1 as iam
from google.cloud import orgpolicy_v2 as orgpolicy
from google.cloud import run_v2 as run
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc import error_details_pb2
from google.type import expr_pb2

from cloudrun_identity.iam.role_catalog import known_permissions
from cloudrun_identity_playground.emulator import Emulator, Seed

from .clients import LOCATION, Clients, Clock, revision_template

NUMBER = "123456789012"
SEED = {
    "strict": True,
    "users": ["ann@example.com"],
    "groups": [{"email": "ops@example.com"}],
    "organizations": [
        {
            "organizationID": "1",
            "roles": [{"roleID": "lookout", "permissions": ["resourcemanager.projects.get"]}],
        },
        {
            "organizationID": "2",
            "roles": [{"roleID": "lookout", "permissions": ["resourcemanager.projects.get"]}],
        },
    ],
    "projects": [{"projectID": "shop", "projectNumber": NUMBER, "parent": "organizations/1"}],
}


@pytest.fixture
async def emulator(clock: Clock) -> AsyncIterator[Emulator]:
    async with Emulator(seed=Seed.model_validate(SEED), clock=clock) as running:
        yield running


@pytest.mark.parametrize(
    ("member", "who"),
    [
        ("user:eve@example.com", "User eve@example.com"),
        ("group:unlisted@example.com", "Group unlisted@example.com"),
        (
            "serviceAccount:web@elsewhere.iam.gserviceaccount.com",
            "Service account web@elsewhere.iam.gserviceaccount.com",
        ),
        (
            "serviceAccount:service-999999999999@gcp-sa-pubsub.iam.gserviceaccount.com",
            "Service account service-999999999999@gcp-sa-pubsub.iam.gserviceaccount.com",
        ),
        (
            "serviceAccount:999999999999-compute@developer.gserviceaccount.com",
            "Service account 999999999999-compute@developer.gserviceaccount.com",
        ),
    ],
)
async def test_member_that_does_not_exist_is_refused_by_name(clients: Clients, member: str, who: str) -> None:
    with pytest.raises(exceptions.InvalidArgument, match=f"{who} does not exist"):
        await clients.grant("roles/viewer", member)


@pytest.mark.parametrize(
    "member",
    [
        "user:Ann@example.com",
        "group:ops@example.com",
        f"serviceAccount:service-{NUMBER}@serverless-robot-prod.iam.gserviceaccount.com",
        f"serviceAccount:{NUMBER}@cloudservices.gserviceaccount.com",
        "domain:example.com",
    ],
)
async def test_existing_member_is_accepted(clients: Clients, member: str) -> None:
    await clients.grant("roles/viewer", member)


async def test_agent_of_a_service_that_was_not_used_yet_is_refused(clock: Clock) -> None:
    agents = [
        f"service-{NUMBER}@{domain}.iam.gserviceaccount.com" for domain in ("gcp-sa-pubsub", "gcp-sa-x")
    ]
    project = {"projectID": "shop", "projectNumber": NUMBER, "serviceAgents": ["gcp-sa-pubsub"]}
    async with (
        Emulator(seed=Seed.model_validate({"projects": [project]}), clock=clock) as running,
        grpc.aio.insecure_channel(running.grpc_address) as channel,
    ):
        clients = Clients(channel)
        await clients.grant("roles/viewer", f"serviceAccount:{agents[0]}")
        with pytest.raises(exceptions.InvalidArgument, match=f"Service account {agents[1]} does not exist"):
            await clients.grant("roles/viewer", f"serviceAccount:{agents[1]}")


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("request.time <", "cannot be parsed"),
        ("nonsense == 1", "undeclared reference to 'nonsense'"),
        ("request.time", "not a boolean"),
    ],
)
async def test_condition_that_cannot_be_evaluated_is_refused(
    clients: Clients, expression: str, problem: str
) -> None:
    with pytest.raises(exceptions.InvalidArgument, match=problem):
        await clients.grant(
            "roles/browser", "user:ann@example.com", condition=expr_pb2.Expr(title="t", expression=expression)
        )


async def test_organization_role_needs_the_organization_above_the_project(clients: Clients) -> None:
    await clients.grant("organizations/1/roles/lookout", "user:ann@example.com")
    for role in ("organizations/2/roles/lookout", "organizations/1/roles/unknown"):
        with pytest.raises(exceptions.InvalidArgument, match="does not exist in the resource's hierarchy"):
            await clients.grant(role, "user:ann@example.com")


class TestRoles:
    @staticmethod
    async def create(clients: Clients, *permissions: str) -> iam.Role:
        role = iam.Role(title="Deployer", included_permissions=permissions)
        return await clients.iam.create_role(
            iam.CreateRoleRequest(parent="projects/shop", role_id="deployer", role=role)
        )

    async def test_deleted_role_is_neither_patched_nor_deleted_again(self, clients: Clients) -> None:
        role = await self.create(clients, "run.services.get")
        await clients.iam.delete_role(iam.DeleteRoleRequest(name=role.name))
        patch = iam.UpdateRoleRequest(
            name=role.name, role=iam.Role(title="Other"), update_mask=FieldMask(paths=["title"])
        )
        with pytest.raises(exceptions.FailedPrecondition, match="marked for deletion"):
            await clients.iam.update_role(patch)
        with pytest.raises(exceptions.FailedPrecondition, match="marked for deletion"):
            await clients.iam.delete_role(iam.DeleteRoleRequest(name=role.name))

    async def test_permission_that_no_service_has_is_refused(self, clients: Clients) -> None:
        with pytest.raises(exceptions.InvalidArgument, match=r"Permission run\.cakes\.bake is not valid"):
            await self.create(clients, "run.services.get", "run.cakes.bake")

    async def test_permission_may_carry_the_domain_of_its_service(self, clients: Clients) -> None:
        role = await self.create(clients, "iam.googleapis.com/workloadIdentityPools.get")
        assert role.included_permissions == ["iam.googleapis.com/workloadIdentityPools.get"]

    async def test_role_has_at_most_3000_permissions(self, clients: Clients) -> None:
        with pytest.raises(exceptions.InvalidArgument, match="at most 3000 permissions"):
            await self.create(clients, *sorted(known_permissions())[:3001])

    async def test_role_has_at_most_64_kib_in_all(self, clients: Clients) -> None:
        shortest = sorted(known_permissions(), key=len)
        with pytest.raises(exceptions.InvalidArgument, match="at most 65536 bytes"):
            await self.create(clients, *shortest[:3000])
        role = await self.create(clients, *shortest[:2900])
        assert len(role.included_permissions) == 2900


async def test_second_account_of_an_id_is_refused_with_its_name(clients: Clients) -> None:
    account = await clients.create_account()
    with pytest.raises(exceptions.AlreadyExists) as error:
        await clients.create_account()
    [resource] = error.value.details
    assert resource.resource_name == account.name


async def test_key_constraint_is_named_in_the_refusal(clients: Clients) -> None:
    account = await clients.create_account()
    constraint = "iam.disableServiceAccountKeyCreation"
    spec = orgpolicy.PolicySpec(rules=[orgpolicy.PolicySpec.PolicyRule(enforce=True)])
    policy = orgpolicy.Policy(name=f"projects/shop/policies/{constraint}", spec=spec)
    await clients.org_policy.create_policy(parent="projects/shop", policy=policy)
    with pytest.raises(exceptions.FailedPrecondition) as error:
        await clients.iam.create_service_account_key(name=account.name)
    [failure] = error.value.details
    assert isinstance(failure, error_details_pb2.PreconditionFailure)
    [violation] = failure.violations
    assert violation.type == f"constraints/{constraint}"
    assert violation.subject == f"{account.name}?configvalue={account.email.replace('@', '%40')}"


class TestLag:
    @pytest.fixture(autouse=True)
    def lag(self, emulator: Emulator) -> None:
        emulator.switches.update({"lag": "60s", "flappingReads": "none"})

    async def test_new_account_takes_no_key_policy_or_workload_yet(
        self, clients: Clients, clock: Clock
    ) -> None:
        account = await clients.create_account()

        async def deploy() -> Any:
            return await clients.services.create_service(
                parent=LOCATION,
                service_id="web",
                service=run.Service(template=revision_template(service_account=account.email)),
            )

        async def grant() -> Any:
            return await clients.grant(
                "roles/iam.serviceAccountUser", "user:ann@example.com", resource=account.name
            )

        with pytest.raises(exceptions.NotFound):
            await clients.iam.create_service_account_key(name=account.name)
        with pytest.raises(exceptions.NotFound):
            await grant()
        with pytest.raises(exceptions.PermissionDenied, match="actAs"):
            await deploy()

        clock.now += 60
        await clients.iam.create_service_account_key(name=account.name)
        await grant()
        await deploy()

    async def test_new_grant_takes_effect_after_the_lag(
        self, clients: Clients, clock: Clock, sign_in: Callable[[str], Clients]
    ) -> None:
        ann = sign_in("user:ann@example.com")
        await clients.grant("roles/viewer", "user:ann@example.com")
        with pytest.raises(exceptions.PermissionDenied):
            await ann.projects.get_project(name="projects/shop")

        clock.now += 60
        assert await ann.projects.get_project(name="projects/shop")
