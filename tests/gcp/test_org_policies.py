"""The Organization Policy API."""

from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.org_policies import OrgPolicies
from cloudrun_identity_playground.emulator.emulator import Emulator

PROJECT = "shop-1234"
CREATE = "google.cloud.orgpolicy.v2.OrgPolicy/CreatePolicy"
UPDATE = "google.cloud.orgpolicy.v2.OrgPolicy/UpdatePolicy"
DELETE = "google.cloud.orgpolicy.v2.OrgPolicy/DeletePolicy"


async def test_cross_project_usage_is_allowed_by_a_project_policy(
    clients: GoogleClients, emulator: Emulator
) -> None:
    policies = OrgPolicies(clients)
    assert not await policies.allows_cross_project_usage(PROJECT)

    assert await policies.allow_cross_project_usage(PROJECT)
    assert await policies.allows_cross_project_usage(PROJECT)
    assert emulator.calls[CREATE] == 1


async def test_allowed_cross_project_usage_is_not_written_again(
    clients: GoogleClients, emulator: Emulator
) -> None:
    policies = OrgPolicies(clients)
    await policies.allow_cross_project_usage(PROJECT)
    assert not await policies.allow_cross_project_usage(PROJECT)
    assert (emulator.calls[CREATE], emulator.calls[UPDATE]) == (1, 0)
