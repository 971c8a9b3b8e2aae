"""Carry out a plan: execute its actions one at a time, and plan again after each."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol

from .executor import Executor
from .interfaces import A, ExternalResource, Obj, Seen, Want
from .outcomes import InSync, Outcome
from .steps import Change, Plan, ReleaseGrants

MAX_ACTIONS = 64
"""Actions of one reconcile, beyond which a plan does not come to rest: a bug of its kind."""


@dataclass(frozen=True, slots=True)
class Progress(Generic[Seen]):
    """Result of carrying out the plan of an object."""

    seen: Seen
    """State of the resource as far as it is known now."""
    outcome: Outcome
    """Outcome of the reconcile, as far as the resource decides it."""
    differences: tuple[Change, ...] = ()
    """Differences that were found, whether or not they still exist."""
    left: tuple[Change, ...] = ()
    """Differences that still exist."""
    retains_grants: bool = False
    """True if the object's grants stay as they are."""
    resource: str = ""
    """Full name of the resource with the differences; empty without any."""

    @classmethod
    def forecast(cls, plan: Plan[A], seen: Seen) -> "Progress[Seen]":
        """Return the progress of a plan that is only reported."""
        return cls(
            seen, plan.forecast, plan.changes, plan.changes, plan.retains_grants, _changed_resource(plan)
        )


class Release(Protocol):
    """Releases every grant of the object; InSync once it holds none."""

    async def __call__(self, *, abandon: bool, ends: str = "") -> Outcome:
        """Release the grants, or leave them with `abandon`. The account of the member `ends` ends."""
        ...


async def carry_out(
    resource: ExternalResource[Obj, Want, Seen, A],
    executor: Executor,
    obj: Obj,
    want: Want,
    seen: Seen,
    *,
    release: Release,
    now: Callable[[], datetime],
) -> Progress[Seen]:
    """Execute the plan of an object until a step waits, refuses or fails, or nothing differs.

    Raises GoogleError.
    """
    plan = resource.plan(want, seen, now())
    found, released, resource_name = plan.changes, False, _changed_resource(plan)
    for _ in range(MAX_ACTIONS):
        action = next(
            (each for each in plan.actions if not (released and isinstance(each, ReleaseGrants))), None
        )
        if action is None:
            return Progress(seen, plan.outcome, found, plan.left, plan.retains_grants, resource_name)
        if isinstance(action, ReleaseGrants):
            outcome = await release(abandon=action.abandon, ends=action.ends)
            if not isinstance(outcome, InSync):
                return Progress(seen, outcome, found, plan.changes)
            released = True
            continue
        executed = await executor.execute(resource, obj, action, want, seen)
        seen = executed.seen
        plan = resource.plan(want, seen, now())
        if executed.outcome is not None:
            return Progress(seen, executed.outcome, found, plan.changes, plan.retains_grants, resource_name)
    raise AssertionError(f"the plan of {obj.kind} {obj.metadata.name} does not come to rest")


def _changed_resource(plan: Plan[A]) -> str:
    return plan.resource or next((action.resource for action in plan.actions if action.changes), "")
