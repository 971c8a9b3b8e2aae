"""IAM v2 deny policies, which are enforced, and IAM v3 boundaries, which are listed."""

from typing import Any

import grpc
import grpc.aio
import pytest
from google.cloud import iam_v2, iam_v3
from google.cloud.iam_v2.services.policies import PoliciesAsyncClient
from google.cloud.iam_v3.services.policy_bindings import PolicyBindingsAsyncClient
from google.iam.v1 import iam_policy_pb2

from cloudrun_identity_playground.emulator.emulator import Emulator
from cloudrun_identity_playground.emulator.seed import (
    AccessBoundary,
    Binding,
    DenyPolicy,
    DenyRule,
    Group,
    Organization,
    Project,
    Seed,
)

ANN, BOB = "user:ann@example.com", "user:bob@example.com"
RULE = DenyRule(
    denied_principals=("principalSet://goog/group/staff@example.com",),
    denied_permissions=("cloudresourcemanager.googleapis.com/projects.*",),
    exception_principals=("principal://goog/subject/bob@example.com",),
)


def seed(**changes: Any) -> Seed:
    rule = RULE.model_copy(update=changes)
    return Seed(
        groups=(Group(email="staff@example.com", members=(ANN, BOB)),),
        organizations=(
            Organization(
                organization_id="9",
                deny_policies=(DenyPolicy(policy_id="lock", rules=(rule,)),),
                access_boundaries=(AccessBoundary(policy="own"),),
            ),
        ),
        projects=(
            Project(
                project_id="shop",
                parent="organizations/9",
                policy=(Binding(role="roles/owner", members=(ANN, BOB)),),
            ),
        ),
    )


async def held(emulator: Emulator, principal: str, *permissions: str) -> list[str]:
    """Return the permissions that the principal has on the project."""
    async with grpc.aio.insecure_channel(emulator.grpc_address) as channel:
        call = channel.unary_unary(
            "/google.cloud.resourcemanager.v3.Projects/TestIamPermissions",
            response_deserializer=iam_policy_pb2.TestIamPermissionsResponse.FromString,
        )
        request = iam_policy_pb2.TestIamPermissionsRequest(resource="projects/shop", permissions=permissions)
        metadata = (("authorization", f"Bearer {principal}"),)
        return list((await call(request.SerializeToString(), metadata=metadata)).permissions)


GET, LIST = "resourcemanager.projects.get", "run.services.list"


@pytest.mark.parametrize(
    ("changes", "principal", "expected"),
    [
        ({}, ANN, [LIST]),
        ({}, BOB, [GET, LIST]),
        ({"exception_permissions": ("cloudresourcemanager.googleapis.com/projects.get",)}, ANN, [GET, LIST]),
        ({"denied_permissions": ("run.googleapis.com/*.list",)}, ANN, [GET]),
        ({"condition": "resource.name == 'other'"}, ANN, [GET, LIST]),
        ({"denied_principals": ("principalSet://goog/public:all",)}, ANN, [LIST]),
    ],
)
async def test_deny_policy_of_the_organization_is_enforced(
    changes: dict[str, Any], principal: str, expected: list[str]
) -> None:
    async with Emulator(seed=seed(**changes)) as emulator:
        assert await held(emulator, principal, GET, LIST) == expected


async def test_list_shows_policies_without_rules() -> None:
    transport = PoliciesAsyncClient.get_transport_class("grpc_asyncio")
    async with Emulator(seed=seed()) as emulator:
        channel = grpc.aio.insecure_channel(emulator.grpc_address)
        client = PoliciesAsyncClient(transport=transport(channel=channel))
        parent = "policies/cloudresourcemanager.googleapis.com%2Forganizations%2F9/denypolicies"
        pager = await client.list_policies(iam_v2.ListPoliciesRequest(parent=parent))
        (listed,) = pager.policies
        assert (listed.name, list(listed.rules)) == (f"{parent}/lock", [])
        policy = await client.get_policy(iam_v2.GetPolicyRequest(name=listed.name))
        assert list(policy.rules[0].deny_rule.denied_principals) == list(RULE.denied_principals)
        await channel.close()


async def test_boundaries_of_a_container_are_listed() -> None:
    transport = PolicyBindingsAsyncClient.get_transport_class("grpc_asyncio")
    async with Emulator(seed=seed()) as emulator:
        channel = grpc.aio.insecure_channel(emulator.grpc_address)
        client = PolicyBindingsAsyncClient(transport=transport(channel=channel))
        found = {
            parent: (
                await client.list_policy_bindings(
                    iam_v3.ListPolicyBindingsRequest(parent=f"{parent}/locations/global")
                )
            ).policy_bindings
            for parent in ("organizations/9", "projects/shop")
        }
        await channel.close()
    (binding,) = found["organizations/9"]
    assert binding.target.principal_set == "//cloudresourcemanager.googleapis.com/organizations/9"
    assert not found["projects/shop"]
