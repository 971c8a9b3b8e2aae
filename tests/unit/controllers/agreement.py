"""Check that Manage does what Observe and the dry run report: all three have one plan."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cloudrun_identity.api import Reason
from cloudrun_identity.plan.dry_run_executor import DryRunExecutor
from cloudrun_identity.reconcile.events import EventReporter
from cloudrun_identity.reconcile.executor import CloudExecutor, Executor
from cloudrun_identity.reconcile.interfaces import Executed, ExternalResource
from cloudrun_identity.reconcile.outcomes import Outcome, Paused
from cloudrun_identity.reconcile.progress import Progress, carry_out
from cloudrun_identity.reconcile.steps import Action, Plan
from tests.unit.controllers.carry_out import Recorder, Releases

AnyResource = ExternalResource[Any, Any, Any, Any]
Scene = Callable[[], Awaitable[tuple[AnyResource, Any]]]
"""Returns a kind on new fakes, and what it wants."""


@dataclass(frozen=True)
class Agreement:
    """The plan of one state, and the results of Manage, Observe and the dry run."""

    plan: Plan[Any]
    """Plan of the observed state."""
    executed: tuple[Action, ...]
    """Actions that Manage executed."""
    managed: Outcome
    """Outcome of Manage."""
    observed: Outcome
    """Outcome of Observe."""
    dry_run: tuple[str, ...]
    """Changes that the dry run prints."""

    def check_exact(self) -> None:
        """Check that Manage executes the plan and nothing else, and that the dry run prints just that."""
        assert self.executed == self.plan.actions
        assert self.dry_run == tuple(changes_of(each for each in self.executed if not each.only_records))


class RecordingExecutor(CloudExecutor):
    """Executes actions and keeps them."""

    def __init__(self) -> None:
        recorder = Recorder()
        super().__init__(EventReporter(recorder, recorder))
        self.executed: list[Action] = []

    async def execute(
        self, resource: AnyResource, obj: Any, action: Any, want: Any, seen: Any
    ) -> Executed[Any]:
        self.executed.append(action)
        return await super().execute(resource, obj, action, want, seen)


async def agreement(scene: Scene, now: datetime) -> Agreement:
    """Observe, manage and dry-run the same state; fails where they disagree."""
    kind, want = await scene()
    plan = kind.plan(want, await kind.observe(want, 0.0), now)
    observed = Progress.forecast(plan, None)
    executor = RecordingExecutor()
    managed = await _carried_out(scene, executor, now)
    dry_run = DryRunExecutor()
    await _carried_out(scene, dry_run, now)

    actions = list(plan.actions)
    assert executor.executed[: len(actions)] == actions
    assert managed.differences == observed.differences
    reported, printed = changes_of(actions), tuple(step.text for step in dry_run.steps)
    expected = changes_of(action for action in actions if not action.only_records)
    assert list(printed[: len(expected)]) == expected
    if reported:
        assert observed.outcome == Paused(Reason.DRIFT_DETECTED, "; ".join(reported))
    else:
        assert observed.outcome == plan.outcome
    if not actions:
        assert executor.executed == []
        assert printed == ()
        assert managed.outcome == observed.outcome
    return Agreement(plan, tuple(executor.executed), managed.outcome, observed.outcome, printed)


def changes_of(actions: Iterable[Action]) -> list[str]:
    """Return the changes of actions as texts."""
    return [str(change) for action in actions for change in action.changes]


async def _carried_out(scene: Scene, executor: Executor, now: datetime) -> Progress[Any]:
    kind, want = await scene()
    seen = await kind.observe(want, 0.0)
    return await carry_out(kind, executor, want.obj, want, seen, release=Releases(), now=lambda: now)
