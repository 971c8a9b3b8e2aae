"""The end of an identity: what is undone, in which order, and what is never done under a workload."""

from dataclasses import replace
from typing import Any

import pytest

from cloudrun_identity.api import FORCE_DELETE, Origin, Reason
from cloudrun_identity.controllers.accounts import Accounts
from cloudrun_identity.controllers.announcements import Announcer
from cloudrun_identity.controllers.identity_deletion import IdentityDeletion
from cloudrun_identity.controllers.outcomes import InSync, Outcome, Waiting
from cloudrun_identity.controllers.probation import Probation
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.ledger import AccountRecord

from .cloud import FakeAccountLedgers, FakeRun, FakeServiceAccounts, inventory
from .world import EMAIL, FakeWorld, identity, project, record

CREATED = record(origin=Origin.CREATED)
LENT: dict[str, Any] = {"locations": ["europe-west1"]}
NONE: Any = None


class Events:
    def __init__(self) -> None:
        self.reasons: list[str] = []

    def record(self, obj: Any, event_type: Any, reason: str, message: str) -> None:
        self.reasons.append(reason)


class FakeReleaser:
    """Answers as it is told; `asked` is whether each release was to abandon."""

    def __init__(self) -> None:
        self.answer: Outcome = InSync()
        self.asked: list[bool] = []

    async def release(self, obj: Any, *, abandon: bool) -> Outcome:
        self.asked.append(abandon)
        return self.answer


class World(FakeWorld):
    terminating = False

    def is_terminating(self, namespace: str) -> bool:
        return self.terminating


class Bench:
    def __init__(self) -> None:
        self.google = FakeServiceAccounts()
        self.google.put(EMAIL)
        self.run = FakeRun()
        self.ledgers = FakeAccountLedgers()
        self.releaser = FakeReleaser()
        self.events = Events()
        self.steps: list[str] = []
        self.terminating = False
        known = inventory(self.google, self.run, lambda: 1000.0)
        accounts: Any = self.google
        self.deletion = IdentityDeletion(
            accounts,
            known,
            self.ledgers,
            Accounts(accounts, known, self.ledgers, Probation(lambda: 1000.0), self.steps.append),
            self.releaser,  # type: ignore[arg-type]
            Announcer(self.events, NONE),
            self.steps.append,
        )

    async def delete(
        self,
        kept: AccountRecord | None = CREATED,
        *,
        abandon: bool = False,
        forced: bool = False,
        **spec: Any,
    ) -> Outcome:
        if kept:
            self.ledgers.keep(kept)
        obj = identity(**spec)
        if forced:
            obj = obj.model_copy(
                update={"metadata": obj.metadata.model_copy(update={"annotations": {FORCE_DELETE: "true"}})}
            )
        world = World(project(**LENT), obj, accounts=[kept] if kept else [])
        world.terminating = self.terminating
        return await self.deletion.delete(obj, world, abandon=abandon)


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_grants_go_before_the_account_and_the_record_last(bench: Bench) -> None:
    assert await bench.delete() == InSync()
    assert bench.steps == ["grants released", "account deleted"]
    assert bench.releaser.asked == [False]
    assert bench.google.existing == {}
    assert bench.ledgers.records == {}


async def test_an_account_whose_grants_still_stand_waits(bench: Bench) -> None:
    bench.releaser.answer = Waiting(Reason.DELETING, "letting go", after=1.0)
    assert await bench.delete() == bench.releaser.answer
    assert EMAIL in bench.google.existing
    assert EMAIL in bench.ledgers.records


async def test_an_identity_without_an_account_lets_go_of_its_grants_alone(bench: Bench) -> None:
    assert await bench.delete(None) == InSync()
    assert bench.releaser.asked == [False]
    assert bench.google.calls == []


async def test_an_account_in_use_is_kept_and_its_users_are_named(bench: Bench) -> None:
    bench.run.services = {("europe-west1", "web"): EMAIL.upper(), ("europe-west1", "other"): "x@example.com"}
    outcome = await bench.delete()
    assert isinstance(outcome, Waiting)
    assert outcome.reason is Reason.IN_USE
    assert outcome.after is not None
    assert "web" in outcome.message
    assert "other" not in outcome.message.split("run as it:")[1].split(";")[0]
    assert bench.releaser.asked == []


async def test_many_users_are_counted_not_listed(bench: Bench) -> None:
    bench.run.services = {("europe-west1", f"web-{number}"): EMAIL for number in range(5)}
    outcome = await bench.delete()
    assert isinstance(outcome, Waiting)
    assert "and 2 more" in outcome.message


async def test_a_place_that_cannot_be_read_counts_as_use(bench: Bench) -> None:
    bench.run.unreadable = {"europe-west1"}
    outcome = await bench.delete()
    assert isinstance(outcome, Waiting)
    assert "europe-west1, which cannot be read (you may not look)" in outcome.message
    assert EMAIL in bench.google.existing


async def test_use_is_not_looked_for_without_protection(bench: Bench) -> None:
    bench.run.services = {("europe-west1", "web"): EMAIL}
    assert await bench.delete(deletionProtection="None") == InSync()
    assert bench.google.existing == {}


@pytest.mark.parametrize("by_namespace", [False, True])
async def test_a_forced_deletion_in_use_abandons_with_a_warning(bench: Bench, by_namespace: bool) -> None:
    bench.run.services = {("europe-west1", "web"): EMAIL}
    bench.terminating = by_namespace
    assert await bench.delete(forced=not by_namespace) == InSync()
    assert bench.releaser.asked == [True]
    assert EMAIL in bench.google.existing
    assert bench.ledgers.records == {}
    assert bench.events.reasons == ["Abandoned"]


async def test_a_forced_deletion_of_an_unused_account_deletes_it(bench: Bench) -> None:
    assert await bench.delete(forced=True) == InSync()
    assert bench.google.existing == {}
    assert bench.events.reasons == []


@pytest.mark.parametrize(("abandon", "spec"), [(True, {}), (False, {"deletionPolicy": "Abandon"})])
async def test_abandoning_forgets_and_leaves_google_alone(
    bench: Bench, abandon: bool, spec: dict[str, Any]
) -> None:
    bench.run.services = {("europe-west1", "web"): EMAIL}
    assert await bench.delete(abandon=abandon, **spec) == InSync()
    assert bench.google.calls == []
    assert bench.releaser.asked == [True]
    assert bench.ledgers.records == {}


@pytest.mark.parametrize(
    ("origin", "policy", "goes"),
    [
        (Origin.CREATED, "DeleteIfCreated", True),
        (Origin.ADOPTED, "DeleteIfCreated", False),
        (Origin.ADOPTED, "Delete", True),
    ],
)
async def test_the_deletion_policy_says_which_account_goes(
    bench: Bench, origin: Origin, policy: str, goes: bool
) -> None:
    assert await bench.delete(record(origin=origin), deletionPolicy=policy) == InSync()
    assert (EMAIL not in bench.google.existing) is goes


async def test_only_the_account_of_the_recorded_unique_id_is_deleted(bench: Bench) -> None:
    bench.google.put(EMAIL, "999")
    assert await bench.delete() == InSync()
    assert bench.google.existing[EMAIL].unique_id == "999"


async def test_a_creation_that_was_never_seen_through_is_looked_up(bench: Bench) -> None:
    assert await bench.delete(replace(CREATED, unique_id="")) == InSync()
    assert bench.google.calls == [f"get {EMAIL}", "delete 111"]


async def test_an_account_that_is_gone_already_is_forgotten(bench: Bench) -> None:
    bench.google.existing.clear()
    assert await bench.delete() == InSync()
    assert bench.ledgers.records == {}


async def test_a_deletion_that_fails_keeps_the_record(bench: Bench) -> None:
    bench.google.faults = {"delete": Fault.PERMISSION_DENIED}
    with pytest.raises(GoogleError):
        await bench.delete()
    assert EMAIL in bench.ledgers.records
