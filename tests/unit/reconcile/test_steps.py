"""The properties of a plan: what it executes, what it leaves, and how its reconcile ends."""

from dataclasses import dataclass
from itertools import chain, permutations, takewhile
from typing import ClassVar

import pytest

from cloudrun_identity.api import Reason
from cloudrun_identity.reconcile.outcomes import Failing, InSync, Outcome, Paused, Refused, Waiting
from cloudrun_identity.reconcile.steps import (
    Action,
    Change,
    Fail,
    Leave,
    NoAction,
    Plan,
    Refuse,
    ReleaseGrants,
    Wait,
)


@dataclass(frozen=True, slots=True)
class Update(Action):
    """Write one field."""

    verb: ClassVar[str] = "update"


TITLE, LABEL, KEY, OWNER, STAGE = (
    Change(field, "old", "new") for field in ("title", "label", "key", "owner", "stage")
)
UPDATE_TITLE, UPDATE_LABEL = Update("//x/1", (TITLE,)), Update("//x/1", (LABEL,))
RECORD = Update("//x/1")
"""An action on the operator's own records, without a difference in Google Cloud."""
RELEASE = ReleaseGrants("//x/1")
WAIT = Wait(Reason.UPDATING, "an operation is running", 5.0, (KEY,))
REFUSE = Refuse(Reason.CONFLICT, "the resource exists", (OWNER,))
FAIL = Fail(Failing(Reason.QUOTA_EXCEEDED, "no quota", 7.0), (KEY,))
LEAVE = Leave("the stage is left as it is", (STAGE,))
LEAVE_ALL = Leave("the account is deleted", (STAGE,), retains_grants=True)

IN_SYNC = InSync()
WAITING = Waiting(Reason.UPDATING, "an operation is running", 5.0)
REFUSED = Refused(Reason.CONFLICT, "the resource exists")
LEFT = Paused(Reason.DRIFT_DETECTED, "the stage is left as it is")

Step = Update | ReleaseGrants | NoAction
Steps = tuple[Step, ...]


def drift(*changes: Change) -> Paused:
    """Return the forecast of changes that Manage would make."""
    return Paused(Reason.DRIFT_DETECTED, "; ".join(map(str, changes)))


@dataclass(frozen=True)
class Expected:
    """Properties of a plan."""

    actions: Steps = ()
    left: tuple[Change, ...] = ()
    outcome: Outcome = IN_SYNC
    forecast: Outcome | None = None
    """None if it equals `outcome`."""
    retains_grants: bool = False


PLANS: dict[str, tuple[Steps, Expected]] = {
    "nothing": ((), Expected()),
    "one action": ((UPDATE_TITLE,), Expected((UPDATE_TITLE,), forecast=drift(TITLE))),
    "two actions": (
        (UPDATE_TITLE, UPDATE_LABEL),
        Expected((UPDATE_TITLE, UPDATE_LABEL), forecast=drift(TITLE, LABEL)),
    ),
    "an action on records": ((RECORD,), Expected((RECORD,))),
    "a release": ((RELEASE,), Expected((RELEASE,))),
    "a release, an action": (
        (RELEASE, UPDATE_TITLE),
        Expected((RELEASE, UPDATE_TITLE), forecast=drift(TITLE)),
    ),
    "a wait": ((WAIT,), Expected((), (KEY,), WAITING)),
    "a refusal": ((REFUSE,), Expected((), (OWNER,), REFUSED)),
    "a failure": ((FAIL,), Expected((), (KEY,), FAIL.failure)),
    "a difference that is left": ((LEAVE,), Expected((), (STAGE,), LEFT)),
    "a lost resource that is left": (
        (LEAVE_ALL,),
        Expected((), (STAGE,), Paused(Reason.DRIFT_DETECTED, LEAVE_ALL.message), retains_grants=True),
    ),
    "an action, a wait": (
        (UPDATE_TITLE, WAIT),
        Expected((UPDATE_TITLE,), (KEY,), WAITING, drift(TITLE)),
    ),
    "a wait, an action": ((WAIT, UPDATE_TITLE), Expected((), (KEY, TITLE), WAITING)),
    "an action, a refusal, an action": (
        (UPDATE_TITLE, REFUSE, UPDATE_LABEL),
        Expected((UPDATE_TITLE,), (OWNER, LABEL), REFUSED, drift(TITLE)),
    ),
    "a failure, an action": ((FAIL, UPDATE_TITLE), Expected((), (KEY, TITLE), FAIL.failure)),
    "an action on records, a refusal": ((RECORD, REFUSE), Expected((RECORD,), (OWNER,), REFUSED)),
    "a left difference, an action": (
        (LEAVE, UPDATE_TITLE),
        Expected((UPDATE_TITLE,), (STAGE,), LEFT, drift(TITLE)),
    ),
    "an action, a left difference": (
        (UPDATE_TITLE, LEAVE),
        Expected((UPDATE_TITLE,), (STAGE,), LEFT, drift(TITLE)),
    ),
    "a left difference, a refusal": ((LEAVE, REFUSE), Expected((), (STAGE, OWNER), REFUSED)),
    "a refusal, a left difference": ((REFUSE, LEAVE), Expected((), (OWNER, STAGE), REFUSED)),
    "a left difference, a wait, an action": (
        (LEAVE, WAIT, UPDATE_TITLE),
        Expected((), (STAGE, KEY, TITLE), WAITING),
    ),
    "a wait, a lost resource that is left": (
        (WAIT, LEAVE_ALL),
        Expected((), (KEY, STAGE), WAITING, retains_grants=True),
    ),
}


@pytest.mark.parametrize(("steps", "expected"), PLANS.values(), ids=PLANS)
def test_properties_of_a_plan(steps: Steps, expected: Expected) -> None:
    plan: Plan[Update] = Plan(steps)
    forecast = expected.outcome if expected.forecast is None else expected.forecast
    assert plan.actions == expected.actions
    assert plan.left == expected.left
    assert plan.outcome == expected.outcome
    assert plan.forecast == forecast
    assert plan.retains_grants is expected.retains_grants


STEPS: Steps = (UPDATE_TITLE, UPDATE_LABEL, RELEASE, WAIT, REFUSE, FAIL, LEAVE, LEAVE_ALL)
ORDERS = tuple(chain.from_iterable(permutations(STEPS, length) for length in range(5)))
"""Every order of up to four steps."""


def test_actions_end_at_the_first_step_that_blocks() -> None:
    for steps in ORDERS:
        executable = takewhile(lambda each: not isinstance(each, Wait | Refuse | Fail), steps)
        assert Plan(steps).actions == tuple(each for each in executable if isinstance(each, Action)), steps


def test_every_change_is_executed_or_left() -> None:
    for steps in ORDERS:
        plan: Plan[Update] = Plan(steps)
        executed = [change for action in plan.actions for change in action.changes]
        assert sorted(map(str, (*executed, *plan.left))) == sorted(map(str, plan.changes)), steps


def test_outcome_is_that_of_the_first_step_that_stops_the_plan() -> None:
    for steps in ORDERS:
        idle = [each for each in steps if not isinstance(each, Action)]
        outcomes = [each.outcome for each in sorted(idle, key=lambda each: isinstance(each, Leave))]
        assert Plan(steps).outcome == (outcomes[0] if outcomes else InSync()), steps


def test_forecast_is_the_changes_of_the_actions_or_the_outcome() -> None:
    for steps in ORDERS:
        plan: Plan[Update] = Plan(steps)
        changes = [change for action in plan.actions for change in action.changes]
        assert plan.forecast == (drift(*changes) if changes else plan.outcome), steps


def test_any_step_that_retains_grants_decides_for_the_plan() -> None:
    for steps in ORDERS:
        assert Plan(steps).retains_grants is (LEAVE_ALL in steps), steps


def test_plan_in_sync_is_due_when_time_brings_the_next_step() -> None:
    assert Plan(due=60.0).outcome == InSync(60.0)
    assert Plan((RECORD,), due=60.0).outcome == InSync(60.0)
    assert Plan((WAIT,), due=60.0).outcome == WAITING


def test_equal_steps_are_all_executed() -> None:
    plan = Plan((UPDATE_TITLE, UPDATE_TITLE))
    assert plan.actions == (UPDATE_TITLE, UPDATE_TITLE)
    assert plan.left == ()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (Change("disabled", "true", "false"), "disabled: true → false"),
        (Change("title", "", "Runner"), "title: unset → Runner"),
        (Change("title", "Runner", ""), "title: Runner → unset"),
    ],
)
def test_text_of_a_change_shows_empty_values_as_unset(change: Change, text: str) -> None:
    assert str(change) == text
