"""The table of permissions: it has every method, and each needs exactly its permission."""

from __future__ import annotations

from functools import reduce
from typing import Any

import grpc.aio
import pytest
from google.cloud import iam_admin_v1 as iam
from google.iam.v1 import iam_policy_pb2, policy_pb2

from cloudrun_identity.api import TargetKind, TargetKindDescriptor
from cloudrun_identity.iam.role_catalog import role_catalog
from cloudrun_identity_playground.emulator import Emulator
from cloudrun_identity_playground.emulator.access.rules import (
    RULES,
    FiltersResults,
    Impersonates,
    RequiresPermission,
)
from cloudrun_identity_playground.emulator.apis.policy_rules import ResourceKind
from cloudrun_identity_playground.emulator.apis.target_messages import SERVED as TARGET_RESOURCES
from cloudrun_identity_playground.emulator.cloud import Cloud
from cloudrun_identity_playground.emulator.wire.methods import as_protobuf, methods

ANN = "user:ann@example.com"
PROJECT = "projects/shop"
LOCATION = f"{PROJECT}/locations/europe-west1"
ACCOUNT = f"{PROJECT}/serviceAccounts/checkout@shop.iam.gserviceaccount.com"
DENY_POLICIES = "policies/cloudresourcemanager.googleapis.com%2Fprojects%2Fshop/denypolicies"
NAMES = {
    "": (PROJECT, ACCOUNT),
    "ConfigServiceV2": (PROJECT, f"{PROJECT}/sinks/feed"),
    "Executions": (f"{LOCATION}/jobs/nightly", f"{LOCATION}/jobs/nightly/executions/nightly-1"),
    "Folders": ("organizations/1", "folders/1"),
    "Jobs": (LOCATION, f"{LOCATION}/jobs/nightly"),
    "Key": (ACCOUNT, f"{ACCOUNT}/keys/1"),
    "Operations": (LOCATION, f"{LOCATION}/operations/1"),
    "OrgPolicy": (PROJECT, f"{PROJECT}/policies/iam.disableServiceAccountCreation"),
    "LoggingServiceV2": (PROJECT, PROJECT),
    "Organizations": ("", "organizations/1"),
    "Policies": (DENY_POLICIES, f"{DENY_POLICIES}/no-tokens"),
    "PolicyBindings": (f"{PROJECT}/locations/global", f"{PROJECT}/locations/global/policyBindings/own"),
    "Projects": ("folders/1", PROJECT),
    "Publisher": (PROJECT, f"{PROJECT}/topics/exports"),
    "Revisions": (f"{LOCATION}/services/web", f"{LOCATION}/services/web/revisions/web-1"),
    "Role": (PROJECT, f"{PROJECT}/roles/deployer"),
    "Services": (LOCATION, f"{LOCATION}/services/web"),
    "Subscriber": (PROJECT, f"{PROJECT}/subscriptions/exports"),
    "WorkerPools": (LOCATION, f"{LOCATION}/workerPools/queue"),
}
"""Names by service, and in IAM by noun: a parent, and a resource."""

SERVED = {rpc: RULES[rpc] for rpc in Cloud().handlers}
NEEDING = sorted(
    rpc for rpc, rule in SERVED.items() if isinstance(rule, RequiresPermission) and rpc in methods()
)
"""Methods over gRPC that need a permission."""


def resource_of(descriptor: TargetKindDescriptor) -> str:
    return descriptor.resource_pattern.format(
        project_id="shop", location="europe-west1", parent="ring", name="exports"
    )


def a_name(rpc: str) -> str:
    """Return the name in a request of `rpc`: a parent, or a resource that need not exist."""
    for descriptor in TARGET_RESOURCES.values():
        if rpc in (
            descriptor.get_method,
            *(f"{descriptor.policy_service}/{verb}IamPolicy" for verb in ("Get", "Set")),
        ):
            return resource_of(descriptor)
    service, _, method = rpc.rpartition(".")[2].partition("/")
    of_parent = method.startswith(("Create", "List", "Upload"))
    if service == "IAM":
        service = next(kind for kind in ("Role", "Key", "") if kind in method)
    parent, own = NAMES[service]
    return parent if of_parent else own


def a_request(rpc: str, rule: RequiresPermission) -> Any:
    request = methods()[rpc].request()
    *path, last = rule.on.split(".")
    name = a_name(rpc)
    holder = reduce(getattr, path, request)
    setattr(holder, last, name if isinstance(getattr(holder, last), str) else [name])
    return request


async def refusal(emulator: Emulator, rpc: str, rule: RequiresPermission) -> str:
    """Return the error of Ann's call with its details; empty if it is allowed."""
    return await refusal_of(emulator, rpc, as_protobuf(a_request(rpc, rule)))


async def refusal_of(emulator: Emulator, rpc: str, request: Any) -> str:
    """Return the error of Ann's request with its details; empty if it is allowed."""
    async with grpc.aio.insecure_channel(emulator.grpc_address) as channel:
        call = channel.unary_unary(f"/{rpc}")(
            request.SerializeToString(),
            metadata=(("authorization", f"Bearer {ANN}"),),
        )
        if await call.code() is not grpc.StatusCode.PERMISSION_DENIED:
            return ""
        return f"{await call.details()} {await call.trailing_metadata()}"


def grant_ann(emulator: Emulator, *permissions: str) -> None:
    """Grant Ann exactly these permissions on everything that requests name."""
    role = f"{PROJECT}/roles/justThese"
    emulator.cloud.role_table.store(iam.Role(name=role, included_permissions=permissions))
    policy = policy_pb2.Policy(bindings=[policy_pb2.Binding(role=role, members=[ANN])])
    for resource in (PROJECT, "folders/1", "organizations/1"):
        with emulator.cloud.policies.unchecked():
            request = iam_policy_pb2.SetIamPolicyRequest(resource=resource, policy=policy)
            emulator.cloud.policies.write(resource, ResourceKind.PROJECT, request)


def test_table_has_every_served_method() -> None:
    assert set(Cloud().handlers) - set(RULES) == set()


def test_table_has_no_unknown_method() -> None:
    assert set(RULES) - set(methods()) - set(Cloud().handlers) == set()


def test_predefined_roles_have_every_permission_of_the_table() -> None:
    held = {permission for role in role_catalog().values() for permission in role.permissions}
    kinds = (RequiresPermission, FiltersResults, Impersonates)
    needed = {rule.permission for rule in SERVED.values() if isinstance(rule, kinds)}
    assert needed - held == set()


@pytest.mark.parametrize("descriptor", TARGET_RESOURCES.values(), ids=lambda each: each.kind)
@pytest.mark.parametrize("verb", ["getIamPolicy", "setIamPolicy"])
async def test_policy_method_needs_the_permission_of_the_kind(
    emulator: Emulator, descriptor: TargetKindDescriptor, verb: str
) -> None:
    emulator.cloud.resources.add(
        emulator.cloud.registry.resolve("shop"), TARGET_RESOURCES[TargetKind.STORAGE_BUCKET], "exports"
    )
    permission = f"{descriptor.permission_prefix}.{verb}"
    rpc = f"{descriptor.policy_service}/{verb[:1].upper()}{verb[1:]}"
    request = getattr(iam_policy_pb2, f"{verb[:1].upper()}{verb[1:]}Request")(
        resource=resource_of(descriptor)
    )
    assert permission in await refusal_of(emulator, rpc, request)
    grant_ann(emulator, permission)
    assert permission not in await refusal_of(emulator, rpc, request)


@pytest.mark.parametrize("rpc", NEEDING)
async def test_method_needs_exactly_its_permission(emulator: Emulator, rpc: str) -> None:
    rule = RULES[rpc]
    assert isinstance(rule, RequiresPermission)
    emulator.cloud.resources.add(
        emulator.cloud.registry.resolve("shop"), TARGET_RESOURCES[TargetKind.STORAGE_BUCKET], "exports"
    )
    assert rule.permission in await refusal(emulator, rpc, rule)
    grant_ann(emulator, rule.permission)
    assert rule.permission not in await refusal(emulator, rpc, rule)
