"""One reconcile for every kind: gate → observe → diff → apply → grants → status.

`Reconciler.reconcile(key)` is level-triggered and idempotent: it may be called at any time, after any crash,
and does what is left to do. It answers when to look again.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from cloudrun_identity.api import FINALIZER, ProjectScopedResource, Reason, ReconciledResource
from cloudrun_identity.gcp.clients import request_reason
from cloudrun_identity.gcp.errors import GoogleError
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.desired_grants import RETAIN_ALL, DesiredGrants
from cloudrun_identity.policy.syncers import GrantSyncResult

from .cluster_state import ObjectKey, ledger_owner
from .dependencies import Dependencies
from .drift import drift_of, was_ready
from .finalization import Finalization
from .finish import Finisher
from .grant_status import grant_statuses
from .grants.resolver import RequestedGrant, ResolvedGrants, desired_grants_of
from .interfaces import Applied, Change, Controller
from .invalid_objects import InvalidObjects
from .outcomes import Failing, InSync, Waiting, gravest, outcome_of
from .preconditions import Allowed, Blocked, check_preconditions
from .requeue import Requeue, Rest
from .status import (
    Report,
    difference_of,
    is_settled,
    is_told,
    nothing_unresolved,
    observed,
    other_issues,
    what,
)
from .unrecorded_grants import NOT_RECORDED, recorded_as_unmanaged, unrecorded


class Reconciler:
    """Drives the controllers of all kinds."""

    def __init__(self, controllers: Mapping[str, Controller[Any, Any, Any]], deps: Dependencies) -> None:
        self._controllers = controllers
        self._deps = deps
        self._finisher = Finisher(deps)
        self._finalization = Finalization(deps, self._finisher)
        self._invalid = InvalidObjects(deps, self._finisher)

    async def reconcile(self, key: ObjectKey, *, max_age: float) -> tuple[Requeue, str]:
        """Do what is left to do for one object; answers when to look again, and how it ended in one word.

        `max_age` is how old, in seconds, what is read may be before it gives a reason to act; 0 for an edit.
        """
        raw = self._deps.store.raw(key)
        if raw is None:  # with its finalizer taken away by others, or we had forgotten it already
            self._deps.syncers.forget(Owner(key.kind, key.namespace, key.name, uid=""))
            self._finisher.forget(key)
            return Rest(), "gone"
        controller = self._controllers[key.kind]
        try:
            obj = controller.kind.model_validate(raw)
        except ValidationError as error:
            return await self._invalid.reconcile(key, raw, error)
        request_reason.set(f"{key.namespace}/{key.name}@{obj.metadata.generation}".lstrip("/"))
        if obj.is_deleting:
            return await self._finalization.finalize(controller, obj, raw)
        if FINALIZER not in obj.metadata.finalizers:
            finalized = await self._deps.kube.add_finalizer(raw)
            if finalized is None:
                return self._finisher.gone(obj, raw)
            self._deps.store.absorb(finalized)
            raw, obj = finalized, controller.kind.model_validate(finalized)
        report = await self._pass(controller, obj, max_age)
        if report is None:
            return Rest(), "waiting"
        return await self._finisher.finish(obj, raw, report)

    def retain(self, key: ObjectKey) -> None:
        """Have an object that cannot be worked on keep what it holds, and hold up nobody else's releases."""
        raw = self._deps.store.raw(key)
        if raw is not None and key.namespace:
            uid = raw["metadata"]["uid"]
            self._deps.syncers.retain(Owner(key.kind, key.namespace, key.name, uid))

    async def fail(self, key: ObjectKey, message: str) -> None:
        """Let the object's status say that a pass over it failed for no reason of its own."""
        raw = self._deps.store.raw(key)
        if raw is not None:
            obj = self._controllers[key.kind].kind.model_validate(raw)
            outcome = Failing(Reason.INTERNAL_ERROR, message, observed=False)
            report = Report(outcome, unresolved=nothing_unresolved(obj), references_known=False)
            await self._finisher.finish(obj, raw, report)

    async def differs(self, key: ObjectKey, *, max_age: float) -> bool:
        """Whether a read at most `max_age` seconds old shows what a pass would have to change."""
        raw = self._deps.store.raw(key)
        if raw is None:
            return False
        controller = self._controllers[key.kind]
        try:
            obj = controller.kind.model_validate(raw)
        except ValidationError:
            return True  # the pass says what is wrong with it
        if obj.is_deleting or not was_ready(obj):
            return True
        allowed = check_preconditions(obj, self._deps.store)
        want = controller.resolve(obj, allowed, self._deps.store) if isinstance(allowed, Allowed) else allowed
        if isinstance(want, Blocked):
            return True
        seen = await controller.observe(want, max_age)
        if controller.diff(want, seen) or not is_told(obj, controller.summarize(want, seen)):
            return True
        return isinstance(allowed, Allowed) and await self._is_judged_otherwise(
            controller, obj, allowed, want, max_age
        )

    async def _is_judged_otherwise(
        self,
        controller: Controller[Any, Any, Any],
        obj: ReconciledResource,
        allowed: Allowed,
        want: Any,
        max_age: float,
    ) -> bool:
        """Whether the guardrails admit other grants than are declared to the lanes: a role may have grown."""
        if not isinstance(obj, ProjectScopedResource):
            return False
        listed = controller.requested_grants(want, self._deps.store)
        namespace = obj.metadata.namespace
        requested_grants = await self._deps.resolve_grants.resolve_grants(
            listed, namespace, allowed.project, self._deps.store, max_age
        )
        return requested_grants.desired_grants != self._deps.syncers.desired_grants_of(ledger_owner(obj))

    async def _pass(
        self, controller: Controller[Any, Any, Any], obj: ReconciledResource, max_age: float
    ) -> Report | None:
        """One pass, as far as it may go; None if there is nothing to tell until the object is woken again."""
        allowed = check_preconditions(obj, self._deps.store)
        want = controller.resolve(obj, allowed, self._deps.store) if isinstance(allowed, Allowed) else allowed
        if isinstance(allowed, Blocked) or isinstance(want, Blocked):
            if isinstance(obj, ProjectScopedResource):
                self._deps.syncers.retain_all(ledger_owner(obj))
            stop = allowed if isinstance(allowed, Blocked) else want
            return None if stop.transient else _report_of_stop(obj, stop)
        try:
            seen, changes = await self._look(controller, want, max_age)
            if allowed.observe:
                applied = Applied(observed(changes), seen)
            else:
                applied = await controller.apply(want, seen, changes)
        except GoogleError as error:
            if isinstance(obj, ProjectScopedResource):
                self._deps.syncers.retain(ledger_owner(obj))
            outcome = outcome_of(error, what(obj))
            return Report(outcome, unresolved=nothing_unresolved(obj), project_id=allowed.project_id)
        return await self._with_grants(controller, obj, allowed, want, applied, changes, max_age)

    async def _look(
        self, controller: Controller[Any, Any, Any], want: Any, max_age: float
    ) -> tuple[Any, tuple[Change, ...]]:
        seen = await controller.observe(want, max_age)
        changes = controller.diff(want, seen)
        if changes and max_age > 0:  # an old read is a reason to look, not to act
            seen = await controller.observe(want, 0.0)
            changes = controller.diff(want, seen)
        return seen, changes

    async def _with_grants(
        self,
        controller: Controller[Any, Any, Any],
        obj: ReconciledResource,
        allowed: Allowed,
        want: Any,
        applied: Applied[Any],
        changes: tuple[Change, ...],
        max_age: float,
    ) -> Report:
        requested_grants, sync_result = ResolvedGrants(), GrantSyncResult()
        if isinstance(obj, ProjectScopedResource):
            listed = controller.requested_grants(want, self._deps.store)
            if is_settled(applied.outcome) and not applied.retains:
                requested_grants, sync_result = await self._sync_grants(obj, allowed, listed, max_age)
            else:
                self._wait_with(obj, listed if isinstance(applied.outcome, Waiting) else ())
        grants, outcomes = grant_statuses(requested_grants, sync_result, observe=allowed.observe)
        difference = None
        if not sync_result.faults:
            is_done = is_settled(applied.outcome) and not applied.retains and not allowed.observe
            unapplied = applied.left if is_done else changes
            difference = difference_of(unapplied, grants, sync_result.unmanaged)
        outcome = gravest(applied.outcome, *outcomes)
        summary = controller.summarize(want, applied.seen)
        return Report(
            outcome=outcome,
            difference=difference,
            unresolved=_unresolved(obj, requested_grants),
            project_id=allowed.project_id,
            summary=summary,
            grants=grants if is_settled(applied.outcome) and not applied.retains else None,
            drift=drift_of(obj, changes, sync_result, observe=allowed.observe),
            issues=other_issues([applied.outcome, *outcomes], outcome) + summary.issues,
            others=tuple(outcomes),
        )

    async def _sync_grants(
        self, obj: ProjectScopedResource, allowed: Allowed, listed: tuple[RequestedGrant, ...], max_age: float
    ) -> tuple[ResolvedGrants, GrantSyncResult]:
        requested_grants = await self._deps.resolve_grants.resolve_grants(
            listed, obj.metadata.namespace, allowed.project, self._deps.store, max_age
        )
        self._deps.syncers.declare(
            desired_grants_of(obj, listed, requested_grants, writable=not allowed.observe)
        )
        entering = (
            () if allowed.observe else unrecorded(obj, requested_grants.desired_grants, self._deps.store)
        )
        async with self._deps.slot_released():
            sync_result = await self._deps.syncers.sync(ledger_owner(obj), max_age=max_age)
        if foreign := recorded_as_unmanaged(entering, self._deps.store):
            self._deps.event_reporter.warn(obj, NOT_RECORDED, foreign)
        return requested_grants, sync_result

    def _wait_with(self, obj: ReconciledResource, listed: tuple[RequestedGrant, ...]) -> None:
        """Keep what is held, and tell the lanes that there is more to come."""
        self._deps.syncers.declare(
            DesiredGrants(
                ledger_owner(obj),
                retains=(RETAIN_ALL,),
                writable=False,
                upcoming=frozenset(
                    requested.target for requested in listed if isinstance(requested.target, Target)
                ),
            )
        )


def _report_of_stop(obj: ReconciledResource, stop: Blocked) -> Report:
    resolved = nothing_unresolved(obj)
    return Report(stop.outcome, unresolved=resolved if resolved is None else stop.unresolved)


def _unresolved(obj: ReconciledResource, requested_grants: ResolvedGrants) -> str | None:
    if not isinstance(obj, ProjectScopedResource):
        return None
    return "; ".join(
        dict.fromkeys(
            each.outcome.message
            for each in requested_grants.failures
            if each.unresolved and not isinstance(each.outcome, InSync)
        )
    )
