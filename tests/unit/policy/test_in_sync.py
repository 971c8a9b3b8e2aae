"""A policy in which nothing has changed is read, and not planned again."""

from collections.abc import Callable
from typing import Any

import pytest

from cloudrun_identity.policy import sync_planner
from cloudrun_identity.policy.syncers import PolicySyncers
from tests.unit.policy.fakes import SyncerEnvironment

from .one_policy import ANN, BOB, OPS, TARGET, WEB, desiring, synced

pytestmark = pytest.mark.looptime(start=1000)


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return the list to which each plan of a sync is added."""
    made: list[object] = []
    plan: Callable[..., Any] = sync_planner.plan_policy

    def counted(*arguments: Any) -> Any:
        made.append(arguments)
        return plan(*arguments)

    monkeypatch.setattr(sync_planner, "plan_policy", counted)
    return made


async def at_rest(syncers: PolicySyncers, plans: list[object]) -> int:
    """Bring the policy in sync, and return the plans so far."""
    await synced(syncers, desiring(WEB, ANN))
    await syncers.resync(TARGET.project_id)
    return len(plans)


async def test_resync_at_rest_reads_the_policy_and_plans_nothing(
    env: SyncerEnvironment, syncers: PolicySyncers, plans: list[object]
) -> None:
    before, reads = await at_rest(syncers, plans), env.policies.reads
    for _ in range(5):
        assert (await syncers.resync(TARGET.project_id)).drifted == frozenset()
    assert len(plans) == before
    assert env.policies.reads == reads + 5


async def test_grant_that_another_writer_removes_is_found(
    env: SyncerEnvironment, syncers: PolicySyncers, plans: list[object]
) -> None:
    await at_rest(syncers, plans)
    env.policies.revoke(ANN)
    assert (await syncers.resync(TARGET.project_id)).drifted == {WEB}
    assert ANN in env.policies.present(TARGET)


async def test_change_of_the_policy_is_planned(
    env: SyncerEnvironment, syncers: PolicySyncers, plans: list[object]
) -> None:
    before = await at_rest(syncers, plans)
    env.policies.grant(BOB)
    await syncers.resync(TARGET.project_id)
    assert len(plans) > before


async def test_change_of_a_declaration_is_planned(
    env: SyncerEnvironment, syncers: PolicySyncers, plans: list[object]
) -> None:
    before = await at_rest(syncers, plans)
    syncers.declare(desiring(OPS, BOB))
    await syncers.resync(TARGET.project_id)
    assert len(plans) > before
    assert BOB in env.policies.present(TARGET)


async def test_change_of_the_ledger_is_planned(
    env: SyncerEnvironment, syncers: PolicySyncers, plans: list[object]
) -> None:
    before = await at_rest(syncers, plans)
    env.record(BOB, OPS)
    await syncers.resync(TARGET.project_id)
    assert len(plans) > before
