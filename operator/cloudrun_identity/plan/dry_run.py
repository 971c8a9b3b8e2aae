"""Run the operator's own reconcile over manifests, without a cluster and without a write."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from cloudrun_identity.api import (
    KINDS,
    CloudRunIdentity,
    CustomRole,
    ManagedProject,
    ReconciledResource,
)
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.kube.event_recorder import EventType
from cloudrun_identity.kube.objects import resource_of
from cloudrun_identity.kube.resources import NAMESPACES, Object
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.manager.engine import Engine
from cloudrun_identity.manager.factory import Ports, compose
from cloudrun_identity.manager.kubernetes import CountedClient, KubeWrites
from cloudrun_identity.manager.metrics import Metrics
from cloudrun_identity.policy.ports import SyncerSettings
from cloudrun_identity.reconcile.cluster_state import ObjectKey
from cloudrun_identity.reconcile.executor import ASSUMED_UNIQUE_ID
from cloudrun_identity.reconcile.outcomes import InSync, Outcome
from cloudrun_identity.reconcile.status import Report

from .dry_run_executor import DryRunExecutor
from .dry_run_policies import DryRunPolicies, describe_policy, grant_text
from .in_memory_client import InMemoryClient
from .model import DryRun, PlanBlocker, PlannedStep, Sign, blocker

MAX_ROUNDS = 8
"""Reconciles of each object at most: a chain of references is shorter than that."""

_NAMESPACE = "cloudrun-identity"


async def dry_run(google: GoogleClients, objects: Iterable[Object]) -> DryRun:
    """Return what applying these objects to an empty cluster would change in Google Cloud.

    The objects are of the operator's kinds, or namespaces. `google` must refuse to write. The namespace of an
    object need not be among the objects.
    """
    async with dry_run_session(google, await _in_memory(objects), _NAMESPACE) as run:
        await run.reconcile_all()
        steps = _grouped([*run.executor.steps, *_grant_steps(run.engine, run.executor)])
        return DryRun(tuple(steps), tuple(run.blockers()))


@dataclass(frozen=True, slots=True)
class DryRunSession:
    """A composed engine over objects in memory, which writes nothing."""

    engine: Engine
    """Everything between the objects and Google Cloud."""
    executor: DryRunExecutor
    """Executor that assumes the effect of every action."""
    reports: "_Reports"
    """Reports of the reconciles."""

    async def reconcile_all(self) -> None:
        """Reconcile every object, in the order of references, until a round changes nothing."""
        keys = sorted(self.engine.cache.known(), key=_order)
        before: object = None
        for _ in range(MAX_ROUNDS):
            for key in keys:
                await self.engine.reconciler.reconcile(key, max_age=0.0)
            changes = tuple(policies_of(self.engine).changes())
            after = (tuple(self.executor.steps), dict(self.reports.latest), changes)
            if after == before:
                return
            before = after

    def blockers(self) -> Iterable[PlanBlocker]:
        """Return why objects would not become Ready."""
        return self.reports.blockers()


@asynccontextmanager
async def dry_run_session(
    google: GoogleClients, client: InMemoryClient, namespace: str
) -> AsyncIterator[DryRunSession]:
    """Compose an engine over the objects of `client`, with the ledgers in `namespace`, for the block."""
    metrics, reports, executor = Metrics(), _Reports(), DryRunExecutor()
    counted = CountedClient(client, metrics)
    engine = compose(
        Ports(
            client=counted,
            kube=KubeWrites(counted),
            google=google,
            namespace=namespace,
            events=_NoEvents(),
            drift=metrics,
            syncs=metrics,
            wake=lambda _: None,
            executor=lambda _: executor,
            policies=lambda policies, ledgers: DryRunPolicies(
                policies, lambda target: _is_assumed(ledgers.ledger(target))
            ),
            target_id=_unknown_id,
            sync_settings=SyncerSettings(batch_window=0.0, max_wait=0.0),
            ignores_observe=True,
            on_report=reports.add,
        )
    )
    try:
        await engine.fill(counted, KINDS)
        yield DryRunSession(engine, executor, reports)
    finally:
        await engine.close()


@dataclass(slots=True)
class _Reports:
    """The last report of every object."""

    latest: dict[ObjectKey, Report] = field(default_factory=dict)

    def add(self, obj: ReconciledResource, report: Report) -> None:
        """Take the report of a reconcile."""
        self.latest[ObjectKey.of(obj)] = report

    def blockers(self) -> Iterable[PlanBlocker]:
        """Return why objects would not become Ready, those of one object together."""
        for key in sorted(self.latest, key=_order):
            report = self.latest[key]
            outcomes = (report.outcome, *_apart_from(report.outcome, report.others))
            yield from (found for each in outcomes if (found := blocker(key, each)))


def _apart_from(shown: Outcome, others: Iterable[Outcome]) -> Iterable[Outcome]:
    """Return the outcomes that the message does not contain. That of a refusal lists several of them."""
    if isinstance(shown, InSync):
        return dict.fromkeys(others)
    return dict.fromkeys(
        each for each in others if isinstance(each, InSync) or each.message not in shown.message
    )


class _NoEvents:
    """A sink for Events."""

    def record(self, obj: Object, event_type: EventType, reason: str, message: str) -> None:
        """Drop the Event."""


def _is_assumed(ledger: Ledger) -> bool:
    """Return whether the dry run assumes that the account of the policy was created."""
    return ledger.account is not None and ledger.account.unique_id == ASSUMED_UNIQUE_ID


async def _unknown_id(_: Target) -> str:
    """Return no unique id: a dry run starts with empty ledgers, which are bound to no resource."""
    return ""


async def _in_memory(objects: Iterable[Object]) -> InMemoryClient:
    client = InMemoryClient()
    namespaces: dict[str, Object] = {}
    for obj in objects:
        metadata = obj["metadata"]
        if obj["kind"] == "Namespace":
            namespaces[metadata["name"]] = obj
        else:
            await client.create(resource_of(obj), obj)
            if namespace := metadata.get("namespace"):
                namespaces.setdefault(namespace, {"kind": "Namespace", "metadata": {"name": namespace}})
    for namespace in namespaces.values():
        await client.create(NAMESPACES, namespace)
    return client


def _grant_steps(engine: Engine, executor: DryRunExecutor) -> Iterable[PlannedStep]:
    for target, sign, grant in policies_of(engine).changes():
        owner = _owner_of(engine, grant, sign)
        key = ObjectKey(owner.kind, owner.namespace, owner.name)
        yield PlannedStep(describe_policy(target), sign, grant_text(grant), key, executor.is_observed(key))


def _owner_of(engine: Engine, grant: Grant, sign: Sign) -> Owner:
    """Return the first object that a grant is added or removed for."""
    entry = engine.ledgers.ledger(grant.target).entries.get(grant)
    if sign is Sign.ADD and entry and entry.owners:
        return Owner.parse(min(entry.owners))
    return engine.syncers.exclusive_owner(grant)


def policies_of(engine: Engine) -> DryRunPolicies:
    """Return the policies of an engine that is composed for a dry run."""
    if not isinstance(engine.policies, DryRunPolicies):
        raise TypeError("the engine is not composed for a dry run")
    return engine.policies


def _grouped(steps: Iterable[PlannedStep]) -> Iterable[PlannedStep]:
    """Return the steps with those of one resource together, in the order of the first of each."""
    resources: dict[str, list[PlannedStep]] = {}
    for step in steps:
        resources.setdefault(step.resource, []).append(step)
    return (step for listed in resources.values() for step in listed)


def _order(key: ObjectKey) -> tuple[int, ObjectKey]:
    """Sort objects that others refer to first."""
    first = (ManagedProject.__name__, CustomRole.__name__, CloudRunIdentity.__name__)
    return (first.index(key.kind) if key.kind in first else len(first), key)
