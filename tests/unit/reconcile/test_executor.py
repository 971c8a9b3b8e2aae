import logging
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from cloudrun_identity.reconcile.events import EventReporter
from cloudrun_identity.reconcile.executor import CloudExecutor
from cloudrun_identity.reconcile.interfaces import Executed
from cloudrun_identity.reconcile.outcomes import Refused
from cloudrun_identity.reconcile.steps import Action, Change, StepEvent
from tests.unit.controllers.carry_out import Recorder
from tests.unit.controllers.cluster_state import identity

KEYS = "//iam.googleapis.com/projects/acme/serviceAccounts/a/keys"


@dataclass(frozen=True, slots=True)
class Create(Action):
    """Create a key."""

    verb: ClassVar[str] = "create"

    @property
    def event(self) -> StepEvent | None:
        return StepEvent("Created", "the key exists")


class Resource:
    """A kind whose actions end as a test says."""

    def __init__(self, executed: Executed[None]) -> None:
        self._executed = executed

    async def execute(self, action: Action, want: object, seen: object) -> Executed[None]:
        return self._executed


async def executed(result: Executed[None]) -> list[str]:
    """Execute an action with this result; return the reasons of its Events."""
    recorder, resource = Recorder(), Resource(result)
    anything: Any = resource
    action = Create(KEYS, (Change("key", "absent", "created"),))
    await CloudExecutor(EventReporter(recorder, recorder)).execute(anything, identity(), action, None, None)
    return recorder.reasons


async def test_an_executed_action_is_logged_and_reported(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "cloudrun_identity.mutations"):
        assert await executed(Executed(None)) == ["Created"]
    assert caplog.messages == [f"create {KEYS}: key absent → key created"]


async def test_the_log_names_the_resource_that_only_the_reply_shows(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "cloudrun_identity.mutations"):
        await executed(Executed(None, resource=f"{KEYS}/k1"))
    assert caplog.messages == [f"create {KEYS}/k1: key absent → key created"]


@pytest.mark.parametrize(
    "result",
    [Executed(None, written=False), Executed(None, Refused("Rejected", "no"))],  # type: ignore[arg-type]
    ids=["nothing written", "refused"],
)
async def test_an_action_without_effect_is_neither_logged_nor_reported(
    result: Executed[None], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "cloudrun_identity.mutations"):
        assert await executed(result) == []
    assert caplog.messages == []
