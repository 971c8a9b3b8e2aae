"""Carrying out a plan: plan again after each action, and end at the first outcome."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cloudrun_identity.api import CloudRunIdentity, Reason
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.reconcile.events import EventReporter
from cloudrun_identity.reconcile.executor import CloudExecutor
from cloudrun_identity.reconcile.interfaces import Executed
from cloudrun_identity.reconcile.outcomes import InSync, Outcome, Paused, Refused, Waiting
from cloudrun_identity.reconcile.progress import MAX_ACTIONS, Progress, carry_out
from cloudrun_identity.reconcile.steps import Action, Change, Leave, NoAction, Plan, ReleaseGrants, Wait
from tests.unit.controllers.carry_out import Recorder, Releases
from tests.unit.controllers.cluster_state import identity
from tests.unit.policy.fake_policies import fault

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
RELEASING = Waiting(Reason.DELETING, "grants are being released", 1.0)
WAIT = Wait(Reason.UPDATING, "waiting for the change to propagate", 5.0)
LEAVE_ALL = Leave("the account is deleted", (Change("account", "deleted", "present"),), retains_grants=True)


@dataclass(frozen=True, slots=True)
class Clear(Action):
    """Remove one field."""

    field: str = ""


Seen = frozenset[str]
Steps = tuple[Clear | ReleaseGrants | NoAction, ...]


def clear(field: str) -> Clear:
    return Clear("//x/1", (change(field),), field=field)


def change(field: str) -> Change:
    return Change(field, "set", "")


class Fields:
    """A resource whose fields are removed in alphabetical order."""

    planned: list[tuple[Seen, datetime]]
    """Arguments of each call of `plan`."""

    executed: list[str]
    """Fields that were removed."""

    first: Steps
    """Steps before the removals."""

    last: Steps
    """Steps after the removals."""

    results: dict[str, Outcome]
    """Outcome that ends the removal of a field."""

    errors: dict[str, GoogleError]
    """Error of the removal of a field."""

    effective: bool
    """False if a removal has no effect."""

    def __init__(self, first: Steps = (), last: Steps = ()) -> None:
        self.planned = []
        self.executed = []
        self.first = first
        self.last = last
        self.results = {}
        self.errors = {}
        self.effective = True

    def plan(self, want: object, seen: Seen, now: datetime) -> Plan[Clear]:
        self.planned.append((seen, now))
        return Plan((*self.first, *map(clear, sorted(seen)), *self.last))

    async def execute(self, action: Clear, want: object, seen: Seen) -> Executed[Seen]:
        if action.field in self.errors:
            raise self.errors[action.field]
        self.executed.append(action.field)
        after = seen - {action.field} if self.effective else seen
        return Executed(after, self.results.get(action.field))


async def carried_out(
    resource: Fields,
    fields: str = "ab",
    *,
    release: Releases | None = None,
    now: Callable[[], datetime] = lambda: NOON,
) -> Progress[Seen]:
    """Carry out the plan for a resource with these fields."""
    recorder = Recorder()
    executor = CloudExecutor(EventReporter(recorder, recorder))
    obj: CloudRunIdentity = identity()
    kind: Any = resource
    progress: Progress[Seen] = await carry_out(
        kind, executor, obj, None, frozenset(fields), release=release or Releases(), now=now
    )
    return progress


async def test_plan_is_made_again_after_each_action() -> None:
    resource = Fields()
    progress = await carried_out(resource)
    assert [seen for seen, _ in resource.planned] == [{"a", "b"}, {"b"}, set()]
    assert resource.executed == ["a", "b"]
    assert progress == Progress(frozenset(), InSync(), (change("a"), change("b")), resource="//x/1")


async def test_each_plan_is_made_for_the_current_time() -> None:
    resource, times = Fields(), iter(NOON + timedelta(seconds=n) for n in range(9))
    await carried_out(resource, now=lambda: next(times))
    assert [now for _, now in resource.planned] == [NOON + timedelta(seconds=n) for n in range(3)]


async def test_empty_plan_executes_nothing() -> None:
    resource = Fields()
    assert await carried_out(resource, "") == Progress(frozenset(), InSync())
    assert resource.executed == []


async def test_actions_before_a_waiting_step_are_executed() -> None:
    resource = Fields(last=(WAIT,))
    progress = await carried_out(resource)
    assert resource.executed == ["a", "b"]
    assert progress.outcome == WAIT.outcome
    assert progress.differences == (change("a"), change("b"))
    assert progress.left == ()


async def test_actions_after_a_waiting_step_are_not_executed() -> None:
    resource = Fields(first=(WAIT,))
    progress = await carried_out(resource)
    assert resource.executed == []
    assert progress == Progress(frozenset("ab"), WAIT.outcome, *[(change("a"), change("b"))] * 2)


async def test_difference_that_is_left_is_reported_as_left() -> None:
    progress = await carried_out(Fields(last=(LEAVE_ALL,)), "a")
    assert progress.outcome == Paused(Reason.DRIFT_DETECTED, "the account is deleted")
    assert progress.differences == (change("a"), *LEAVE_ALL.changes)
    assert progress.left == LEAVE_ALL.changes
    assert progress.retains_grants


async def test_outcome_of_an_action_ends_the_reconcile() -> None:
    resource = Fields()
    resource.results["a"] = Refused(Reason.REJECTED, "no")
    progress = await carried_out(resource)
    assert resource.executed == ["a"]
    assert progress == Progress(
        frozenset("b"),
        Refused(Reason.REJECTED, "no"),
        (change("a"), change("b")),
        (change("b"),),
        resource="//x/1",
    )


async def test_outcome_of_an_action_keeps_grants_that_the_plan_retains() -> None:
    resource = Fields(last=(LEAVE_ALL,))
    resource.results["a"] = Refused(Reason.REJECTED, "no")
    assert (await carried_out(resource)).retains_grants


async def test_error_of_an_action_is_raised() -> None:
    resource = Fields()
    resource.errors["b"] = fault(Fault.PERMISSION_DENIED)
    with pytest.raises(GoogleError):
        await carried_out(resource)
    assert resource.executed == ["a"]


@pytest.mark.parametrize("abandon", [False, True])
async def test_grants_are_released_once_before_the_next_action(abandon: bool) -> None:
    resource, release = Fields(first=(ReleaseGrants("//x/1", abandon=abandon),)), Releases()
    progress = await carried_out(resource, release=release)
    assert release.abandoned == [abandon]
    assert resource.executed == ["a", "b"]
    assert progress.outcome == InSync()


async def test_actions_wait_for_an_unfinished_release() -> None:
    resource, release = Fields(first=(ReleaseGrants("//x/1"),)), Releases(RELEASING)
    progress = await carried_out(resource, release=release)
    assert resource.executed == []
    assert progress == Progress(frozenset("ab"), RELEASING, *[(change("a"), change("b"))] * 2)


async def test_release_after_an_action_follows_it() -> None:
    resource, release = Fields(last=(ReleaseGrants("//x/1"),)), Releases(RELEASING)
    progress = await carried_out(resource, release=release)
    assert resource.executed == ["a", "b"]
    assert release.abandoned == [False]
    assert progress.outcome == RELEASING


async def test_plan_that_does_not_come_to_rest_raises() -> None:
    resource = Fields()
    resource.effective = False
    with pytest.raises(AssertionError, match="plan of CloudRunIdentity checkout does not come to rest"):
        await carried_out(resource)
    assert len(resource.executed) == MAX_ACTIONS


async def test_plan_of_up_to_the_maximum_of_actions_is_carried_out() -> None:
    fields = "".join(chr(ord("a") + n) for n in range(MAX_ACTIONS - 1))
    resource = Fields()
    assert (await carried_out(resource, fields)).outcome == InSync()
    assert len(resource.executed) == MAX_ACTIONS - 1


def test_forecast_reports_the_changes_and_executes_nothing() -> None:
    plan: Plan[Clear] = Plan((clear("a"), LEAVE_ALL))
    changes = (change("a"), *LEAVE_ALL.changes)
    assert Progress.forecast(plan, frozenset("a")) == Progress(
        frozenset("a"),
        Paused(Reason.DRIFT_DETECTED, "a: set → unset"),
        changes,
        changes,
        retains_grants=True,
        resource="//x/1",
    )
