"""The end of an identity: what is undone, in which order, and what is never done under a workload."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from cloudrun_identity.api import (
    FORCE_DELETE,
    AccountLoss,
    LedgerAccount,
    ObjectMeta,
    Origin,
    Reason,
    WorkloadKind,
)
from cloudrun_identity.controllers.cloud_run_identity.deletion import IdentityDeletion
from cloudrun_identity.controllers.cloud_run_identity.propagation import GRACE
from cloudrun_identity.controllers.cloud_run_identity.usage import Usage
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.reconcile.events import EventReporter
from cloudrun_identity.reconcile.outcomes import InSync, Outcome, Waiting
from tests.unit.controllers.cloud import PROJECT_ID
from tests.unit.controllers.cluster_state import EMAIL, FakeWorld, identity, project, record

from .account_bench import NOON, AccountBench

CREATED = record(origin=Origin.CREATED)
LENT: dict[str, Any] = {"locations": ["europe-west1"]}
NONE: Any = None
DAY = {"disableBeforeDelete": "24h"}


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


class ClusterState(FakeWorld):
    terminating = False

    def is_terminating(self, namespace: str) -> bool:
        return self.terminating


class Bench(AccountBench):
    def __init__(self) -> None:
        self.releaser = FakeReleaser()
        self.events = Events()
        self.terminating = False
        super().__init__()
        self.google.put(EMAIL)

    def restart(self) -> None:
        super().restart()
        self.deletion = IdentityDeletion(
            self.deps,
            self.accounts,
            Usage(self.inventory),
            self.releaser,
            EventReporter(self.events, NONE),
        )

    async def delete(
        self,
        kept: LedgerAccount | None = CREATED,
        *,
        abandon: bool = False,
        forced: bool = False,
        **spec: Any,
    ) -> Outcome:
        """The first step of a deletion, of an identity whose account is recorded as `kept`."""
        if kept:
            self.ledgers.keep(kept)
        return await self.go_on(abandon=abandon, forced=forced, **spec)

    async def go_on(self, *, abandon: bool = False, forced: bool = False, **spec: Any) -> Outcome:
        """One more step of it."""
        obj = identity(**spec)
        if forced:
            obj = obj.model_copy(
                update={"metadata": obj.metadata.model_copy(update={"annotations": {FORCE_DELETE: "true"}})}
            )
        record = self.own_record()
        cluster = ClusterState(project(**LENT), obj, accounts=[record] if record else [])
        cluster.terminating = self.terminating
        return await self.deletion.delete(obj, cluster, abandon=abandon)


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
    assert "europe-west1/other" not in outcome.message
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


@pytest.mark.parametrize(("waited", "fresh"), [(0, True), (60, False)])
async def test_what_was_deployed_just_before_the_deletion_is_seen(
    bench: Bench, waited: int, fresh: bool
) -> None:
    assert await bench.inventory.workloads(PROJECT_ID, "europe-west1", WorkloadKind.SERVICE, 1.0) == {}
    bench.run.services = {("europe-west1", "web"): EMAIL}
    bench.now += 0.5
    asked = ObjectMeta(
        name="checkout", namespace="payments", deletion_timestamp=NOON - timedelta(seconds=waited)
    )
    bench.ledgers.keep(CREATED)
    obj = identity().model_copy(update={"metadata": asked})
    cluster = ClusterState(project(**LENT), obj, accounts=[CREATED])
    outcome = await bench.deletion.delete(obj, cluster, abandon=False)
    assert isinstance(outcome, Waiting) is fresh, "while it waits, lists are shared with others"


async def test_use_is_not_looked_for_without_protection(bench: Bench) -> None:
    bench.run.services = {("europe-west1", "web"): EMAIL}
    assert await bench.delete(deletionProtection="None") == InSync()
    assert bench.google.existing == {}


@pytest.mark.parametrize("by_namespace", [False, True])
async def test_a_forced_deletion_in_use_leaves_the_account_and_says_so(
    bench: Bench, by_namespace: bool
) -> None:
    bench.run.services = {("europe-west1", "web"): EMAIL}
    bench.terminating = by_namespace
    assert await bench.delete(forced=not by_namespace) == InSync()
    assert bench.releaser.asked == [True]
    assert EMAIL in bench.google.existing
    assert bench.events.reasons == ["Abandoned"]
    left = bench.record.abandoned
    assert left
    assert "Service europe-west1/web runs as it" in left.reason
    assert left.time == NOON
    assert bench.own_record() is None, "an object of the same name does not inherit it"


async def test_a_long_reason_for_leaving_an_account_holds_nothing_up(bench: Bench) -> None:
    bench.run.services = {("europe-west1", "w" * 300): EMAIL}
    assert await bench.delete(forced=True) == InSync()
    left = bench.record.abandoned
    assert left
    assert len(left.reason) == 256


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
    assert bench.events.reasons == ["Replaced"]
    assert any(each and each.lost is AccountLoss.REPLACED for each in bench.ledgers.history), (
        "its policy is somebody else's, and lanes must know before grants are released"
    )


async def test_a_creation_that_was_never_seen_through_is_undone(bench: Bench) -> None:
    bench.google.existing.clear()
    await bench.step()
    bench.restart()
    assert await bench.go_on() == InSync()
    assert bench.google.existing == {}
    assert bench.ledgers.records == {}


async def test_what_was_created_a_moment_ago_and_is_hidden_by_lag_is_waited_for(bench: Bench) -> None:
    bench.google.existing.clear()
    await bench.step()
    bench.google.stale[EMAIL] = [None]
    waiting = await bench.go_on()
    assert isinstance(waiting, Waiting)
    assert waiting.reason is Reason.PROPAGATION_PENDING
    assert await bench.go_on() == InSync()
    assert bench.google.existing == {}


async def test_an_account_that_was_never_made_holds_nothing_up_for_long(bench: Bench) -> None:
    bench.google.existing.clear()
    bench.google.faults = {"create": Fault.UNAVAILABLE}
    with pytest.raises(GoogleError):
        await bench.step()
    assert isinstance(await bench.go_on(), Waiting)
    bench.now += GRACE + 1
    assert await bench.go_on() == InSync()


async def test_somebody_elses_account_in_the_place_of_one_never_made_is_left(bench: Bench) -> None:
    bench.google.existing.clear()
    bench.google.faults = {"create": Fault.UNAVAILABLE}
    with pytest.raises(GoogleError):
        await bench.step()
    bench.google.put(EMAIL, "999")
    assert await bench.go_on() == InSync()
    assert EMAIL in bench.google.existing
    assert bench.ledgers.records == {}


async def test_an_account_that_is_gone_already_is_forgotten_even_if_a_workload_names_it(
    bench: Bench,
) -> None:
    bench.google.existing.clear()
    bench.run.services = {("europe-west1", "web"): EMAIL}
    assert await bench.delete() == InSync()
    assert bench.ledgers.records == {}
    assert bench.releaser.asked == [False]


async def test_a_crash_after_the_account_went_is_carried_on(bench: Bench) -> None:
    bench.google.lost = {"delete"}
    with pytest.raises(GoogleError):
        await bench.delete(CREATED.replace(appeared_time=NOON))
    bench.restart()
    assert await bench.go_on() == InSync(), "a delete by unique id that finds nothing is no lag"
    assert bench.ledgers.records == {}


async def test_an_account_is_disabled_for_as_long_as_was_asked_for(bench: Bench) -> None:
    waiting = await bench.delete(**DAY)
    assert isinstance(waiting, Waiting)
    assert waiting.reason is Reason.DELETING
    assert "until 2026-03-02T12:00:00Z" in waiting.message
    assert bench.google.existing[EMAIL].disabled
    assert bench.releaser.asked == [], "grants stay while it may still be enabled again"
    bench.restart()
    bench.now += 24 * 3600 - 1
    assert await bench.go_on(**DAY) == replace(waiting, after=1.0)
    bench.now += 1
    assert await bench.go_on(**DAY) == InSync()
    assert bench.google.existing == {}


async def test_the_wait_of_a_disabled_account_ends_with_an_edit(bench: Bench) -> None:
    assert isinstance(await bench.delete(**DAY), Waiting)
    assert await bench.go_on() == InSync()
    assert bench.google.existing == {}


async def test_an_account_that_was_disabled_before_is_waited_for_all_the_same(bench: Bench) -> None:
    bench.google.put(EMAIL, disabled=True)
    assert isinstance(await bench.delete(**DAY), Waiting)
    assert "disable 111" not in bench.google.calls
    assert bench.record.disabled_time == NOON


async def test_a_stale_read_after_the_disabling_is_nobodys_veto(bench: Bench) -> None:
    enabled = bench.google.existing[EMAIL]
    first = await bench.delete(**DAY)
    bench.google.stale[EMAIL] = [enabled]
    assert await bench.go_on(**DAY) == first


async def test_whoever_enables_the_account_again_keeps_it(bench: Bench) -> None:
    await bench.delete(**DAY)
    bench.google.put(EMAIL)
    bench.now += 48 * 3600
    waiting = await bench.go_on(**DAY)
    assert isinstance(waiting, Waiting)
    assert waiting.reason is Reason.IN_USE
    assert EMAIL in bench.google.existing


async def test_an_account_that_came_into_use_while_disabled_is_kept(bench: Bench) -> None:
    await bench.delete(**DAY)
    bench.run.services = {("europe-west1", "web"): EMAIL}
    bench.now += 48 * 3600
    waiting = await bench.go_on(**DAY)
    assert isinstance(waiting, Waiting)
    assert waiting.reason is Reason.IN_USE


async def test_an_adopted_account_that_stays_is_not_disabled(bench: Bench) -> None:
    assert await bench.delete(record(origin=Origin.ADOPTED), **DAY) == InSync()
    assert not bench.google.existing[EMAIL].disabled


async def test_a_deletion_that_fails_keeps_the_record(bench: Bench) -> None:
    bench.google.faults = {"delete": Fault.PERMISSION_DENIED}
    with pytest.raises(GoogleError):
        await bench.delete()
    assert EMAIL in bench.ledgers.records
