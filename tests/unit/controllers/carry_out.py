"""Carry out the plan of a kind as the reconciler does, without an API server."""

from datetime import UTC, datetime
from typing import Any

from cloudrun_identity.kube.event_recorder import EventType
from cloudrun_identity.reconcile.events import EventReporter
from cloudrun_identity.reconcile.executor import CloudExecutor
from cloudrun_identity.reconcile.interfaces import ExternalResource
from cloudrun_identity.reconcile.outcomes import InSync, Outcome
from cloudrun_identity.reconcile.progress import Progress, carry_out
from cloudrun_identity.reconcile.steps import Action, NoAction, Plan

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Recorder:
    """Records Events, and ignores counts of drift."""

    def __init__(self) -> None:
        self.types: list[EventType] = []
        self.reasons: list[str] = []
        self.messages: list[str] = []

    def record(self, obj: object, event_type: EventType, reason: str, message: str) -> None:
        self.types.append(event_type)
        self.reasons.append(reason)
        self.messages.append(message)

    def drift_detected(self, kind: str, count: int = 1) -> None:
        pass

    def drift_repaired(self, kind: str, count: int = 1) -> None:
        pass


class Releases:
    """Release of grants with the outcome that a test sets. Records whether it abandons them."""

    def __init__(self, outcome: Outcome | None = None) -> None:
        self.outcome = outcome or InSync()
        self.abandoned: list[bool] = []
        self.ends: list[str] = []

    async def __call__(self, *, abandon: bool, ends: str = "") -> Outcome:
        self.abandoned.append(abandon)
        self.ends.append(ends)
        return self.outcome


async def carried_out(
    resource: ExternalResource[Any, Any, Any, Any],
    want: Any,
    *,
    now: datetime = NOON,
    max_age: float = 0.0,
    recorder: Recorder | None = None,
    release: Releases | None = None,
) -> Progress[Any]:
    """Observe, plan and execute for the object of `want`; return the progress."""
    recorder = recorder or Recorder()
    executor = CloudExecutor(EventReporter(recorder, recorder))
    seen = await resource.observe(want, max_age)
    return await carry_out(
        resource, executor, want.obj, want, seen, release=release or Releases(), now=lambda: now
    )


def step_texts(plan: Plan[Any]) -> list[str]:
    """Return the steps of a plan as text: `UpdateRole title: a → b`, `Refuse Conflict`."""
    return [_step_text(step) for step in plan.steps]


def _step_text(step: Action | NoAction) -> str:
    text = type(step).__name__
    if not isinstance(step, Action):
        text += f" {getattr(step.outcome, 'reason', '')}"
    changes = ", ".join(map(str, step.changes))
    return f"{text} {changes}" if changes else text
