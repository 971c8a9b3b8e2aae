"""Domain restricted sharing: the members that `iam.allowedPolicyMemberDomains` allows in policies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import orgpolicy_v2 as orgpolicy
from google.rpc import error_details_pb2

from cloudrun_identity_playground.emulator import Emulator, Seed

from .clients import LOCATION, Clients, Clock, members

CONSTRAINT = "iam.allowedPolicyMemberDomains"
EVE = "user:eve@elsewhere.test"
PLANTED = Seed.model_validate(
    {
        "projects": [
            {
                "projectID": "shop",
                "projectNumber": "123456789012",
                "policy": [{"role": "roles/viewer", "members": [EVE]}],
                "services": [{"location": "europe-west1", "name": "web"}],
                "orgPolicies": [{"constraint": CONSTRAINT, "allowedValues": ["example.com"]}],
            },
            {"projectID": "tools", "serviceAccounts": [{"accountID": "robots-1"}]},
        ]
    }
)


@pytest.fixture
async def emulator(clock: Clock) -> AsyncIterator[Emulator]:
    async with Emulator(seed=PLANTED, clock=clock, rest_port=0) as running:
        yield running


@pytest.mark.parametrize(
    "member",
    [
        "user:eve@elsewhere.test",
        "group:eve@elsewhere.test",
        "domain:elsewhere.test",
        "serviceAccount:robot@elsewhere.iam.gserviceaccount.com",
        "serviceAccount:service-123456789012@gcp-sa-logging.iam.gserviceaccount.com",
    ],
)
async def test_external_member_is_refused_with_a_violation(clients: Clients, member: str) -> None:
    with pytest.raises(exceptions.FailedPrecondition) as raised:
        await clients.grant("roles/browser", "user:ann@example.com", member)

    [failure] = [each for each in raised.value.details if isinstance(each, _PRECONDITION_FAILURE)]
    who = member.partition(":")[2]
    [violation] = failure.violations
    assert violation.type == f"constraints/{CONSTRAINT}"
    assert violation.subject == f"orgpolicy:projects/shop?configvalue={who}"
    assert violation.description == f"User {who} is not in permitted organization."
    assert "roles/browser" not in {binding.role for binding in (await clients.policy()).bindings}


async def test_public_members_are_refused(clients: Clients) -> None:
    with pytest.raises(exceptions.FailedPrecondition):
        await clients.grant("roles/run.invoker", "allUsers", resource=f"{LOCATION}/services/web")


@pytest.mark.parametrize(
    "member",
    [
        "user:ann@example.com",
        "user:Ann@Example.COM",
        "domain:example.com",
        "serviceAccount:robots-1@tools.iam.gserviceaccount.com",
        "serviceAccount:123456789012-compute@developer.gserviceaccount.com",
        "principal://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/subject/s",
        "projectViewer:shop",
    ],
)
async def test_internal_members_are_accepted(clients: Clients, member: str) -> None:
    assert members(await clients.grant("roles/browser", member), "roles/browser") == [member]


async def test_existing_members_are_kept_and_get_no_new_grant(clients: Clients) -> None:
    policy = await clients.grant("roles/browser", "user:ann@example.com")
    assert members(policy, "roles/viewer") == [EVE]
    with pytest.raises(exceptions.FailedPrecondition):
        await clients.grant("roles/browser", EVE)


async def test_other_projects_are_not_restricted(clients: Clients) -> None:
    policy = await clients.grant("roles/browser", EVE, resource="projects/tools")
    assert members(policy, "roles/browser") == [EVE]


@pytest.mark.parametrize("rule", [{"allow_all": True}, {"values": {"allowed_values": ["Elsewhere.test"]}}])
async def test_domain_restriction_is_set_through_the_api(clients: Clients, rule: dict[str, Any]) -> None:
    name = f"projects/shop/policies/{CONSTRAINT}"
    policy = await clients.org_policy.get_policy(name=name)
    policy.spec.rules = [orgpolicy.PolicySpec.PolicyRule(rule)]
    await clients.org_policy.update_policy(policy=policy)

    assert members(await clients.grant("roles/browser", EVE), "roles/browser") == [EVE]


_PRECONDITION_FAILURE: Any = error_details_pb2.PreconditionFailure
