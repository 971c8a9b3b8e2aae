"""Reconcile one object of one kind: preconditions → observe → plan → execute → grants → status.

A reconcile is level-triggered and idempotent: it may run at any time, after any crash, and does what is left
to do. It returns when to reconcile again.
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Generic

from cloudrun_identity.api import FINALIZER, ProjectScopedResource, ReconciledResource
from cloudrun_identity.gcp.errors import GoogleError
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.kube.resources import Object
from cloudrun_identity.policy.desired_grants import RETAIN_ALL, DesiredGrants
from cloudrun_identity.policy.results import GrantSyncResult

from .cluster_state import ClusterState, ObjectKey, StoredObject, ledger_owner
from .dependencies import Dependencies
from .drift import attributions_of, drift_of, was_ready
from .executor import Executor
from .expirations import over_before_granted, release_over, with_ended
from .finalization import Finalizer
from .finish import Finisher
from .grant_status import grant_statuses
from .grants.members import expected_member
from .grants.release import Releaser
from .grants.resolver import RequestedGrant, ResolvedGrants, desired_grants_of
from .interfaces import A, ExternalResource, GrantSource, Kind, Obj, Seen, Want
from .outcomes import InSync, Outcome, Refused, Waiting, gravest, is_ledger_invalid, outcome_of
from .preconditions import Allowed, Blocked, check_preconditions
from .progress import Progress, carry_out
from .refusals import is_denied, with_remedy
from .requeue import NoRequeue, Requeue
from .retained import retained_issues
from .status import Report, difference_of, is_settled, nothing_unresolved, other_issues, status_agrees, what
from .steps import Plan
from .unrecorded_grants import NOT_RECORDED, made_by_others, recorded_as_unmanaged, unrecorded


class KindReconciler(Generic[Obj, Want, Seen, A]):
    """Reconcile the objects of one kind."""

    def __init__(
        self,
        kind: Kind[Obj, Want, Seen],
        deps: Dependencies,
        executor: Executor,
        finisher: Finisher,
        *,
        resource: ExternalResource[Obj, Want, Seen, A] | None = None,
        grants: GrantSource[Obj, Want] | None = None,
    ) -> None:
        """`resource` and `grants` are the kind again, where it implements these interfaces."""
        self._kind = kind
        self._deps = deps
        self._executor = executor
        self._finisher = finisher
        self._resource = resource
        self._grants = grants
        self._releaser = Releaser(deps.syncers, deps.store)
        self._finalizer = Finalizer(
            deps, executor, finisher, self._releaser, resource=resource, grants=grants
        )

    @property
    def model(self) -> type[Obj]:
        """The pydantic model of the kind."""
        return self._kind.kind

    def references(self, obj: ReconciledResource) -> frozenset[ObjectKey]:
        """Return the objects that this one names."""
        return self._kind.references(self._of_kind(obj))

    def declares(self, obj: ReconciledResource) -> str:
        """Return what only one object may declare in Google Cloud; empty if several objects may."""
        return self._kind.declares(self._of_kind(obj))

    def refuses(self, obj: ReconciledResource, allowed: Allowed, cluster: ClusterState) -> bool:
        """Return whether what the object declares is refused, for example by the guardrails."""
        resolved = self._kind.resolve(self._of_kind(obj), allowed, cluster)
        return isinstance(resolved, Blocked) and isinstance(resolved.outcome, Refused)

    async def reconcile(self, stored: StoredObject, *, max_age: float) -> tuple[Requeue, str]:
        """Do what is left to do for an object; return when to reconcile again, and a word for the metrics."""
        obj, raw = self._parsed(stored), stored.raw
        if obj.is_deleting:
            return await self._finalizer.finalize(obj, raw, is_removed=stored.is_removed)
        if FINALIZER not in obj.metadata.finalizers:
            finalized = await self._with_finalizer(raw)
            if finalized is None:
                return self._finisher.gone(obj, raw)
            raw, obj = finalized
            if obj.is_deleting:
                return await self._finalizer.finalize(obj, raw)
        report = await self._reconcile(obj, max_age)
        if report is None:
            return NoRequeue(), "waiting"
        return await self._finisher.finish(obj, raw, report)

    async def fail(self, stored: StoredObject, outcome: Outcome) -> None:
        """Report that a reconcile ended for a reason that is not the object's own."""
        obj = self._parsed(stored)
        report = Report(outcome, unresolved=nothing_unresolved(obj), references_known=False)
        await self._finisher.finish(obj, stored.raw, report)

    def is_compared(self, stored: StoredObject) -> bool:
        """Return whether each resync must compare the object itself; False if its policies show all."""
        obj = self._parsed(stored)
        return obj.is_deleting or not was_ready(obj) or not self._kind.depends_on_policies_alone(obj)

    async def differs(self, stored: StoredObject, *, max_age: float) -> bool:
        """Return whether a read at most `max_age` seconds old shows something for a reconcile to do."""
        obj = self._parsed(stored)
        if obj.is_deleting or not was_ready(obj):
            return True
        resolved = self._resolve(obj)
        if isinstance(resolved, Blocked):
            return True
        allowed, want = resolved
        seen = await self._kind.observe(want, max_age)
        if self._plan(want, seen).steps or not status_agrees(obj, self._kind.summarize(want, seen)):
            return True
        return await self._grants_differ(obj, allowed, want, max_age)

    async def _grants_differ(self, obj: Obj, allowed: Allowed, want: Want, max_age: float) -> bool:
        """Return whether the guardrails now admit other grants than are registered: a role may have grown."""
        if self._grants is None or not isinstance(obj, ProjectScopedResource):
            return False
        store = self._deps.store
        requested = self._grants.requested_grants(want, store)
        namespace, project = obj.metadata.namespace, allowed.project
        resolved = await self._deps.resolver.resolve(
            requested, namespace, project, store, max_age, owner=ledger_owner(obj)
        )
        return resolved.desired != self._deps.syncers.desired_grants_of(ledger_owner(obj))

    async def _reconcile(self, obj: Obj, max_age: float) -> Report | None:
        """Reconcile as far as the preconditions allow; None if there is nothing to report until a wake-up."""
        resolved = self._resolve(obj)
        if isinstance(resolved, Blocked):
            if isinstance(obj, ProjectScopedResource):
                self._deps.syncers.retain_all(ledger_owner(obj))
                await release_over(self._deps, obj)
            return None if resolved.transient else self._report_of_block(obj, resolved)
        allowed, want = resolved
        try:
            seen = await self._observe(want, max_age)
            progress = await self._carry_out(obj, allowed, want, seen)
        except GoogleError as error:
            if isinstance(obj, ProjectScopedResource):
                self._deps.syncers.retain(ledger_owner(obj))
                await release_over(self._deps, obj)
            project_ids = {allowed.project.status.project_number or "": allowed.project_id}
            outcome = outcome_of(error, what(obj), project_ids)
            return Report(outcome, unresolved=nothing_unresolved(obj), project_id=allowed.project_id)
        return await self._with_grants(obj, allowed, want, progress, max_age)

    def _report_of_block(self, obj: Obj, blocked: Blocked) -> Report:
        resolved = nothing_unresolved(obj)
        outcome, others = with_remedy(blocked.outcome, blocked.others)
        unresolved = resolved if resolved is None else blocked.unresolved
        is_denied_as_a_whole = isinstance(blocked.outcome, Refused) and not is_ledger_invalid(blocked.outcome)
        retained = self._retained(obj) if is_denied_as_a_whole else ()
        return Report(outcome, issues=(*other_issues(others), *retained), unresolved=unresolved)

    def _retained(self, obj: Obj, resolved: ResolvedGrants | None = None) -> tuple[str, ...]:
        """Return what remains for an object that is refused, or some of its grants, as issues."""
        if not isinstance(obj, ProjectScopedResource):
            return ()
        if resolved and not any(isinstance(each.outcome, Refused) for each in resolved.failures):
            return ()
        desired = {each.grant for each in resolved.desired} if resolved else set()
        held = self._deps.syncers.held_by(ledger_owner(obj))
        return retained_issues(obj, held, self._deps.store, desired)

    def _resolve(self, obj: Obj) -> tuple[Allowed, Want] | Blocked:
        store = self._deps.store
        allowed = check_preconditions(obj, store)
        if isinstance(allowed, Blocked):
            return allowed
        want = self._kind.resolve(obj, allowed, store)
        return want if isinstance(want, Blocked) else (allowed, want)

    async def _observe(self, want: Want, max_age: float) -> Seen:
        seen = await self._kind.observe(want, max_age)
        if max_age > 0 and self._plan(want, seen).steps:  # an old read is a reason to look, not to act
            return await self._kind.observe(want, 0.0)
        return seen

    def _plan(self, want: Want, seen: Seen) -> Plan[A]:
        return self._resource.plan(want, seen, self._deps.wall_clock()) if self._resource else Plan()

    async def _carry_out(self, obj: Obj, allowed: Allowed, want: Want, seen: Seen) -> Progress[Seen]:
        """Execute the plan, or only report it where the executor does not act on the object."""
        if self._resource is None:
            return Progress(seen, InSync())
        if not self._executor.acts_on(obj, allowed):
            return Progress.forecast(self._plan(want, seen), seen)
        release = partial(self._finalizer.release, obj)
        return await carry_out(
            self._resource, self._executor, obj, want, seen, release=release, now=self._deps.wall_clock
        )

    async def _with_grants(
        self, obj: Obj, allowed: Allowed, want: Want, progress: Progress[Seen], max_age: float
    ) -> Report:
        acts = self._executor.acts_on(obj, allowed)
        resolved, synced = ResolvedGrants(), GrantSyncResult()
        refusals: tuple[Outcome, ...] = ()
        takes_part = is_settled(progress.outcome) and not progress.retains_grants
        if self._grants is not None and isinstance(obj, ProjectScopedResource):
            requested = self._grants.requested_grants(want, self._deps.store)
            if takes_part:
                resolved, synced = await self._sync_grants(obj, allowed, requested, max_age)
            else:
                self._retain_with(obj, requested if isinstance(progress.outcome, Waiting) else ())
                await release_over(self._deps, obj)
                if is_denied(progress.outcome):
                    refusals = await self._refused_grants(obj, allowed, requested, max_age)
        elif isinstance(obj, ProjectScopedResource):  # the policy engine releases nothing until each declared
            self._deps.syncers.declare(DesiredGrants(ledger_owner(obj)))
        grants, outcomes = grant_statuses(resolved, synced, observe=not acts, causes=self._deps.causes)
        difference = None
        if not synced.faults:
            remaining = progress.left if takes_part and acts else progress.differences
            difference = difference_of(remaining, grants, synced.unmanaged)
        outcome, left_out = with_remedy(
            gravest(progress.outcome, *outcomes), [progress.outcome, *outcomes, *refusals]
        )
        summary = self._kind.summarize(want, progress.seen)
        late = over_before_granted(resolved.ended)
        drift = drift_of(obj, progress.differences, synced, observe=not acts)
        return Report(
            outcome=with_ended(outcome, grants, is_empty=self._resource is None),
            difference=difference,
            unresolved=_unresolved(obj, resolved),
            project_id=allowed.project_id,
            summary=summary,
            grants=grants if takes_part else None,
            drift=drift,
            attributions=attributions_of(self._deps.causes, progress.differences, progress.resource, synced)
            if drift
            else {},
            issues=(*other_issues(left_out), *self._retained(obj, resolved), *late.values(), *summary.issues),
            notices=late,
            others=tuple(outcomes),
        )

    async def _sync_grants(
        self,
        obj: ProjectScopedResource,
        allowed: Allowed,
        requested: tuple[RequestedGrant, ...],
        max_age: float,
    ) -> tuple[ResolvedGrants, GrantSyncResult]:
        deps = self._deps
        acts = self._executor.acts_on(obj, allowed)
        resolved = await deps.resolver.resolve(
            requested, obj.metadata.namespace, allowed.project, deps.store, max_age, owner=ledger_owner(obj)
        )
        claims = self._releaser.claims_of(obj)
        deps.syncers.declare(desired_grants_of(obj, requested, resolved, writable=acts, claims=claims))
        entering = unrecorded(obj, resolved.desired, deps.store) if acts else ()
        synced = await deps.syncers.sync(ledger_owner(obj), max_age=max_age)
        if unmanaged := recorded_as_unmanaged(entering, deps.store):
            deps.event_reporter.warn(obj, NOT_RECORDED, unmanaged)
        if synced.made_by_others:
            deps.event_reporter.warn(obj, NOT_RECORDED, made_by_others(synced.made_by_others))
        return resolved, synced

    async def _refused_grants(
        self,
        obj: ProjectScopedResource,
        allowed: Allowed,
        requested: tuple[RequestedGrant, ...],
        max_age: float,
    ) -> tuple[Outcome, ...]:
        """Return the refusals of grants, to report them together with a refusal of the resource."""
        expected = [replace(each, member=expected_member(each.member)) for each in requested]
        resolved = await self._deps.resolver.resolve(
            expected,
            obj.metadata.namespace,
            allowed.project,
            self._deps.store,
            max_age,
            owner=ledger_owner(obj),
        )
        return tuple(each.outcome for each in resolved.failures if is_denied(each.outcome))

    def _retain_with(self, obj: ReconciledResource, requested: Iterable[RequestedGrant]) -> None:
        """Retain what the object holds, and announce the targets on which it will request more."""
        upcoming = frozenset(each.target for each in requested if isinstance(each.target, Target))
        self._deps.syncers.declare(
            DesiredGrants(ledger_owner(obj), retains=(RETAIN_ALL,), writable=False, upcoming=upcoming)
        )

    async def _with_finalizer(self, raw: Object) -> tuple[Object, Obj] | None:
        """Add the finalizer; return the object as the store has it then, or None if it was deleted.

        The reply is released: thousands of reconciles may wait for the sync of a policy at the same time.
        """
        reply = await self._deps.kube.add_finalizer(raw)
        if reply is None:
            return None
        self._deps.store.absorb(reply)
        stored = self._deps.store.stored(ObjectKey.of_raw(reply))
        version = reply["metadata"].get("resourceVersion")
        if stored and stored.obj and stored.raw["metadata"].get("resourceVersion") == version:
            return stored.raw, self._parsed(stored)
        return reply, self._kind.kind.model_validate(reply)

    def _parsed(self, stored: StoredObject) -> Obj:
        return self._of_kind(stored.obj)

    def _of_kind(self, obj: ReconciledResource | None) -> Obj:
        if not isinstance(obj, self._kind.kind):
            raise TypeError(f"{type(obj).__name__} is not a {self._kind.kind.__name__}")
        return obj


def _unresolved(obj: ReconciledResource, resolved: ResolvedGrants) -> str | None:
    if not isinstance(obj, ProjectScopedResource):
        return None
    return "; ".join(
        dict.fromkeys(
            each.outcome.message
            for each in resolved.failures
            if each.unresolved and not isinstance(each.outcome, InSync)
        )
    )
