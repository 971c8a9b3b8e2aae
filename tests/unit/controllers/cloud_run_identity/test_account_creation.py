"""Creation and adoption of accounts: after every ambiguous reply, an account is managed or left alone."""

from typing import Any

import pytest

from cloudrun_identity.api import AccountIntent, AccountLoss, Adoption, Origin, Reason
from cloudrun_identity.controllers.cloud_run_identity.propagation import (
    BETWEEN_READS,
    GOOD_READS,
    LONGEST_BETWEEN_READS,
)
from cloudrun_identity.controllers.new_accounts import GRACE
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.reconcile.outcomes import InSync, Refused, Waiting
from tests.unit.controllers.cloud import PROJECT_ID
from tests.unit.controllers.cluster_state import EMAIL, admitted, project, record

from .account_bench import AccountBench

ADOPTABLE: dict[str, Any] = {"guardrails": {"adoptableAccounts": admitted([EMAIL])}}


@pytest.fixture
def bench() -> AccountBench:
    return AccountBench()


async def created(bench: AccountBench, **spec: Any) -> None:
    """Create the account."""
    assert isinstance((await bench.step(**spec)).outcome, Waiting)


async def test_intent_is_recorded_before_the_account_is_created(bench: AccountBench) -> None:
    applied = await bench.step()
    assert applied.outcome.reason is Reason.PROPAGATION_PENDING
    assert bench.steps == ["intent recorded", "account created"]
    begun = bench.record
    assert (begun.intent, begun.origin, begun.unique_id) == (AccountIntent.CREATE, Origin.CREATED, "")
    assert not begun.is_steady


async def test_account_is_settled_after_enough_good_reads_in_a_row(bench: AccountBench) -> None:
    await created(bench)
    account = bench.google.existing[EMAIL]
    bench.google.stale[EMAIL] = [account, account, None, account]
    outcomes = await bench.steps_of(4 + GOOD_READS - 1)
    assert [type(each) for each in outcomes] == [Waiting] * 5 + [InSync]
    assert bench.record.is_steady
    assert bench.steps[-1] == "account settled"


async def test_account_that_policies_refuse_is_settled_when_they_know_it(bench: AccountBench) -> None:
    await created(bench)
    bench.google.unknown = True
    assert {each.reason for each in await bench.steps_of(10)} == {Reason.PROPAGATION_PENDING}
    assert not bench.record.is_steady
    bench.google.unknown = False
    assert isinstance((await bench.step()).outcome, InSync)


async def test_account_is_settled_after_the_grace_period_in_any_case(bench: AccountBench) -> None:
    await created(bench)
    bench.google.unknown = True
    bench.now += GRACE + 1
    assert isinstance((await bench.steps_of(GOOD_READS))[-1], InSync)


async def test_reads_of_a_new_account_become_less_frequent(bench: AccountBench) -> None:
    await created(bench)
    bench.google.unknown = True
    waits = []
    for bench.now in (1.0, 20.0, 100.0):
        outcome = (await bench.step()).outcome
        assert isinstance(outcome, Waiting)
        waits.append(outcome.after)
    assert waits == [BETWEEN_READS, 2.0, LONGEST_BETWEEN_READS]


async def test_missing_account_is_not_created_again_while_it_propagates(bench: AccountBench) -> None:
    await created(bench)
    bench.google.stale[EMAIL] = [None] * 5
    bench.google.faults = {"get": Fault.PERMISSION_DENIED}
    bench.now += GRACE
    assert {each.reason for each in await bench.steps_of(5)} == {Reason.PROPAGATION_PENDING}
    assert bench.google.calls.count("create checkout") == 1


async def test_account_missing_beyond_the_grace_period_is_created_again(bench: AccountBench) -> None:
    await created(bench)
    bench.google.existing.clear()
    bench.now += GRACE + 1
    assert isinstance((await bench.step()).outcome, Waiting)
    assert EMAIL in bench.google.existing


async def test_create_with_a_lost_reply_is_recognized_as_managed(bench: AccountBench) -> None:
    bench.google.lost = {"create"}
    await bench.step()
    assert isinstance((await bench.steps_of(GOOD_READS))[-1], InSync)
    assert (bench.record.intent, bench.record.origin, bench.record.unique_id) == (None, Origin.CREATED, "111")
    assert bench.google.calls.count("create checkout") == 1


async def test_create_that_never_arrived_is_sent_again(bench: AccountBench) -> None:
    bench.google.faults = {"create": Fault.UNAVAILABLE}
    with pytest.raises(GoogleError):
        await bench.step()
    await bench.step()
    assert bench.google.calls.count("create checkout") == 2
    assert EMAIL in bench.google.existing


@pytest.mark.parametrize("hidden", [0, 3])
async def test_create_goes_on_after_a_crash(bench: AccountBench, hidden: int) -> None:
    await created(bench)
    bench.restart()
    bench.google.stale[EMAIL] = [None] * hidden
    outcomes = await bench.steps_of(hidden + GOOD_READS, displayName="edited meanwhile")
    assert isinstance(outcomes[-1], InSync)
    assert {each.reason for each in outcomes[:-1]} == {Reason.PROPAGATION_PENDING}
    assert bench.record.unique_id == "111"
    assert bench.google.existing[EMAIL].display_name == "edited meanwhile"


async def test_unmanaged_account_found_after_a_lost_create_is_refused(bench: AccountBench) -> None:
    bench.google.faults = {"create": Fault.UNAVAILABLE}
    with pytest.raises(GoogleError):
        await bench.step()
    bench.google.put(EMAIL, "999")
    applied = await bench.step()
    assert isinstance(applied.outcome, Refused)
    assert applied.outcome.reason is Reason.CONFLICT
    assert bench.ledgers.records == {}


async def test_account_that_replaced_an_unsettled_one_is_refused(bench: AccountBench) -> None:
    await created(bench, displayName="Till", description="ours")
    bench.google.put(EMAIL, "999", display_name="Till", description="ours")
    assert isinstance((await bench.step(displayName="Till", description="ours")).outcome, Refused)
    assert bench.ledgers.records == {}


async def test_undeclared_description_names_the_identity(bench: AccountBench) -> None:
    await created(bench)
    assert bench.google.existing[EMAIL].description == "CloudRunIdentity payments/checkout, u-checkout"


async def test_account_is_created_with_the_declared_text(bench: AccountBench) -> None:
    await created(bench, displayName="Till", description="")
    account = bench.google.existing[EMAIL]
    assert (account.display_name, account.description) == ("Till", "")


async def test_refused_create_leaves_no_record(bench: AccountBench) -> None:
    bench.google.faults = {"create": Fault.PERMISSION_DENIED}
    with pytest.raises(GoogleError):
        await bench.step()
    assert bench.ledgers.records == {}


async def test_account_found_by_the_create_is_refused_as_unmanaged(bench: AccountBench) -> None:
    bench.google.put(EMAIL, "999")
    bench.google.stale[EMAIL] = [None]
    applied = await bench.step()
    assert isinstance(applied.outcome, Refused)
    assert applied.outcome.reason is Reason.CONFLICT
    assert bench.ledgers.records == {}


async def test_email_of_the_reply_is_recorded(bench: AccountBench) -> None:
    bench.google.email_of = lambda account_id: f"{account_id}@elsewhere.example"
    await bench.step()
    assert set(bench.ledgers.records) == {"checkout@elsewhere.example"}
    assert isinstance((await bench.steps_of(GOOD_READS))[-1], InSync)


async def test_adoption_needs_the_spec_and_the_guardrails(bench: AccountBench) -> None:
    bench.google.put(EMAIL, "999")
    refused = await bench.step(adoption=Adoption.ADOPT)
    assert refused.outcome.reason is Reason.DENIED_BY_GUARDRAIL
    assert bench.ledgers.history == []

    adopted = await bench.step(project(**ADOPTABLE), adoption=Adoption.ADOPT)
    assert isinstance(adopted.outcome, InSync)
    assert (bench.record.origin, bench.record.unique_id) == (Origin.ADOPTED, "999")
    assert bench.record.is_steady


async def test_account_of_another_identity_is_refused(bench: AccountBench) -> None:
    bench.ledgers.keep(record(owner="payments/other"))
    bench.google.put(EMAIL)
    applied = await bench.step(project(**ADOPTABLE), adoption=Adoption.ADOPT)
    assert isinstance(applied.outcome, Refused)
    assert "payments/other" in applied.outcome.message
    assert bench.ledgers.records[EMAIL].owner == "payments/other"


async def test_left_account_is_taken_back_by_an_object_of_the_same_name(bench: AccountBench) -> None:
    bench.ledgers.keep(record(unique_id="111", origin=Origin.CREATED))
    bench.google.put(EMAIL, "111")
    await bench.deps.records.leave_behind(PROJECT_ID, bench.record, "")
    assert (bench.record.owner, bench.record.left_by) == ("", "payments/checkout")

    assert isinstance((await bench.step()).outcome, InSync)
    assert (bench.record.owner, bench.record.left_by) == ("payments/checkout", "")
    assert bench.record.origin is Origin.CREATED


@pytest.mark.parametrize("change", [{"left_by": "shop/checkout"}, {"unique_id": "7"}])
async def test_left_account_of_another_object_or_unique_id_is_unmanaged(
    bench: AccountBench, change: dict[str, str]
) -> None:
    bench.google.put(EMAIL, "111")
    left = record(unique_id="111", origin=Origin.CREATED, owner="", left_by="payments/checkout")
    bench.ledgers.keep(left.replace(**change))
    outcome = (await bench.step()).outcome
    assert isinstance(outcome, Refused)
    assert "exists already" in outcome.message


async def test_abandoned_account_is_unmanaged_until_it_is_adopted(bench: AccountBench) -> None:
    bench.ledgers.keep(record(origin=Origin.ADOPTED))
    bench.google.put(EMAIL)
    await bench.deps.records.leave_behind(PROJECT_ID, bench.record, "in use")
    assert isinstance((await bench.step()).outcome, Refused)
    assert bench.record.abandoned, "the record that it was left is kept"

    assert isinstance((await bench.step(project(**ADOPTABLE), adoption=Adoption.ADOPT)).outcome, InSync)
    assert (bench.record.owner, bench.record.abandoned) == ("payments/checkout", None)


async def test_adopted_account_keeps_undeclared_fields(bench: AccountBench) -> None:
    bench.google.put(EMAIL, display_name="theirs", description="old", disabled=True)
    await bench.step(project(**ADOPTABLE), adoption=Adoption.ADOPT, description="new")
    kept = bench.google.existing[EMAIL]
    assert (kept.display_name, kept.description, kept.disabled) == ("theirs", "new", False)


async def test_recreated_account_is_managed_under_its_new_unique_id(bench: AccountBench) -> None:
    bench.ledgers.keep(record(unique_id="7", unique_ids=("7",), origin=Origin.ADOPTED))
    outcomes = await bench.steps_of(1 + GOOD_READS, whenDeleted="Recreate")
    assert isinstance(outcomes[-1], InSync)
    assert (bench.record.unique_id, bench.record.unique_ids) == ("111", ("7", "111"))
    assert bench.record.origin is Origin.CREATED


async def test_email_taken_before_the_recreation_is_a_replacement(
    bench: AccountBench,
) -> None:
    former = record(unique_ids=("111",))
    bench.ledgers.keep(former)
    bench.google.put(EMAIL, "999")
    bench.google.stale[EMAIL] = [None]
    assert isinstance((await bench.step(whenDeleted="Recreate")).outcome, Refused)
    assert former in bench.ledgers.history, "the intent to create is withdrawn"
    assert bench.record.lost is AccountLoss.REPLACED


async def test_recreation_waits_for_a_taken_email_that_cannot_be_read_yet(bench: AccountBench) -> None:
    former = record(unique_ids=("111",))
    bench.ledgers.keep(former)
    bench.google.put(EMAIL, "999")
    bench.google.stale[EMAIL] = [None, None]
    waiting = await bench.step(whenDeleted="Recreate")
    assert isinstance(waiting.outcome, Waiting)
    assert waiting.outcome.reason is Reason.UPDATING
    assert bench.record == former


async def test_email_taken_while_a_recreation_is_in_doubt_is_a_replacement(bench: AccountBench) -> None:
    bench.ledgers.keep(record(unique_ids=("111",)))
    bench.google.faults = {"create": Fault.UNAVAILABLE}
    with pytest.raises(GoogleError):
        await bench.step(whenDeleted="Recreate")
    bench.google.put(EMAIL, "999")
    outcomes = await bench.steps_of(2, whenDeleted="Recreate")
    assert isinstance(outcomes[-1], Refused)
    assert bench.record == record(unique_ids=("111",), origin=Origin.CREATED).replace(lost="Replaced")
