"""Accounts: whose they are after every ambiguous reply, and what is never done to somebody else's."""

from typing import Any

import pytest

from cloudrun_identity.api import AccountIntent, Adoption, Origin, Reason
from cloudrun_identity.controllers.accounts import Accounts, Owner
from cloudrun_identity.controllers.outcomes import InSync, Refused, Waiting
from cloudrun_identity.controllers.probation import GOOD_READS, GRACE, Probation
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.service_accounts import ServiceAccount

from .cloud import PROJECT_ID, FakeAccountLedgers, FakeRun, FakeServiceAccounts, inventory
from .world import EMAIL, FakeWorld, identity, project, record

ADOPTABLE: dict[str, Any] = {"guardrails": {"adoptableAccounts": [EMAIL]}}


class Bench:
    """Everything that accounts are worked on with; `steps` are the checkpoints passed."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.google = FakeServiceAccounts()
        self.ledgers = FakeAccountLedgers()
        self.probation = Probation(lambda: self.now)
        self.steps: list[str] = []
        self.accounts = Accounts(
            self.google,  # type: ignore[arg-type]
            inventory(self.google, FakeRun(), lambda: self.now),
            self.ledgers,
            self.probation,
            self.steps.append,
        )

    async def make(self, lent: Any = None, seen: ServiceAccount | None = None, **spec: Any) -> Any:
        owner = Owner(identity(**spec), PROJECT_ID)
        lent = lent or project()
        return await self.accounts.create_or_adopt(owner, EMAIL, lent, FakeWorld(lent, owner.obj), seen)

    async def keep(self, **spec: Any) -> Any:
        self.ledgers.keep(record())
        owner = Owner(identity(**spec), PROJECT_ID)
        return await self.accounts.keep(owner, EMAIL, record(), self.google.existing.get(EMAIL))

    async def follow(self) -> Any:
        begun = self.ledgers.records[EMAIL]
        seen = self.google.existing.get(EMAIL)
        return await self.accounts.follow_creation(Owner(identity(), PROJECT_ID), begun, seen)


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_the_intent_is_recorded_before_the_account_is_created(bench: Bench) -> None:
    applied = await bench.make()
    assert isinstance(applied.outcome, Waiting)
    assert applied.outcome.reason is Reason.PROPAGATION_PENDING
    assert bench.steps == ["intent recorded", "account created"]
    begun = bench.ledgers.records[EMAIL]
    assert (begun.intent, begun.origin, begun.unique_id) == (AccountIntent.CREATE, Origin.CREATED, "")


async def test_a_create_whose_reply_is_lost_is_seen_through_as_ours(bench: Bench) -> None:
    bench.google.lost = {"create"}
    with pytest.raises(GoogleError):
        await bench.make()
    for _ in range(GOOD_READS):
        applied = await bench.follow()
    assert isinstance(applied.outcome, InSync)
    done = bench.ledgers.records[EMAIL]
    assert (done.intent, done.origin, done.unique_id) == (None, Origin.CREATED, "111")
    assert bench.steps[-1] == "account settled"


async def test_a_create_that_was_lost_on_its_way_is_made_again(bench: Bench) -> None:
    bench.google.faults = {"create": Fault.UNAVAILABLE}
    with pytest.raises(GoogleError):
        await bench.make()
    assert EMAIL in bench.ledgers.records
    await bench.follow()
    assert bench.google.calls == ["create checkout", "create checkout"]
    assert EMAIL in bench.google.existing


async def test_a_create_that_google_refuses_leaves_no_record(bench: Bench) -> None:
    bench.google.faults = {"create": Fault.PERMISSION_DENIED}
    with pytest.raises(GoogleError):
        await bench.make()
    assert bench.ledgers.records == {}


async def test_an_account_found_in_the_attempt_is_somebody_elses(bench: Bench) -> None:
    bench.google.put(EMAIL, "999")
    applied = await bench.make()
    assert isinstance(applied.outcome, Refused)
    assert applied.outcome.reason is Reason.CONFLICT
    assert bench.ledgers.records == {}


async def test_the_email_of_googles_reply_is_the_one_that_is_recorded(bench: Bench) -> None:
    bench.google.email_of = lambda account_id: f"{account_id}@elsewhere.example"
    await bench.make()
    assert set(bench.ledgers.records) == {"checkout@elsewhere.example"}


async def test_a_fresh_account_that_flaps_is_waited_for(bench: Bench) -> None:
    await bench.make()
    account = bench.google.existing.pop(EMAIL)
    assert isinstance((await bench.follow()).outcome, Waiting)
    bench.google.existing[EMAIL] = account
    outcomes = [(await bench.follow()).outcome for _ in range(GOOD_READS)]
    assert [type(outcome) for outcome in outcomes] == [Waiting] * (GOOD_READS - 1) + [InSync]


async def test_a_denied_read_is_lag_of_a_fresh_account_alone(bench: Bench) -> None:
    await bench.make()
    bench.google.faults = {"get": Fault.PERMISSION_DENIED}
    assert await bench.accounts.read(PROJECT_ID, bench.ledgers.records[EMAIL], 0) is None
    bench.now += GRACE + 1
    bench.google.faults = {"get": Fault.PERMISSION_DENIED}
    with pytest.raises(GoogleError):
        await bench.accounts.read(PROJECT_ID, bench.ledgers.records[EMAIL], 0)


async def test_adopting_takes_the_identity_and_the_project(bench: Bench) -> None:
    seen = bench.google.put(EMAIL, "999")
    refused = await bench.make(seen=seen, adoption=Adoption.ADOPT)
    assert refused.outcome.reason is Reason.DENIED_BY_GUARDRAIL
    assert bench.ledgers.history == []

    adopted = await bench.make(project(**ADOPTABLE), seen, adoption=Adoption.ADOPT)
    assert isinstance(adopted.outcome, InSync)
    taken = bench.ledgers.records[EMAIL]
    assert (taken.intent, taken.origin, taken.unique_id) == (None, Origin.ADOPTED, "999")


async def test_an_account_that_another_identity_records_is_not_taken(bench: Bench) -> None:
    bench.ledgers.keep(record(owner="payments/other"))
    applied = await bench.make(project(**ADOPTABLE), bench.google.put(EMAIL), adoption=Adoption.ADOPT)
    assert isinstance(applied.outcome, Refused)
    assert "payments/other" in applied.outcome.message
    assert bench.ledgers.records[EMAIL].owner == "payments/other"
    assert bench.google.calls == []


async def test_only_ones_own_record_is_forgotten(bench: Bench) -> None:
    bench.ledgers.keep(record(owner="payments/other"))
    await bench.accounts.forget(Owner(identity(), PROJECT_ID), EMAIL)
    assert bench.ledgers.records[EMAIL].owner == "payments/other"


async def test_an_adopted_account_keeps_what_the_identity_leaves_open(bench: Bench) -> None:
    seen = bench.google.put(EMAIL, display_name="theirs", description="old")
    await bench.make(project(**ADOPTABLE), seen, adoption=Adoption.ADOPT, description="new")
    kept = bench.google.existing[EMAIL]
    assert (kept.display_name, kept.description) == ("theirs", "new")


@pytest.mark.parametrize(("before", "verb"), [(False, "disable"), (True, "enable")])
async def test_the_switch_alone_is_written_where_it_alone_differs(
    bench: Bench, before: bool, verb: str
) -> None:
    bench.google.put(EMAIL, disabled=before)
    applied = await bench.keep(disabled=not before)
    assert applied.seen.disabled is not before
    assert bench.google.calls == [f"{verb} 111"]


async def test_what_is_as_declared_is_not_written(bench: Bench) -> None:
    bench.google.put(EMAIL)
    assert isinstance((await bench.keep()).outcome, InSync)
    assert bench.google.calls == []


async def test_an_account_of_another_unique_id_is_a_conflict(bench: Bench) -> None:
    bench.google.put(EMAIL, "999", display_name="theirs")
    applied = await bench.keep(displayName="ours")
    assert isinstance(applied.outcome, Refused)
    assert "999" in applied.outcome.message
    assert "111" in applied.outcome.message
    assert bench.google.calls == []


async def test_an_account_that_was_deleted_is_undeleted(bench: Bench) -> None:
    bench.google.deleted["111"] = ServiceAccount(PROJECT_ID, EMAIL, "111")
    assert isinstance((await bench.keep()).outcome, Waiting)
    assert bench.google.existing[EMAIL].unique_id == "111"


@pytest.mark.parametrize("kind", [Fault.NOT_FOUND, Fault.FAILED_PRECONDITION, Fault.ALREADY_EXISTS])
async def test_an_undelete_that_google_refuses_needs_a_person(bench: Bench, kind: Fault) -> None:
    bench.google.faults = {"undelete": kind}
    applied = await bench.keep()
    assert isinstance(applied.outcome, Refused)
    assert applied.outcome.reason is Reason.CONFLICT
    assert "delete this object and create it anew" in applied.outcome.message
    assert bench.google.calls == ["undelete 111"], "it is never created under the identity's nose"


async def test_an_undelete_that_fails_otherwise_is_tried_again(bench: Bench) -> None:
    bench.google.faults = {"undelete": Fault.UNAVAILABLE}
    with pytest.raises(GoogleError):
        await bench.keep()


async def test_a_fresh_account_that_is_missing_is_not_undeleted(bench: Bench) -> None:
    bench.probation.begin(EMAIL)
    assert isinstance((await bench.keep()).outcome, Waiting)
    assert bench.google.calls == []


async def test_what_is_forgotten_is_neither_recorded_nor_fresh(bench: Bench) -> None:
    await bench.make()
    await bench.accounts.forget(Owner(identity(), PROJECT_ID), EMAIL)
    assert bench.ledgers.records == {}
    assert not bench.probation.is_fresh(EMAIL)
