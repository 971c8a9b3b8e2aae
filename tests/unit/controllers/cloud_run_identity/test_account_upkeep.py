"""Settled accounts: fields that differ are written, and changes by other clients repaired or reported."""

from dataclasses import replace
from typing import Any

import pytest

from cloudrun_identity.api import AccountIntent, AccountLoss, Origin, Reason
from cloudrun_identity.controllers.cloud_run_identity.propagation import GOOD_READS, STALE
from cloudrun_identity.controllers.new_accounts import GRACE
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.reconcile.outcomes import InSync, Paused, Refused, Waiting
from tests.unit.controllers.cluster_state import EMAIL, admitted, project, record

from .account_bench import NOON, AccountBench

SETTLED = record(origin=Origin.CREATED, unique_ids=("111",))


@pytest.fixture
def bench() -> AccountBench:
    """A bench with a managed account that was settled long ago."""
    bench = AccountBench()
    bench.ledgers.keep(SETTLED)
    bench.google.put(EMAIL)
    return bench


def delete_account(bench: AccountBench) -> None:
    bench.google.deleted["111"] = bench.google.existing.pop(EMAIL)


async def test_account_as_declared_is_not_written(bench: AccountBench) -> None:
    assert isinstance((await bench.step()).outcome, InSync)
    assert bench.writes() == []


@pytest.mark.parametrize(("before", "verb"), [(False, "disable"), (True, "enable")])
async def test_account_that_differs_in_disabled_alone_is_only_switched(
    bench: AccountBench, before: bool, verb: str
) -> None:
    bench.google.put(EMAIL, disabled=before)
    applied = await bench.step(disabled=not before)
    assert applied.seen.account.account.disabled is not before
    assert bench.writes() == [f"{verb} 111"]


async def test_stale_read_after_a_write_is_not_repaired(bench: AccountBench) -> None:
    before = bench.google.existing[EMAIL]
    spec: dict[str, Any] = {"disabled": True, "displayName": "Till"}
    await bench.step(**spec)
    bench.google.stale[EMAIL] = [before, replace(before, display_name="Till")]
    for _ in range(2):
        applied = await bench.step(**spec)
        assert (applied.seen.account.account.disabled, applied.seen.account.account.display_name) == (
            True,
            "Till",
        )
    assert bench.writes() == ["patch 111", "disable 111"]


async def test_value_that_cannot_be_stale_any_more_is_repaired(bench: AccountBench) -> None:
    await bench.step(disabled=True)
    bench.google.put(EMAIL, disabled=False)
    bench.now += STALE
    await bench.step(disabled=True)
    assert bench.writes() == ["disable 111", "disable 111"]


async def test_when_disabled_report_leaves_the_account_disabled(bench: AccountBench) -> None:
    bench.google.put(EMAIL, disabled=True)
    applied = await bench.step(whenDisabled="Report", displayName="Till")
    assert isinstance(applied.outcome, Paused)
    assert applied.outcome.reason is Reason.DRIFT_DETECTED
    assert [str(change) for change in applied.left] == ["disabled: true → false"]
    assert not applied.retains_grants, "its grants are synced nevertheless"
    assert bench.writes() == ["patch 111"]


@pytest.mark.parametrize("answered", [True, False])
async def test_when_disabled_report_follows_an_edit_of_the_spec(bench: AccountBench, answered: bool) -> None:
    assert isinstance((await bench.step(whenDisabled="Report", disabled=True)).outcome, InSync)
    assert bench.writes() == ["disable 111"]
    if not answered:  # the process died before the record was written
        bench.ledgers.keep(SETTLED)
        assert isinstance((await bench.step(whenDisabled="Report", disabled=True)).outcome, InSync)
    bench.google.put(EMAIL, disabled=False)
    bench.now += STALE
    assert isinstance((await bench.step(whenDisabled="Report", disabled=True)).outcome, Paused)


async def test_deleted_account_is_undeleted_and_settled_after_good_reads(
    bench: AccountBench,
) -> None:
    delete_account(bench)
    first = await bench.step()
    assert first.outcome.reason is Reason.PROPAGATION_PENDING
    assert bench.record.intent is AccountIntent.UNDELETE
    assert not bench.record.is_steady
    bench.google.stale[EMAIL] = [None]
    outcomes = await bench.steps_of(1 + GOOD_READS)
    assert [type(each) for each in outcomes] == [Waiting] * GOOD_READS + [InSync]
    assert bench.record == SETTLED.replace(appeared_time=NOON)
    assert bench.writes() == ["undelete 111"]


async def test_undelete_goes_on_after_a_crash(bench: AccountBench) -> None:
    delete_account(bench)
    await bench.step()
    bench.restart()
    bench.google.stale[EMAIL] = [None, None]
    outcomes = await bench.steps_of(2 + GOOD_READS)
    assert isinstance(outcomes[-1], InSync)
    assert {each.reason for each in outcomes[:-1]} == {Reason.PROPAGATION_PENDING}


async def test_fresh_account_missing_after_a_restart_is_waited_for(bench: AccountBench) -> None:
    bench.ledgers.keep(SETTLED.replace(appeared_time=NOON))
    bench.restart()
    bench.now = GRACE
    bench.google.stale[EMAIL] = [None]
    assert (await bench.step()).outcome.reason is Reason.PROPAGATION_PENDING
    assert bench.writes() == []


@pytest.mark.parametrize("kind", [Fault.NOT_FOUND, Fault.FAILED_PRECONDITION, Fault.ALREADY_EXISTS])
async def test_refused_undelete_is_a_conflict(bench: AccountBench, kind: Fault) -> None:
    delete_account(bench)
    bench.google.faults = {"undelete": kind}
    applied = await bench.step()
    assert isinstance(applied.outcome, Refused)
    assert applied.outcome.reason is Reason.CONFLICT
    assert "set spec.whenDeleted to Recreate" in applied.outcome.message
    assert bench.writes() == ["undelete 111"], "no other account is created"
    assert bench.record.lost is AccountLoss.DELETED


async def test_failed_undelete_is_tried_again(bench: AccountBench) -> None:
    delete_account(bench)
    bench.google.faults = {"undelete": Fault.UNAVAILABLE}
    with pytest.raises(GoogleError):
        await bench.step()
    assert isinstance((await bench.step()).outcome, Waiting)
    assert EMAIL in bench.google.existing


async def test_account_undeleted_by_another_client_is_settled_again(bench: AccountBench) -> None:
    delete_account(bench)
    reported = await bench.step(whenDeleted="Report")
    assert isinstance(reported.outcome, Paused)
    assert reported.retains_grants
    assert bench.record.lost is AccountLoss.DELETED
    bench.google.put(EMAIL)
    outcomes = await bench.steps_of(GOOD_READS, whenDeleted="Report")
    assert isinstance(outcomes[-1], InSync)
    assert bench.record == SETTLED
    assert bench.writes() == []


async def test_when_deleted_recreate_creates_another_account(bench: AccountBench) -> None:
    delete_account(bench)
    bench.google.deleted.clear()
    await bench.step(whenDeleted="Recreate")
    assert bench.writes() == ["create checkout"]
    assert bench.record.unique_id == "", "dependent objects wait for the new one"


async def test_replaced_account_is_left_as_it_is(bench: AccountBench) -> None:
    bench.google.put(EMAIL, "999", display_name="theirs")
    applied = await bench.step(displayName="ours", disabled=True)
    assert isinstance(applied.outcome, Refused)
    assert "999" in applied.outcome.message
    assert "111" in applied.outcome.message
    assert bench.writes() == []
    assert bench.record.lost is AccountLoss.REPLACED


async def test_when_replaced_regrant_needs_the_account_to_be_adoptable(bench: AccountBench) -> None:
    bench.google.put(EMAIL, "999")
    others = project(guardrails={"adoptableAccounts": admitted([EMAIL], "shop")})
    refused = (await bench.step(others, whenReplaced="Regrant")).outcome
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.DENIED_BY_GUARDRAIL
    assert refused.message.startswith("spec.whenReplaced: guardrails.adoptableAccounts")
    assert (bench.record.unique_id, bench.writes()) == ("111", [])


async def test_when_replaced_regrant_takes_over_after_good_reads(bench: AccountBench) -> None:
    bench.google.put(EMAIL, "999", display_name="theirs", disabled=True)
    adoptable = project(guardrails={"adoptableAccounts": admitted([EMAIL])})
    outcomes = await bench.steps_of(GOOD_READS, adoptable, whenReplaced="Regrant", displayName="ours")
    assert [type(each) for each in outcomes] == [Waiting] * (GOOD_READS - 1) + [InSync]
    taken = bench.record
    assert (taken.unique_id, taken.unique_ids, taken.lost) == ("999", ("111", "999"), None)
    assert taken.origin is Origin.ADOPTED, "a deletion leaves it, because another client created it"
    assert bench.writes() == ["patch 999", "enable 999"]
