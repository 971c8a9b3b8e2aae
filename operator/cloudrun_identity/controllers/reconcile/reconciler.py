"""One reconcile for every kind: gate → observe → diff → apply → grants → status.

`Reconciler.reconcile(key)` is level-triggered and idempotent: it may be called at any time, after any crash,
and does what is left to do. It answers when to look again.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from cloudrun_identity.api import FINALIZER, ProjectScopedResource, Reason, ReconciledResource
from cloudrun_identity.controllers.gate import Passed, Stopped, pass_gate
from cloudrun_identity.controllers.grants.wishes import Wish, Wishes, declaration
from cloudrun_identity.controllers.outcomes import Failing, InSync, Waiting, gravest, outcome_of
from cloudrun_identity.controllers.world import Key, claimant
from cloudrun_identity.gcp.clients import request_reason
from cloudrun_identity.gcp.errors import GoogleError
from cloudrun_identity.gcp.policy_engine.lanes import Convergence
from cloudrun_identity.iam.claims import HOLD_EVERYTHING, Claimant, Declaration
from cloudrun_identity.iam.grants import Target

from .conclusion import Conclusion
from .controller import Applied, Change, Controller
from .custody import NOT_RECORDED, taken_for_foreign, unrecorded
from .drift import drift_of, was_ready
from .finalization import Finalization
from .following import Next, Rest
from .report import (
    Report,
    difference_of,
    is_settled,
    is_told,
    nothing_unresolved,
    observed,
    other_issues,
    what,
)
from .tools import Tools
from .unreadable import UnreadableObjects
from .verdicts import judged


class Reconciler:
    """Drives the controllers of all kinds."""

    def __init__(self, controllers: Mapping[str, Controller[Any, Any, Any]], tools: Tools) -> None:
        self._controllers = controllers
        self._tools = tools
        self._conclusion = Conclusion(tools)
        self._finalization = Finalization(tools, self._conclusion)
        self._unreadable = UnreadableObjects(tools, self._conclusion)

    async def reconcile(self, key: Key, *, max_age: float) -> tuple[Next, str]:
        """Do what is left to do for one object; answers when to look again, and how it ended in one word.

        `max_age` is how old, in seconds, what is read may be before it gives a reason to act; 0 for an edit.
        """
        raw = self._tools.store.raw(key)
        if raw is None:  # with its finalizer taken away by others, or we had forgotten it already
            self._tools.lanes.forget(Claimant(key.kind, key.namespace, key.name, uid=""))
            self._conclusion.forget(key)
            return Rest(), "gone"
        controller = self._controllers[key.kind]
        try:
            obj = controller.kind.model_validate(raw)
        except ValidationError as error:
            return await self._unreadable.reconcile(key, raw, error)
        request_reason.set(f"{key.namespace}/{key.name}@{obj.metadata.generation}".lstrip("/"))
        if obj.is_deleting:
            return await self._finalization.finalize(controller, obj, raw)
        if FINALIZER not in obj.metadata.finalizers:
            finalized = await self._tools.kube.add_finalizer(raw)
            if finalized is None:
                return self._conclusion.gone(obj, raw)
            self._tools.store.absorb(finalized)
            raw, obj = finalized, controller.kind.model_validate(finalized)
        report = await self._pass(controller, obj, max_age)
        if report is None:
            return Rest(), "waiting"
        return await self._conclusion.conclude(obj, raw, report)

    def hold(self, key: Key) -> None:
        """Have an object that cannot be worked on keep what it holds, and hold up nobody else's releases."""
        raw = self._tools.store.raw(key)
        if raw is not None and key.namespace:
            uid = raw["metadata"]["uid"]
            self._tools.lanes.hold(Claimant(key.kind, key.namespace, key.name, uid))

    async def fail(self, key: Key, message: str) -> None:
        """Let the object's status say that a pass over it failed for no reason of its own."""
        raw = self._tools.store.raw(key)
        if raw is not None:
            obj = self._controllers[key.kind].kind.model_validate(raw)
            outcome = Failing(Reason.INTERNAL_ERROR, message, observed=False)
            report = Report(outcome, unresolved=nothing_unresolved(obj), references_known=False)
            await self._conclusion.conclude(obj, raw, report)

    async def differs(self, key: Key, *, max_age: float) -> bool:
        """Whether a read at most `max_age` seconds old shows what a pass would have to change."""
        raw = self._tools.store.raw(key)
        if raw is None:
            return False
        controller = self._controllers[key.kind]
        try:
            obj = controller.kind.model_validate(raw)
        except ValidationError:
            return True  # the pass says what is wrong with it
        if obj.is_deleting or not was_ready(obj):
            return True
        gate = pass_gate(obj, self._tools.store)
        want = controller.desired(obj, gate, self._tools.store) if isinstance(gate, Passed) else gate
        if isinstance(want, Stopped):
            return True
        seen = await controller.observe(want, max_age)
        if controller.diff(want, seen) or not is_told(obj, controller.summarize(want, seen)):
            return True
        return isinstance(gate, Passed) and await self._is_judged_otherwise(
            controller, obj, gate, want, max_age
        )

    async def _is_judged_otherwise(
        self,
        controller: Controller[Any, Any, Any],
        obj: ReconciledResource,
        gate: Passed,
        want: Any,
        max_age: float,
    ) -> bool:
        """Whether the guardrails admit other grants than are declared to the lanes: a role may have grown."""
        if not isinstance(obj, ProjectScopedResource):
            return False
        listed = controller.wishes(want, self._tools.store)
        namespace = obj.metadata.namespace
        wishes = await self._tools.judge.judge(listed, namespace, gate.project, self._tools.store, max_age)
        return wishes.claims != self._tools.lanes.claims_of(claimant(obj))

    async def _pass(
        self, controller: Controller[Any, Any, Any], obj: ReconciledResource, max_age: float
    ) -> Report | None:
        """One pass, as far as it may go; None if there is nothing to tell until the object is woken again."""
        gate = pass_gate(obj, self._tools.store)
        want = controller.desired(obj, gate, self._tools.store) if isinstance(gate, Passed) else gate
        if isinstance(gate, Stopped) or isinstance(want, Stopped):
            if isinstance(obj, ProjectScopedResource):
                self._tools.lanes.freeze(claimant(obj))
            stop = gate if isinstance(gate, Stopped) else want
            return None if stop.fleeting else _report_of_stop(obj, stop)
        try:
            seen, changes = await self._look(controller, want, max_age)
            if gate.observe:
                applied = Applied(observed(changes), seen)
            else:
                applied = await controller.apply(want, seen, changes)
        except GoogleError as error:
            if isinstance(obj, ProjectScopedResource):
                self._tools.lanes.hold(claimant(obj))
            outcome = outcome_of(error, what(obj))
            return Report(outcome, unresolved=nothing_unresolved(obj), project_id=gate.project_id)
        return await self._with_grants(controller, obj, gate, want, applied, changes, max_age)

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
        gate: Passed,
        want: Any,
        applied: Applied[Any],
        changes: tuple[Change, ...],
        max_age: float,
    ) -> Report:
        wishes, convergence = Wishes(), Convergence()
        if isinstance(obj, ProjectScopedResource):
            listed = controller.wishes(want, self._tools.store)
            if is_settled(applied.outcome) and not applied.holds:
                wishes, convergence = await self._converge(obj, gate, listed, max_age)
            else:
                self._wait_with(obj, listed if isinstance(applied.outcome, Waiting) else ())
        grants, outcomes = judged(wishes, convergence, observe=gate.observe)
        difference = None
        if not convergence.faults:
            is_done = is_settled(applied.outcome) and not applied.holds and not gate.observe
            unapplied = applied.left if is_done else changes
            difference = difference_of(unapplied, grants, convergence.intruders)
        outcome = gravest(applied.outcome, *outcomes)
        summary = controller.summarize(want, applied.seen)
        return Report(
            outcome=outcome,
            difference=difference,
            unresolved=_unresolved(obj, wishes),
            project_id=gate.project_id,
            summary=summary,
            grants=grants if is_settled(applied.outcome) and not applied.holds else None,
            drift=drift_of(obj, changes, convergence, observe=gate.observe),
            issues=other_issues([applied.outcome, *outcomes], outcome) + summary.issues,
            others=tuple(outcomes),
        )

    async def _converge(
        self, obj: ProjectScopedResource, gate: Passed, listed: tuple[Wish, ...], max_age: float
    ) -> tuple[Wishes, Convergence]:
        wishes = await self._tools.judge.judge(
            listed, obj.metadata.namespace, gate.project, self._tools.store, max_age
        )
        self._tools.lanes.declare(declaration(obj, listed, wishes, writable=not gate.observe))
        entering = () if gate.observe else unrecorded(obj, wishes.claims, self._tools.store)
        async with self._tools.parked():
            convergence = await self._tools.lanes.converge(claimant(obj), max_age=max_age)
        if foreign := taken_for_foreign(entering, self._tools.store):
            self._tools.announcer.warn(obj, NOT_RECORDED, foreign)
        return wishes, convergence

    def _wait_with(self, obj: ReconciledResource, listed: tuple[Wish, ...]) -> None:
        """Keep what is held, and tell the lanes that there is more to come."""
        self._tools.lanes.declare(
            Declaration(
                claimant(obj),
                holds=(HOLD_EVERYTHING,),
                writable=False,
                soon=frozenset(wish.target for wish in listed if isinstance(wish.target, Target)),
            )
        )


def _report_of_stop(obj: ReconciledResource, stop: Stopped) -> Report:
    resolved = nothing_unresolved(obj)
    return Report(stop.outcome, unresolved=resolved if resolved is None else stop.unresolved)


def _unresolved(obj: ReconciledResource, wishes: Wishes) -> str | None:
    if not isinstance(obj, ProjectScopedResource):
        return None
    return "; ".join(
        dict.fromkeys(
            each.outcome.message
            for each in wishes.obstacles
            if each.unresolved and not isinstance(each.outcome, InSync)
        )
    )
