"""IAM policies of every target kind."""

from contextlib import nullcontext
from dataclasses import replace

import grpc
import pytest
from google.iam.v1 import policy_pb2
from google.type import expr_pb2

from cloudrun_identity.api import TargetKind
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.policies import Policies
from cloudrun_identity.gcp.service_accounts import ServiceAccounts
from cloudrun_identity.iam.grants import Target
from cloudrun_identity_playground.emulator.apis.containers import Container
from cloudrun_identity_playground.emulator.emulator import Emulator
from tests.target_resources import DATA_KINDS, SUPPORTED_ROLES, resource_of

PROJECT = Target(TargetKind.PROJECT, "shop-1234")
ACCOUNT = Target(TargetKind.SERVICE_ACCOUNT, "shop-1234", name="checkout@shop-1234.iam.gserviceaccount.com")
WORKLOADS = [
    Target(TargetKind.SERVICE, "shop-1234", "europe-west1", "checkout"),
    Target(TargetKind.JOB, "shop-1234", "europe-west1", "nightly"),
    Target(TargetKind.WORKER_POOL, "shop-1234", "europe-west1", "runner"),
]
DATA = [resource_of(kind, "shop-1234") for kind in DATA_KINDS]
CONTAINERS = [
    Target(TargetKind.FOLDER, "shop-1234", name="42"),
    Target(TargetKind.ORGANIZATION, "shop-1234", name="7"),
]
SET_PROJECT = "google.cloud.resourcemanager.v3.Projects/SetIamPolicy"


@pytest.fixture
async def policies(clients: GoogleClients, emulator: Emulator) -> Policies:
    for container in CONTAINERS:
        emulator.cloud.registry.containers.add(Container(container.resource, "acme"))
    for target in DATA:
        emulator.edit({"resource": target.full_name, "create": "shop-1234"})
    await ServiceAccounts(clients).create("shop-1234", "checkout", "", "")
    return Policies(clients)


def bindings(policy: policy_pb2.Policy) -> dict[str, set[str]]:
    return {binding.role: set(binding.members) for binding in policy.bindings}


@pytest.mark.parametrize(
    ("target", "role"),
    [
        (PROJECT, "roles/run.invoker"),
        (ACCOUNT, "roles/iam.serviceAccountUser"),
        *((workload, "roles/run.invoker") for workload in WORKLOADS),
        *((target, SUPPORTED_ROLES[target.kind]) for target in DATA),
        *((target, "roles/run.viewer") for target in CONTAINERS),
    ],
    ids=lambda value: str(value),
)
async def test_policy_is_read_and_written(policies: Policies, target: Target, role: str) -> None:
    policy = await policies.get(target)
    policy.bindings.add(role=role, members=["user:ann@example.com"])
    before = policy_pb2.Policy()
    before.CopyFrom(policy)

    written = await policies.set(target, policy)

    assert policy == before
    assert bindings(written)[role] == {"user:ann@example.com"}
    assert written.etag != policy.etag
    assert await policies.get(target) == written


@pytest.mark.parametrize("target", DATA, ids=str)
async def test_role_of_another_service_is_refused(policies: Policies, target: Target) -> None:
    policy = await policies.get(target)
    policy.bindings.add(role="roles/run.invoker", members=["user:ann@example.com"])
    with pytest.raises(GoogleError, match="not supported for this resource") as raised:
        await policies.set(target, policy)
    assert raised.value.fault is Fault.INVALID_ARGUMENT


@pytest.mark.parametrize("target", [each for each in DATA if not each.service], ids=str)
async def test_conditions_are_accepted_as_the_table_says(policies: Policies, target: Target) -> None:
    policy = await policies.get(target)
    expiry = expr_pb2.Expr(title="until 2040", expression="request.time < timestamp('2040-01-01T00:00:00Z')")
    policy.bindings.add(role=SUPPORTED_ROLES[target.kind], members=["user:ann@example.com"], condition=expiry)
    accepted = target.descriptor.accepts_conditions
    with nullcontext() if accepted else pytest.raises(GoogleError, match="Conditions are not supported"):
        await policies.set(target, policy)


async def test_instances_of_two_services_have_their_own_policies(policies: Policies) -> None:
    spanner = Target(TargetKind.SPANNER_INSTANCE, "shop-1234", name="orders")
    bigtable = Target(TargetKind.BIGTABLE_INSTANCE, "shop-1234", name="orders")
    assert spanner.resource == bigtable.resource
    assert spanner.full_name != bigtable.full_name
    with pytest.raises(GoogleError):
        await policies.get(bigtable)


async def test_conditions_are_preserved(policies: Policies) -> None:
    policy = await policies.get(PROJECT)
    expiry = expr_pb2.Expr(title="until 2040", expression="request.time < timestamp('2040-01-01T00:00:00Z')")
    policy.bindings.add(role="roles/run.viewer", members=["user:ann@example.com"], condition=expiry)
    await policies.set(PROJECT, policy)

    [binding] = [each for each in (await policies.get(PROJECT)).bindings if each.role == "roles/run.viewer"]

    assert binding.condition == expiry


async def test_write_with_stale_etag_is_aborted(policies: Policies) -> None:
    stale = await policies.get(PROJECT)
    fresh = await policies.get(PROJECT)
    fresh.bindings.add(role="roles/run.viewer", members=["user:ann@example.com"])
    current = await policies.set(PROJECT, fresh)
    stale.bindings.add(role="roles/run.admin", members=["user:bob@example.com"])

    with pytest.raises(GoogleError) as raised:
        await policies.set(PROJECT, stale)

    assert raised.value.fault is Fault.ABORTED
    assert await policies.get(PROJECT) == current


async def test_policy_without_etag_is_not_sent(policies: Policies, emulator: Emulator) -> None:
    with pytest.raises(ValueError, match="Project shop-1234 has no etag"):
        await policies.set(PROJECT, policy_pb2.Policy())

    assert emulator.calls[SET_PROJECT] == 0


async def test_audit_configs_are_not_written(policies: Policies) -> None:
    policy = await policies.get(PROJECT)
    policy.audit_configs.add(service="allServices").audit_log_configs.add(log_type=1)

    written = await policies.set(PROJECT, policy)

    assert not written.audit_configs


async def test_write_with_a_lost_answer_is_not_retried(policies: Policies, emulator: Emulator) -> None:
    policy = await policies.get(PROJECT)
    policy.bindings.add(role="roles/run.viewer", members=["user:ann@example.com"])
    emulator.faults.inject(SET_PROJECT, grpc.StatusCode.UNAVAILABLE, applied=True)

    with pytest.raises(GoogleError) as raised:
        await policies.set(PROJECT, policy)

    assert raised.value.fault is Fault.UNAVAILABLE
    assert bindings(await policies.get(PROJECT))["roles/run.viewer"] == {"user:ann@example.com"}


@pytest.mark.parametrize("target", [WORKLOADS[0], *DATA], ids=str)
async def test_missing_target_is_not_found(policies: Policies, target: Target) -> None:
    with pytest.raises(GoogleError) as raised:
        await policies.get(replace(target, name=f"{target.name}x"))

    assert raised.value.fault is Fault.NOT_FOUND


async def test_permissions_are_tested_in_requests_of_100(policies: Policies, emulator: Emulator) -> None:
    asked = {f"run.services.permission{number}" for number in range(150)}

    assert await policies.test_permissions(PROJECT, asked) <= asked
    assert emulator.calls["google.cloud.resourcemanager.v3.Projects/TestIamPermissions"] == 2
