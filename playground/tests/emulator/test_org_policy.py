from __future__ import annotations

import pytest
from google.api_core import exceptions
from google.cloud import orgpolicy_v2 as orgpolicy
from google.protobuf.field_mask_pb2 import FieldMask

from .clients import Clients

CROSS_PROJECT = "projects/shop/policies/iam.disableCrossProjectServiceAccountUsage"


async def is_enforced(clients: Clients, name: str) -> bool:
    effective = await clients.org_policy.get_effective_policy(name=name)
    return any(rule.enforce for rule in effective.spec.rules)


async def set_policy(clients: Clients, name: str, *, enforce: bool) -> orgpolicy.Policy:
    rule = orgpolicy.PolicySpec.PolicyRule(enforce=enforce)
    policy = orgpolicy.Policy(name=name, spec=orgpolicy.PolicySpec(rules=[rule]))
    return await clients.org_policy.create_policy(parent="projects/shop", policy=policy)


async def test_cross_project_use_is_forbidden_by_default(clients: Clients) -> None:
    with pytest.raises(exceptions.NotFound):  # not set on this resource
        await clients.org_policy.get_policy(name=CROSS_PROJECT)
    assert await is_enforced(clients, CROSS_PROJECT)
    assert not await is_enforced(clients, "projects/shop/policies/compute.requireOsLogin")


async def test_a_policy_is_created_changed_and_deleted(clients: Clients) -> None:
    created = await set_policy(clients, CROSS_PROJECT, enforce=False)
    assert not await is_enforced(clients, CROSS_PROJECT)
    assert [each.name async for each in await clients.org_policy.list_policies(parent="projects/shop")] == [
        CROSS_PROJECT
    ]
    with pytest.raises(exceptions.AlreadyExists):
        await set_policy(clients, CROSS_PROJECT, enforce=False)

    created.spec.rules[0].enforce = True
    request = orgpolicy.UpdatePolicyRequest(policy=created, update_mask=FieldMask(paths=["policy.spec"]))
    updated = await clients.org_policy.update_policy(request)
    assert await is_enforced(clients, CROSS_PROJECT)
    with pytest.raises(exceptions.Aborted):
        await clients.org_policy.update_policy(request)

    await clients.org_policy.delete_policy(
        orgpolicy.DeletePolicyRequest(name=CROSS_PROJECT, etag=updated.etag)
    )
    with pytest.raises(exceptions.NotFound):
        await clients.org_policy.get_policy(name=CROSS_PROJECT)
