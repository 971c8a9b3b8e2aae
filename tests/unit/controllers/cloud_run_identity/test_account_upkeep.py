"""Steady accounts: what is written, and what is done about what somebody else did."""

from dataclasses import replace
from typing import Any

import pytest

from cloudrun_identity.api import AccountIntent, AccountLoss, Origin, Reason
from cloudrun_identity.controllers.cloud_run_identity.propagation import GOOD_READS, GRACE
from cloudrun_identity.controllers.cloud_run_identity.recent_writes import STALE
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.reconcile.outcomes import InSync, Paused, Refused, Waiting
from tests.unit.controllers.cluster_state import EMAIL, record

from .account_bench import NOON, AccountBench

OURS = record(origin=Origin.CREATED, unique_ids=("111",))


@pytest.fixture
def bench() -> AccountBench:
    """An account of ours, steady for long."""
    bench = AccountBench()
    bench.ledgers.keep(OURS)
    bench.google.put(EMAIL)
    return bench


def somebody_deletes(bench: AccountBench) -> None:
    bench.google.deleted["111"] = bench.google.existing.pop(EMAIL)


def writes(bench: AccountBench) -> list[str]:
    return [call for call in bench.google.calls if not call.startswith("get")]


async def test_what_is_as_declared_is_not_written(bench: AccountBench) -> None:
    assert isinstance((await bench.step()).outcome, InSync)
    assert writes(bench) == []


@pytest.mark.parametrize(("before", "verb"), [(False, "disable"), (True, "enable")])
async def test_the_switch_alone_is_written_where_it_alone_differs(
    bench: AccountBench, before: bool, verb: str
) -> None:
    bench.google.put(EMAIL, disabled=before)
    applied = await bench.step(disabled=not before)
    assert applied.seen.account.disabled is not before
    assert writes(bench) == [f"{verb} 111"]


async def test_a_stale_read_after_a_write_is_neither_shown_nor_written_again(bench: AccountBench) -> None:
    before = bench.google.existing[EMAIL]
    spec: dict[str, Any] = {"disabled": True, "displayName": "Till"}
    await bench.step(**spec)
    bench.google.stale[EMAIL] = [before, replace(before, display_name="Till")]
    for _ in range(2):
        applied = await bench.step(**spec)
        assert (applied.seen.account.disabled, applied.seen.account.display_name) == (True, "Till")
    assert writes(bench) == ["patch 111", "disable 111"]


async def test_what_somebody_puts_back_is_put_right_once_it_cannot_be_stale(bench: AccountBench) -> None:
    await bench.step(disabled=True)
    bench.google.put(EMAIL, disabled=False)
    bench.now += STALE
    await bench.step(disabled=True)
    assert writes(bench) == ["disable 111", "disable 111"]


async def test_report_leaves_the_switch_of_somebody_else_and_says_so(bench: AccountBench) -> None:
    bench.google.put(EMAIL, disabled=True)
    applied = await bench.step(whenDisabled="Report", displayName="Till")
    assert isinstance(applied.outcome, Paused)
    assert applied.outcome.reason is Reason.DRIFT_DETECTED
    assert [str(change) for change in applied.left] == ["disabled: true → false"]
    assert not applied.retains, "its grants are looked after all the same"
    assert writes(bench) == ["patch 111"]


@pytest.mark.parametrize("answered", [True, False])
async def test_report_follows_the_declaration_all_the_same(bench: AccountBench, answered: bool) -> None:
    assert isinstance((await bench.step(whenDisabled="Report", disabled=True)).outcome, InSync)
    assert writes(bench) == ["disable 111"]
    if not answered:  # the process died before the record was written
        bench.ledgers.keep(OURS)
        assert isinstance((await bench.step(whenDisabled="Report", disabled=True)).outcome, InSync)
    bench.google.put(EMAIL, disabled=False)
    bench.now += STALE
    assert isinstance((await bench.step(whenDisabled="Report", disabled=True)).outcome, Paused)


async def test_a_deleted_account_is_undeleted_and_dependants_wait_until_it_is_steady(
    bench: AccountBench,
) -> None:
    somebody_deletes(bench)
    first = await bench.step()
    assert first.outcome.reason is Reason.PROPAGATION_PENDING
    assert bench.record.intent is AccountIntent.UNDELETE
    assert not bench.record.is_steady
    bench.google.stale[EMAIL] = [None]
    outcomes = await bench.steps_of(1 + GOOD_READS)
    assert [type(each) for each in outcomes] == [Waiting] * GOOD_READS + [InSync]
    assert bench.record == OURS.replace(appeared_time=NOON)
    assert writes(bench) == ["undelete 111"]


async def test_a_process_that_died_after_the_undelete_is_carried_on(bench: AccountBench) -> None:
    somebody_deletes(bench)
    await bench.step()
    bench.restart()
    bench.google.stale[EMAIL] = [None, None]
    outcomes = await bench.steps_of(2 + GOOD_READS)
    assert isinstance(outcomes[-1], InSync)
    assert {each.reason for each in outcomes[:-1]} == {Reason.PROPAGATION_PENDING}


async def test_a_fresh_account_that_is_missing_after_a_restart_is_lag(bench: AccountBench) -> None:
    bench.ledgers.keep(OURS.replace(appeared_time=NOON))
    bench.restart()
    bench.now = GRACE
    bench.google.stale[EMAIL] = [None]
    assert (await bench.step()).outcome.reason is Reason.PROPAGATION_PENDING
    assert writes(bench) == []


@pytest.mark.parametrize("kind", [Fault.NOT_FOUND, Fault.FAILED_PRECONDITION, Fault.ALREADY_EXISTS])
async def test_an_undelete_that_google_refuses_needs_a_person(bench: AccountBench, kind: Fault) -> None:
    somebody_deletes(bench)
    bench.google.faults = {"undelete": kind}
    applied = await bench.step()
    assert isinstance(applied.outcome, Refused)
    assert applied.outcome.reason is Reason.CONFLICT
    assert "set spec.whenDeleted to Recreate" in applied.outcome.message
    assert writes(bench) == ["undelete 111"], "it is never created under the identity's nose"
    assert bench.record.lost is AccountLoss.DELETED


async def test_an_undelete_that_fails_otherwise_is_tried_again_at_once(bench: AccountBench) -> None:
    somebody_deletes(bench)
    bench.google.faults = {"undelete": Fault.UNAVAILABLE}
    with pytest.raises(GoogleError):
        await bench.step()
    assert isinstance((await bench.step()).outcome, Waiting)
    assert EMAIL in bench.google.existing


async def test_an_account_that_somebody_undeletes_by_hand_is_welcome(bench: AccountBench) -> None:
    somebody_deletes(bench)
    reported = await bench.step(whenDeleted="Report")
    assert isinstance(reported.outcome, Paused)
    assert reported.retains
    assert bench.record.lost is AccountLoss.DELETED
    bench.google.put(EMAIL)
    outcomes = await bench.steps_of(GOOD_READS, whenDeleted="Report")
    assert isinstance(outcomes[-1], InSync)
    assert bench.record == OURS
    assert writes(bench) == []


async def test_recreate_makes_another_account(bench: AccountBench) -> None:
    somebody_deletes(bench)
    bench.google.deleted.clear()
    await bench.step(whenDeleted="Recreate")
    assert writes(bench) == ["create checkout"]
    assert bench.record.unique_id == "", "dependants wait for the new one"


async def test_a_replaced_account_is_left_alone_with_all_it_is_told(bench: AccountBench) -> None:
    bench.google.put(EMAIL, "999", display_name="theirs")
    applied = await bench.step(displayName="ours", disabled=True)
    assert isinstance(applied.outcome, Refused)
    assert "999" in applied.outcome.message
    assert "111" in applied.outcome.message
    assert writes(bench) == []
    assert bench.record.lost is AccountLoss.REPLACED


async def test_regrant_takes_a_replaced_account_over_once_it_is_steady(bench: AccountBench) -> None:
    bench.google.put(EMAIL, "999", display_name="theirs", disabled=True)
    outcomes = await bench.steps_of(GOOD_READS, whenReplaced="Regrant", displayName="ours")
    assert [type(each) for each in outcomes] == [Waiting] * (GOOD_READS - 1) + [InSync]
    taken = bench.record
    assert (taken.unique_id, taken.unique_ids, taken.lost) == ("999", ("111", "999"), None)
    assert taken.origin is Origin.ADOPTED, "on deletion it is left, because somebody else made it"
    assert writes(bench) == ["patch 999", "enable 999"]
