"""Test plans for a cluster whose objects the operator's own engine has reconciled on the emulator."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import grpc
import pytest
import yaml

from cloudrun_identity.api import KINDS, PolicyLedger
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.kube.objects import resource, resource_of
from cloudrun_identity.kube.resources import NAMESPACES, Object, Objects, Resource
from cloudrun_identity.manager.factory import Ports, compose
from cloudrun_identity.manager.kubernetes import CountedClient, KubeWrites
from cloudrun_identity.manager.metrics import Metrics
from cloudrun_identity.plan.cluster_objects import LedgersMissing, read_cluster
from cloudrun_identity.plan.cluster_plan import plan_in_cluster
from cloudrun_identity.plan.in_memory_client import InMemoryClient
from cloudrun_identity.plan.model import DryRun
from cloudrun_identity.policy.ports import SyncerSettings
from cloudrun_identity.reconcile.cluster_state import ObjectKey
from cloudrun_identity_playground.emulator.emulator import Emulator
from cloudrun_identity_playground.emulator.seed import Binding, Project, Seed, ServiceAccount, Workload
from tests.gcp.conftest import Observer

OPERATOR_NAMESPACE = "cri-system"
POLL_INTERVAL = 0.1
ACCOUNT = "checkout@shop-1234.iam.gserviceaccount.com"
GET_POLICY = "google.cloud.resourcemanager.v3.Projects/GetIamPolicy"
POLICY = "IAM policy of Project shop-1234"
SEED = Seed(
    strict=True,
    projects=(
        Project(
            project_id="shop-1234",
            project_number="123456789012",
            service_accounts=(ServiceAccount(account_id="checkout"), ServiceAccount(account_id="other-one")),
            services=(Workload(location="europe-west1", name="web"),),
            policy=(Binding(role="roles/run.viewer", members=("user:ann@example.com",)),),
        ),
    ),
)
PROJECT = """
kind: ManagedProject
metadata: {name: shop}
spec:
  projectID: shop-1234
  locations: [europe-west1]
  namespaces: {names: [payments]}
  guardrails:
    grants:
    - roles: [roles/run.viewer, roles/logging.logWriter]
      targetKinds: [Project]
      members: ["*"]
      namespaces: ["*"]
    keys: Allowed
    customRoles: {permissions: ["run.*"], namespaces: ["*"]}
    adoptableAccounts: [{email: "*@shop-1234.iam.gserviceaccount.com", namespaces: ["*"]}]
"""
IDENTITY = """
kind: CloudRunIdentity
metadata: {name: checkout}
spec:
  adoption: Adopt
  deletionPolicy: Delete
  roles: [{role: roles/run.viewer}, {role: roles/logging.logWriter}]
  users: [{principal: "group:ops@example.com"}]
"""
BINDING = """
kind: IAMBinding
metadata: {name: viewers}
spec: {target: {kind: Project}, role: roles/run.viewer, members: [{principal: "group:ops@example.com"}]}
"""
MANIFESTS = f"{PROJECT}---\n{IDENTITY}---\n{BINDING}"
SECOND_ROLE = ", {role: roles/logging.logWriter}"


class SmallCluster:
    """Objects in memory, and the operator's engine that reconciles them on the emulator."""

    def __init__(self, emulator: Emulator) -> None:
        self.client = InMemoryClient()
        self._emulator = emulator

    async def apply(self, manifests: str) -> None:
        """Apply new manifests, and reconcile all objects for real."""
        for obj in objects_in(manifests):
            await self.client.create(resource_of(obj), obj)
        await self.reconcile()

    async def reconcile(self) -> None:
        """Reconcile all objects until all are Ready."""
        google = GoogleClients(self._emulator.grpc_address, Observer())
        metrics = Metrics()
        counted = CountedClient(self.client, metrics)
        engine = compose(
            Ports(
                client=counted,
                kube=KubeWrites(counted),
                google=google,
                namespace=OPERATOR_NAMESPACE,
                events=_NoEvents(),
                drift=metrics,
                syncs=metrics,
                wake=lambda _: None,
                sync_settings=SyncerSettings(batch_window=0.0, max_wait=0.0),
            )
        )
        try:
            await engine.fill(counted, KINDS)
            keys = sorted(engine.cache.known(), key=lambda key: key.kind != "ManagedProject")
            while not all([await self.is_ready(key) for key in keys]):
                for key in keys:
                    await engine.reconciler.reconcile(key, max_age=0.0)
                await asyncio.sleep(POLL_INTERVAL)
        finally:
            await engine.close()

    async def plan(self, manifests: str, *, prune: bool = False) -> DryRun:
        """Return the plan for manifests. It must only read."""
        stored = await self.stored()
        observer = Observer()
        google = GoogleClients(self._emulator.grpc_address, observer, read_only=True)
        try:
            found = await read_cluster(self.client, OPERATOR_NAMESPACE, "default")
            return await plan_in_cluster(google, found, objects_in(manifests), prune=prune)
        finally:
            await google.close()
            verbs = {method.rpartition("/")[2] for method, _ in observer.calls}
            assert not [verb for verb in verbs if not verb.startswith(("Get", "List", "Test", "Query"))]
            assert await self.stored() == stored

    async def stored(self) -> list[Object]:
        return [obj for kind in KINDS for obj in await self.client.list(resource(kind))]

    async def is_ready(self, key: ObjectKey) -> bool:
        raw = await self.client.get(resource(key.kind), key.name, key.namespace)
        return any(
            each["type"] == "Ready" and each["status"] == "True"
            for each in raw.get("status", {}).get("conditions", ())
        )


class _NoEvents:
    def record(self, *_: Any) -> None:
        """Drop the Event."""


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(seed=SEED) as emulator:
        yield emulator


@pytest.fixture
async def cluster(emulator: Emulator) -> SmallCluster:
    """Provide a cluster in which the manifests are applied and everything is Ready."""
    cluster = SmallCluster(emulator)
    await cluster.client.create(NAMESPACES, {"kind": "Namespace", "metadata": {"name": "payments"}})
    await cluster.apply(MANIFESTS)
    return cluster


def objects_in(manifests: str) -> list[Object]:
    return [_completed(obj) for obj in yaml.safe_load_all(manifests)]


def _completed(obj: Object) -> Object:
    if obj["kind"] not in ("ManagedProject", "Namespace"):
        obj["metadata"].setdefault("namespace", "payments")
        obj["spec"].setdefault("projectRef", {"name": "shop"})
    return {"apiVersion": "cloudrun-identity.dev/v1alpha1", **obj}


def steps(plan: DryRun) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for step in plan.steps:
        found.setdefault(step.resource, []).append(f"{step.sign} {step.text}")
    return found


def blockers(plan: DryRun) -> dict[str, str]:
    return {f"{each.object.kind}/{each.object.name}": each.reason for each in plan.blockers}


async def test_applied_manifests_plan_no_change(cluster: SmallCluster) -> None:
    assert await cluster.plan(MANIFESTS, prune=True) == DryRun((), ())


async def test_added_user_of_a_managed_identity_is_one_addition(cluster: SmallCluster) -> None:
    edited = IDENTITY.replace("users: [", 'users: [{principal: "user:bob@example.com"}, ')

    plan = await cluster.plan(edited)

    assert steps(plan) == {
        f"IAM policy of ServiceAccount {ACCOUNT}": ["+ roles/iam.serviceAccountUser for user:bob@example.com"]
    }
    assert plan.blockers == ()


async def test_role_removed_from_the_file_is_one_removal(cluster: SmallCluster) -> None:
    plan = await cluster.plan(IDENTITY.replace(SECOND_ROLE, ""))

    assert steps(plan) == {POLICY: [f"- roles/logging.logWriter for serviceAccount:{ACCOUNT}"]}
    (step,) = plan.steps
    assert str(step.object) == "CloudRunIdentity payments/checkout"
    assert plan.blockers == ()


async def test_grant_that_another_object_declares_is_not_removed(cluster: SmallCluster) -> None:
    await cluster.apply(
        BINDING.replace("viewers", "also").replace("group:ops", "user:eve")
        + "---"
        + BINDING.replace("viewers", "twin")
    )

    plan = await cluster.plan(BINDING.replace("group:ops@example.com", "user:bob@example.com"))

    assert steps(plan) == {POLICY: ["+ roles/run.viewer for user:bob@example.com"]}


async def test_prune_plans_the_deletion_of_objects_not_in_the_files(cluster: SmallCluster) -> None:
    await cluster.apply(BINDING.replace("viewers", "other").replace("group:ops", "user:eve"))

    kept = await cluster.plan(BINDING)
    plan = await cluster.plan(BINDING, prune=True)

    assert kept.steps == ()
    assert steps(plan) == {POLICY: ["- roles/run.viewer for user:eve@example.com"]}
    assert [str(step.object) for step in plan.steps] == ["IAMBinding payments/other"]


async def test_pruned_identity_loses_its_grants_and_its_account(cluster: SmallCluster) -> None:
    other = IDENTITY.replace("name: checkout", "name: other-one")
    await cluster.apply(other)

    plan = await cluster.plan(other, prune=True)

    assert steps(plan) == {
        f"ServiceAccount {ACCOUNT}": ["- account: present → deleted"],
        POLICY: [
            f"- roles/logging.logWriter for serviceAccount:{ACCOUNT}",
            f"- roles/run.viewer for serviceAccount:{ACCOUNT}",
        ],
        f"IAM policy of ServiceAccount {ACCOUNT}": [
            "- roles/iam.serviceAccountUser for group:ops@example.com"
        ],
    }


async def test_pruned_role_key_and_attachment_show_what_their_deletion_undoes(cluster: SmallCluster) -> None:
    surplus = """
kind: CustomRole
metadata: {name: NAME}
spec: {roleID: NAME, permissions: [run.jobs.get]}
---
kind: IdentityKey
metadata: {name: NAME}
spec: {identityRef: {name: checkout}, secretName: NAME}
---
kind: IdentityAttachment
metadata: {name: NAME}
spec: {workload: {kind: Service, location: europe-west1, name: NAME}, identityRef: {name: checkout}}
"""
    await cluster.apply(surplus.replace("NAME", "web"))

    plan = await cluster.plan(surplus.replace("NAME", "other"), prune=True)

    found = steps(plan)
    assert found["CustomRole projects/shop-1234/roles/web"] == ["- role: present → deleted"]
    assert [text for text in found["IdentityKey payments/web"] if text.endswith("→ deleted")]
    assert found["IdentityKey payments/other"] == ["+ key: absent → created"]
    assert not [resource for resource in found if resource.startswith("Service ")]  # Abandon leaves it
    assert blockers(plan) == {"IdentityAttachment/other": "WorkloadNotFound"}


async def test_tightened_guardrails_show_the_objects_that_they_refuse(cluster: SmallCluster) -> None:
    plan = await cluster.plan(PROJECT.replace(", roles/logging.logWriter", ""))

    assert plan.steps == ()
    assert blockers(plan) == {"CloudRunIdentity/checkout": "DeniedByGuardrail"}
    assert plan.is_blocked


async def test_objects_outside_the_files_are_not_read_in_google_cloud(
    cluster: SmallCluster, emulator: Emulator
) -> None:
    observer = Observer()
    google = GoogleClients(emulator.grpc_address, observer, read_only=True)
    found = await read_cluster(cluster.client, OPERATOR_NAMESPACE, "default")
    try:
        await plan_in_cluster(google, found, objects_in(BINDING))
    finally:
        await google.close()
    assert not [method for method, _ in observer.calls if "ServiceAccount" in method]


class _Reads(InMemoryClient):
    """The API server, which counts the lists of each kind."""

    def __init__(self, client: InMemoryClient) -> None:
        super().__init__()
        self._client = client
        self.lists: Counter[str] = Counter()

    async def list(self, resource: Resource, namespace: str = "", **options: Any) -> Objects:
        self.lists[resource.plural] += 1
        return await self._client.list(resource, namespace, **options)


async def test_plan_reads_and_reconciles_each_object_once(cluster: SmallCluster, emulator: Emulator) -> None:
    attachment = """
kind: IdentityAttachment
metadata: {name: web}
spec: {workload: {kind: Service, location: europe-west1, name: web}, identityRef: {name: checkout}}
"""
    role = "kind: CustomRole\nmetadata: {name: flows}\nspec: {roleID: flows, permissions: [run.jobs.run]}\n"
    await cluster.apply(f"{attachment}---\n{role}")
    manifests = objects_in(f"{MANIFESTS}---\n{attachment}---\n{role}")
    progress: list[tuple[int, int]] = []
    reads = _Reads(cluster.client)
    google = GoogleClients(emulator.grpc_address, Observer(), read_only=True)
    emulator.calls.reset()
    try:
        found = await read_cluster(reads, OPERATOR_NAMESPACE, "default")
        plan = await plan_in_cluster(
            google, found, manifests, prune=True, progress=lambda *done: progress.append(done)
        )
    finally:
        await google.close()

    assert plan == DryRun((), ())
    assert reads.lists == Counter([NAMESPACES.plural, *(resource(kind).plural for kind in KINDS)])
    rounds = [total for start, total in progress if start == 0]
    assert rounds == [len(manifests)], "each object is reconciled once"
    repeated = {rpc.partition("/")[2]: count for rpc, count in emulator.calls.items() if count > 1}
    assert repeated == {"GetRole": 4, "TestIamPermissions": 2}, "of each role, and of each set of permissions"


async def test_edit_reconciles_only_what_it_concerns(cluster: SmallCluster, emulator: Emulator) -> None:
    progress: list[tuple[int, int]] = []
    google = GoogleClients(emulator.grpc_address, Observer(), read_only=True)
    try:
        found = await read_cluster(cluster.client, OPERATOR_NAMESPACE, "default")
        edited = objects_in(BINDING.replace("group:ops", "group:dev"))
        plan = await plan_in_cluster(google, found, edited, progress=lambda *done: progress.append(done))
    finally:
        await google.close()
    assert len(plan.steps) == 2
    assert progress == [(0, 1)]


async def test_observed_project_plans_what_manage_would_do(cluster: SmallCluster) -> None:
    observed = PROJECT.replace("projectID: shop-1234", "projectID: shop-1234\n  managementPolicy: Observe")
    new = IDENTITY.replace("name: checkout", "name: billing")

    plan = await cluster.plan(f"{observed}---\n{new}")

    assert "ServiceAccount billing@shop-1234.iam.gserviceaccount.com" in steps(plan)
    assert all(step.observed for step in plan.steps)
    assert plan.blockers == ()


async def test_new_objects_use_those_of_the_cluster(cluster: SmallCluster) -> None:
    plan = await cluster.plan(
        """
kind: IdentityAttachment
metadata: {name: web}
spec: {workload: {kind: Service, location: europe-west1, name: web}, identityRef: {name: checkout}}
"""
    )

    (step,) = plan.steps
    assert step.resource == "Service europe-west1/web of project shop-1234"
    assert step.text.endswith(f"→ {ACCOUNT}")
    assert not plan.is_blocked


async def test_missing_reference_is_an_error_not_no_change(cluster: SmallCluster) -> None:
    plan = await cluster.plan(
        """
kind: IdentityAttachment
metadata: {name: web}
spec: {workload: {kind: Service, location: europe-west1, name: web}, identityRef: {name: absent}}
"""
    )

    assert blockers(plan) == {"IdentityAttachment/web": "DependencyNotFound"}
    assert plan.is_blocked


async def test_unreadable_policy_is_an_error_not_no_change(cluster: SmallCluster, emulator: Emulator) -> None:
    emulator.faults.inject(GET_POLICY, grpc.StatusCode.PERMISSION_DENIED, times=20)

    plan = await cluster.plan(BINDING)

    assert blockers(plan) == {"IAMBinding/viewers": "PermissionDenied"}
    assert plan.is_blocked


class _WithoutSecrets(InMemoryClient):
    """The API server, for a user without permission to read Secrets."""

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
        raise KubeError(403, "Forbidden", f"{resource.plural} {namespace}/{name}")


async def test_unreadable_secret_is_an_error_not_no_change(cluster: SmallCluster, emulator: Emulator) -> None:
    key = "kind: IdentityKey\nmetadata: {name: key}\nspec: {identityRef: {name: checkout}, secretName: key}"
    await cluster.apply(key)
    found = replace(
        await read_cluster(cluster.client, OPERATOR_NAMESPACE, "default"), secrets=_WithoutSecrets()
    )
    google = GoogleClients(emulator.grpc_address, Observer(), read_only=True)
    try:
        same = await cluster.plan(key)
        plan = await plan_in_cluster(google, found, objects_in(key))
    finally:
        await google.close()
    assert same == DryRun((), ())
    assert blockers(plan) == {"IdentityKey/key": "PermissionDenied"}
    assert plan.is_blocked


async def test_missing_namespace_is_assumed_and_noted(cluster: SmallCluster) -> None:
    plan = await cluster.plan(
        PROJECT.replace("[payments]", "[payments, later]")
        + "---"
        + IDENTITY.replace("name: checkout", "name: later-one, namespace: later")
    )

    assert "ServiceAccount later-one@shop-1234.iam.gserviceaccount.com" in steps(plan)
    assert plan.notes == (
        "Namespace later does not exist in the cluster; the plan assumes that it is created first.",
    )


async def test_ledgers_of_another_namespace_are_an_error(cluster: SmallCluster) -> None:
    with pytest.raises(LedgersMissing, match="name the operator's namespace with --operator-namespace"):
        await read_cluster(cluster.client, "elsewhere", "default")
    assert PolicyLedger.__name__ in KINDS
