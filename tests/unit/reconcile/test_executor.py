"""Execution of an action on Google Cloud: its line in the mutation log and its Event."""

import logging
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from cloudrun_identity.api import Reason
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.kube.event_recorder import EventType
from cloudrun_identity.reconcile.events import EventReporter
from cloudrun_identity.reconcile.executor import CloudExecutor
from cloudrun_identity.reconcile.interfaces import Executed
from cloudrun_identity.reconcile.outcomes import InSync, Outcome, Refused, Waiting
from cloudrun_identity.reconcile.preconditions import Allowed
from cloudrun_identity.reconcile.steps import Action, Change, StepEvent
from tests.unit.controllers.carry_out import Recorder
from tests.unit.controllers.cluster_state import identity, project
from tests.unit.policy.fake_policies import fault

KEYS = "//iam.googleapis.com/projects/acme/serviceAccounts/a/keys"
CREATED = Change("key", "absent", "created")
ENDINGS: dict[str, Outcome] = {
    "refused": Refused(Reason.REJECTED, "no"),
    "waiting": Waiting(Reason.UPDATING, "an operation is running"),
    "in sync": InSync(),
}


@dataclass(frozen=True, slots=True)
class Create(Action):
    """Create a key."""

    verb: ClassVar[str] = "create"

    @property
    def event(self) -> StepEvent | None:
        return StepEvent("Created", "the key exists", EventType.WARNING)


@dataclass(frozen=True, slots=True)
class Rename(Action):
    """Write to Google Cloud without an Event."""

    verb: ClassVar[str] = "update"


@dataclass(frozen=True, slots=True)
class Record(Action):
    """Change only the operator's own records."""

    @property
    def event(self) -> StepEvent | None:
        return StepEvent("Recorded", "the key is recorded")


class Resource:
    """A kind whose actions have the result that a test sets."""

    def __init__(self, result: Executed[None] | GoogleError) -> None:
        self._result = result
        self.arguments: list[tuple[object, ...]] = []

    async def execute(self, action: Action, want: object, seen: object) -> Executed[None]:
        self.arguments.append((action, want, seen))
        if isinstance(self._result, GoogleError):
            raise self._result
        return self._result


class Run:
    """An executor, and what it logged and recorded."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog
        self.recorder = Recorder()
        self.executor = CloudExecutor(EventReporter(self.recorder, self.recorder))

    async def __call__(self, action: Action, result: Executed[None] | GoogleError) -> Executed[None]:
        """Execute an action with this result."""
        resource: Any = Resource(result)
        with self._caplog.at_level(logging.INFO, "cloudrun_identity.mutations"):
            executed: Executed[None] = await self.executor.execute(
                resource, identity(), action, "want", "seen"
            )
        assert resource.arguments == [(action, "want", "seen")]
        return executed

    @property
    def log(self) -> list[str]:
        return self._caplog.messages

    @property
    def events(self) -> list[tuple[EventType, str, str]]:
        return list(zip(self.recorder.types, self.recorder.reasons, self.recorder.messages, strict=True))


@pytest.fixture
def run(caplog: pytest.LogCaptureFixture) -> Run:
    return Run(caplog)


async def test_executed_action_is_logged_and_recorded_as_an_event(run: Run) -> None:
    result: Executed[None] = Executed(None)
    assert await run(Create(KEYS, (CREATED,)), result) == result
    assert run.log == [f"create {KEYS}: key absent → key created"]
    assert run.events == [(EventType.WARNING, "Created", "the key exists")]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ((), f"update {KEYS}: → "),
        ((Change("title", "", "Till"),), f"update {KEYS}: title unset → title Till"),
        ((Change("title", "Till", ""),), f"update {KEYS}: title Till → title unset"),
        (
            (Change("title", "a", "b"), Change("disabled", "true", "false")),
            f"update {KEYS}: title a, disabled true → title b, disabled false",
        ),
    ],
    ids=["no change", "set", "unset", "two changes"],
)
async def test_log_line_shows_the_changes_of_the_action(
    run: Run, changes: tuple[Change, ...], line: str
) -> None:
    await run(Rename(KEYS, changes), Executed(None))
    assert [" ".join(each.split()) for each in run.log] == [" ".join(line.split())]
    assert run.events == []


async def test_log_names_the_resource_that_only_the_reply_shows(run: Run) -> None:
    await run(Create(KEYS, (CREATED,)), Executed(None, resource=f"{KEYS}/k1"))
    assert run.log == [f"create {KEYS}/k1: key absent → key created"]


async def test_action_on_records_is_recorded_as_an_event_and_not_logged(run: Run) -> None:
    await run(Record(KEYS), Executed(None))
    assert run.log == []
    assert run.events == [(EventType.NORMAL, "Recorded", "the key is recorded")]


async def test_action_that_wrote_nothing_is_not_logged_or_recorded(run: Run) -> None:
    await run(Create(KEYS, (CREATED,)), Executed(None, written=False))
    assert (run.log, run.events) == ([], [])


@pytest.mark.parametrize("outcome", ENDINGS.values(), ids=ENDINGS)
async def test_action_that_ends_with_an_outcome_is_not_logged_or_recorded(run: Run, outcome: Outcome) -> None:
    assert (await run(Create(KEYS, (CREATED,)), Executed(None, outcome))).outcome == outcome
    assert (run.log, run.events) == ([], [])


async def test_failed_action_is_not_logged_or_recorded(run: Run) -> None:
    with pytest.raises(GoogleError):
        await run(Create(KEYS, (CREATED,)), fault(Fault.PERMISSION_DENIED))
    assert (run.log, run.events) == ([], [])


@pytest.mark.parametrize("observe", [False, True])
async def test_executor_acts_only_on_managed_objects(run: Run, observe: bool) -> None:
    assert run.executor.acts_on(identity(), Allowed(project(), observe=observe)) is not observe
