"""Run the operator's own reconcile over objects in memory, without a write.

`dry_run` plans manifests for an empty cluster. `cluster_plan` and `recovery` load a cluster into a session.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from cloudrun_identity.api import KINDS, Authority, IAMBinding, Reason
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.iam.expiry import timestamp
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.kube.event_recorder import EventType
from cloudrun_identity.kube.finalizers import is_deleting
from cloudrun_identity.kube.objects import resource, resource_of
from cloudrun_identity.kube.resources import NAMESPACES, Object
from cloudrun_identity.ledger.limits import LedgerFull
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.ledger.objects import LedgerInvalid
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.ledger.store import LedgerPruned
from cloudrun_identity.ledger.temporary_grants import recorded_grant
from cloudrun_identity.manager.engine import Engine
from cloudrun_identity.manager.factory import Ports, compose
from cloudrun_identity.manager.kubernetes import CountedClient, KubeWrites
from cloudrun_identity.manager.metrics import Metrics
from cloudrun_identity.policy.ports import SyncerSettings
from cloudrun_identity.reconcile.cluster_state import ObjectKey
from cloudrun_identity.reconcile.executor import ASSUMED_UNIQUE_ID
from cloudrun_identity.reconcile.outcomes import Failing, Waiting, internal_error, ledger_invalid
from cloudrun_identity.reconcile.requeue import NoRequeue

from .dry_run_executor import DryRunExecutor
from .dry_run_policies import DryRunPolicies, describe_policy, grant_text
from .in_memory_client import InMemoryClient
from .model import DryRun, PlanBlocker, PlannedStep, Sign
from .reports import Reports, groups_of, in_order
from .scope import Scope

MAX_ROUNDS = 8
"""Reconciles of each object at most: a chain of references is shorter than that."""

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the number of reconciled objects of a round, and the number of all."""

_NAMESPACE = "cloudrun-identity"
_UNFINISHED = (
    f"the plan of this object is incomplete: after {MAX_ROUNDS} rounds of reconciles, changes still concern "
    "it; apply the objects that it refers to first, and plan it again"
)


async def dry_run(
    google: GoogleClients, objects: Iterable[Object], progress: Progress = lambda *_: None
) -> DryRun:
    """Return what applying these objects to an empty cluster would change in Google Cloud.

    The objects are of the operator's kinds, or namespaces. `google` must refuse to write. The namespace of an
    object need not be among the objects.
    """
    async with dry_run_session(google, await in_memory(objects), _NAMESPACE) as run:
        await run.reconcile_all(progress)
        return DryRun(run.steps(), tuple(run.blockers()), tuple(run.notices()))


@dataclass(frozen=True, slots=True)
class DryRunSession:
    """A composed engine over objects in memory, which writes nothing."""

    client: InMemoryClient
    """The objects."""

    engine: Engine
    """Everything between the objects and Google Cloud."""
    executor: DryRunExecutor
    """Executor that assumes the effect of every action."""
    reports: Reports
    """Reports of the reconciles."""
    scope: Scope
    """Objects to reconcile. A change of an object adds those that it concerns, as in the operator."""
    recorded: Mapping[Target, Ledger]
    """The ledgers at the start."""
    unfinished: set[ObjectKey] = field(default_factory=set)
    """Objects that are still due after the last round."""

    def steps(self) -> tuple[PlannedStep, ...]:
        """Return the steps so far, those of one resource together."""
        steps = sorted(self.executor.steps, key=lambda step: in_order(step.object))
        return tuple(_grouped([*steps, *self._grant_steps()]))

    async def reconcile_all(self, progress: Progress = lambda *_: None) -> None:
        """Reconcile every object, in the order of references, until nothing is left to do."""
        self.scope.update(self.engine.cache.known())
        await self.reconcile(progress)

    async def reconcile(self, progress: Progress = lambda *_: None) -> None:
        """Reconcile the objects in scope, in the order of references, until nothing is left to do.

        An object is reconciled once more if another one changed what it depends on, and as long as it waits
        and anything changes. Objects of one kind are reconciled together, so that they share the syncs of a
        policy, as in the operator. Objects that are still due after the last round have a blocker.
        """
        self.unfinished.clear()
        before: object = None
        for _ in range(MAX_ROUNDS):
            due = self.scope.due
            for start, group in groups_of(due, self.engine.cache):
                progress(start, len(due))
                self.scope.begin(group)
                settled = await asyncio.gather(*map(self._reconcile, group))
                self.scope.wait(key for key, is_settled in zip(group, settled, strict=True) if not is_settled)
                for key in group:
                    await self._drop_if_finalized(key)
            changes = (len(self.scope), *policies_of(self.engine).changes())
            after = (frozenset(self.executor.steps), dict(self.reports.latest), changes)
            if after != before:
                self.scope.requeue_waiting()
            if not self.scope.due:
                return
            before = after
        self.unfinished.update(self.scope.due)

    def blockers(self) -> Iterable[PlanBlocker]:
        """Return why objects would not become Ready, or why that is not known."""
        yield from self.reports.blockers()
        for key in sorted(self.unfinished, key=in_order):
            yield PlanBlocker(key, Reason.INTERNAL_ERROR, _UNFINISHED, final=True)

    def notices(self) -> Iterable[str]:
        """Return what the status of an object would say besides, such as a grant that is over already."""
        return self.reports.notices()

    async def _reconcile(self, key: ObjectKey) -> bool:
        """Reconcile an object; return False if the operator would reconcile it again soon, or if it waits.

        An error of the cluster or of a ledger is reported as its outcome.
        """
        reconciler, may_release = self.engine.reconciler, self.engine.syncers.is_complete
        try:
            requeue, _ = await reconciler.reconcile(key, max_age=0.0)
        except KubeError as error:
            reason = Reason.PERMISSION_DENIED if error.is_forbidden else Reason.API_UNAVAILABLE
            reconciler.retain(key)
            await reconciler.fail(key, Failing(reason, str(error), observed=False))
        except LedgerInvalid as error:
            reconciler.retain(key)
            await reconciler.fail(key, ledger_invalid(str(error)))
        except (LedgerFull, LedgerPruned) as error:
            reconciler.retain(key)
            await reconciler.fail(key, internal_error(str(error)))
        else:
            # Unmanaged members are removed only after all objects have declared their grants.
            is_complete = may_release or not self._is_exclusive(key)
            return isinstance(requeue, NoRequeue) and is_complete and not self._waits(key)
        return False

    def _waits(self, key: ObjectKey) -> bool:
        """Return whether an object waits or fails. A stalled one has no requeue, and a change may help it."""
        report = self.reports.latest.get(key)
        return report is not None and isinstance(report.outcome, Waiting | Failing)

    def _is_exclusive(self, key: ObjectKey) -> bool:
        stored = self.engine.cache.stored(key)
        binding = stored.obj if stored else None
        return isinstance(binding, IAMBinding) and binding.spec.authority is Authority.EXCLUSIVE

    async def _drop_if_finalized(self, key: ObjectKey) -> None:
        """Delete an object that is being deleted and has no finalizers, as the API server does."""
        stored = self.engine.cache.stored(key)
        if stored is not None and is_deleting(stored.raw):
            raw = await self.client.get(resource(key.kind), key.name, key.namespace)
            if not raw["metadata"].get("finalizers"):
                await self.client.delete(resource(key.kind), key.name, key.namespace)
                self.engine.cache.drop(raw)
        if self.engine.cache.stored(key) is None:
            self.scope.discard(key)
            self.reports.latest.pop(key, None)

    def _grant_steps(self) -> Iterable[PlannedStep]:
        for target, sign, grant in policies_of(self.engine).changes():
            key = self._owner_of(grant, sign)
            observed = self.executor.is_observed(key)
            end = self._end_of(grant, key) if sign is Sign.ADD else None
            text = grant_text(grant) + (f", which ends at {timestamp(end)}" if end else "")
            yield PlannedStep(describe_policy(target), sign, text, key, observed, grant, ends=end)

    def _end_of(self, grant: Grant, key: ObjectKey) -> datetime | None:
        """Return when a temporary grant ends for an object; None if it is permanent."""
        owner_key = f"{key.kind}/{key.namespace}/{key.name}"
        return next(
            (
                record.expires_at
                for (owner, base), record in self.engine.ledgers.ledger(grant.target).temporary.items()
                if owner == owner_key and recorded_grant(base, record) == grant
            ),
            None,
        )

    def _owner_of(self, grant: Grant, sign: Sign) -> ObjectKey:
        """Return the first object that a grant is added or removed for."""
        ledger = self.recorded.get(grant.target) if sign is Sign.REMOVE else None
        entry = (ledger or self.engine.ledgers.ledger(grant.target)).entries.get(grant)
        owners = [_key(Owner.parse(each)) for each in sorted(entry.owners)] if entry else []
        if sign is Sign.ADD or ledger:
            involved = [each for each in owners if each in self.scope or each not in self._existing()]
            if found := next(iter((*involved, *owners)), None):
                return found
        return _key(self.engine.syncers.exclusive_owner(grant))

    def _existing(self) -> frozenset[ObjectKey]:
        return frozenset(self.engine.cache.known())


@asynccontextmanager
async def dry_run_session(
    google: GoogleClients, client: InMemoryClient, namespace: str, *, reads_ids: bool = False
) -> AsyncIterator[DryRunSession]:
    """Compose an engine over the objects of `client`, with the ledgers in `namespace`, for the block.

    `reads_ids` is true if the ledgers are bound to resources, so that their unique IDs must be compared.
    """
    metrics, reports, executor, scope = Metrics(), Reports(), DryRunExecutor(), Scope()
    counted = CountedClient(client, metrics)

    async def target_id(target: Target) -> str:
        is_bound = reads_ids and not _is_assumed(engine.ledgers.ledger(target))
        return await engine.cloud.unique_ids.of_target(target) if is_bound else ""

    engine = compose(
        Ports(
            client=counted,
            kube=_InMemoryWrites(counted),
            google=google,
            namespace=namespace,
            events=_NoEvents(),
            drift=metrics,
            syncs=metrics,
            wake=scope.update,
            executor=lambda _: executor,
            policies=lambda policies, ledgers: DryRunPolicies(
                policies, lambda target: _is_assumed(ledgers.ledger(target))
            ),
            target_id=target_id,
            sync_settings=SyncerSettings(batch_window=0.0, max_wait=0.0),
            is_dry_run=True,
            on_report=reports.add,
        )
    )
    try:
        await engine.fill(counted, KINDS)
        scope.clear()
        recorded = {ledger.target: ledger for ledger in engine.ledgers.all()}
        yield DryRunSession(client, engine, executor, reports, scope, recorded)
    finally:
        await engine.close()


class _InMemoryWrites(KubeWrites):
    """Writes to objects in memory, whose kinds are always installed."""

    async def is_uninstalled(self, kind: str) -> bool:  # noqa: ARG002
        """Return False: a plan deletes objects, not their kinds."""
        return False


class _NoEvents:
    """A sink for Events."""

    def record(self, obj: Object, event_type: EventType, reason: str, message: str) -> None:
        """Drop the Event."""


def _is_assumed(ledger: Ledger) -> bool:
    """Return whether the dry run assumes that the account of the policy was created."""
    return ledger.account is not None and ledger.account.unique_id == ASSUMED_UNIQUE_ID


async def in_memory(objects: Iterable[Object]) -> InMemoryClient:
    """Return the objects in memory, with a namespace for each namespaced one."""
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


def _key(owner: Owner) -> ObjectKey:
    return ObjectKey(owner.kind, owner.namespace, owner.name)
