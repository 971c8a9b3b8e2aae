"""The rounds of reconciles of a dry run."""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import pytest

from cloudrun_identity.api import Reason
from cloudrun_identity.plan import dry_run
from cloudrun_identity.plan.dry_run import MAX_ROUNDS, DryRunSession
from cloudrun_identity.plan.dry_run_executor import DryRunExecutor
from cloudrun_identity.plan.in_memory_client import InMemoryClient
from cloudrun_identity.plan.reports import Reports
from cloudrun_identity.plan.scope import Scope
from cloudrun_identity.reconcile.cluster_state import ObjectKey
from cloudrun_identity.reconcile.outcomes import Failing, InSync, Outcome, Refused, Waiting
from cloudrun_identity.reconcile.requeue import NoRequeue
from cloudrun_identity.reconcile.status import Report

WEB, JOBS = ObjectKey("CloudRunIdentity", "shop", "web"), ObjectKey("CloudRunIdentity", "shop", "jobs")
WAITS = Waiting(Reason.DEPENDENCY_NOT_READY, "waiting")


class _Engine:
    """The parts of an engine that a session uses. `outcome` is called for each reconcile."""

    def __init__(self, outcome: Callable[[ObjectKey], Outcome]) -> None:
        self.reports = Reports()
        self.reconciled: list[ObjectKey] = []
        self.cache = self.reconciler = self.syncers = self
        self.is_complete = True
        self._outcome = outcome

    async def reconcile(self, key: ObjectKey, *, max_age: float) -> tuple[NoRequeue, None]:
        assert max_age == 0
        self.reconciled.append(key)
        self.reports.latest[key] = Report(self._outcome(key))
        return NoRequeue(), None

    def referrers(self, _: ObjectKey) -> Iterable[ObjectKey]:
        return ()

    def stored(self, _: ObjectKey) -> Any:
        return _Stored()

    def changes(self) -> Iterable[object]:
        return ()


class _Stored:
    obj = None
    raw: ClassVar[dict[str, Any]] = {"metadata": {}}


@pytest.fixture
def scope(monkeypatch: pytest.MonkeyPatch) -> Scope:
    monkeypatch.setattr(dry_run, "policies_of", lambda engine: engine)
    return Scope()


async def rounds(engine: Any, scope: Scope) -> DryRunSession:
    session = DryRunSession(InMemoryClient(), engine, DryRunExecutor(), engine.reports, scope, {})
    await session.reconcile()
    return session


async def test_object_waits_through_a_round_without_a_change(scope: Scope) -> None:
    """JOBS changes nothing in the second round, and makes the step that WEB waits for in the third."""

    def outcome(key: ObjectKey) -> Outcome:
        times = engine.reconciled.count(JOBS)
        if key == WEB:
            return InSync() if times >= 4 else WAITS
        if times < 4:
            scope.update([JOBS])
        return InSync(after=1.0) if times >= 4 else InSync()

    engine = _Engine(outcome)
    scope.update([WEB, JOBS])

    session = await rounds(engine, scope)

    assert engine.reconciled.count(JOBS) == 4
    assert engine.reports.latest[WEB].outcome == InSync()
    assert list(session.blockers()) == []


@pytest.mark.parametrize(
    ("outcome", "times"),
    [
        (WAITS, 2),
        (Failing(Reason.API_UNAVAILABLE, "no"), 2),
        (InSync(), 1),
        (Refused(Reason.CONFLICT, "no"), 1),
    ],
)
async def test_outcome_decides_whether_a_change_requeues(scope: Scope, outcome: Outcome, times: int) -> None:
    engine = _Engine(lambda _: outcome)
    scope.update([WEB])
    await rounds(engine, scope)
    assert engine.reconciled == [WEB] * times


async def test_object_that_is_due_after_the_last_round_has_a_blocker(scope: Scope) -> None:
    def outcome(key: ObjectKey) -> Outcome:
        scope.update([key])
        return InSync()

    engine = _Engine(outcome)
    scope.update([WEB])

    session = await rounds(engine, scope)

    assert len(engine.reconciled) == MAX_ROUNDS
    (blocker,) = session.blockers()
    assert (blocker.object, blocker.final) == (WEB, True)
    assert f"after {MAX_ROUNDS} rounds" in blocker.message
