"""Deletion of an identity: the order of the steps, and the accounts that are kept."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from cloudrun_identity.api import (
    AccountLoss,
    KeyState,
    LedgerAccount,
    LedgerKey,
    ObjectMeta,
    Origin,
    Reason,
    WorkloadKind,
)
from cloudrun_identity.controllers.cloud_run_identity.deletion import RESTORE_RECHECK, USE_RECHECK
from cloudrun_identity.controllers.cloud_run_identity.propagation import GONE_AFTER
from cloudrun_identity.controllers.new_accounts import GRACE
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.ledger.keys import KeyRing
from cloudrun_identity.reconcile.outcomes import InSync, Outcome, Waiting
from tests.unit.controllers.cloud import PROJECT_ID
from tests.unit.controllers.cluster_state import EMAIL, identity, parsed, record

from .account_bench import NOON, AccountBench

CREATED = record(origin=Origin.CREATED)
LENT: dict[str, Any] = {"locations": ["europe-west1"]}
NONE: Any = None
DAY = {"disableBeforeDelete": "24h"}


class Bench(AccountBench):
    """A bench with an account that exists."""

    def __init__(self) -> None:
        super().__init__()
        self.google.put(EMAIL)

    async def begin(self, kept: LedgerAccount | None = CREATED, **options: Any) -> Outcome:
        """Reconcile the deletion once, of an identity whose account is recorded as `kept`."""
        if kept:
            self.ledgers.keep(kept)
        return await self.delete(**options)


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_grants_are_released_first_and_the_record_removed_last(bench: Bench) -> None:
    assert await bench.begin() == InSync()
    assert bench.steps == ["grants released", "account deleted"]
    assert bench.releases.abandoned == [False]
    assert bench.releases.ends == [f"serviceAccount:{EMAIL}"], "no `deleted:` member stays in a policy"
    assert bench.google.existing == {}
    assert bench.ledgers.records == {}


async def test_account_is_kept_until_its_grants_are_released(bench: Bench) -> None:
    bench.releases.outcome = Waiting(Reason.DELETING, "releasing grants", after=1.0)
    assert await bench.begin() == bench.releases.outcome
    assert EMAIL in bench.google.existing
    assert EMAIL in bench.ledgers.records


async def test_identity_without_an_account_releases_its_grants(bench: Bench) -> None:
    assert await bench.begin(None) == InSync()
    assert bench.releases.abandoned == [False]
    assert bench.google.calls == []


async def test_account_in_use_is_kept_and_its_workloads_are_named(bench: Bench) -> None:
    bench.run.services = {("europe-west1", "web"): EMAIL.upper(), ("europe-west1", "other"): "x@example.com"}
    outcome = await bench.begin()
    assert isinstance(outcome, Waiting)
    assert outcome.reason is Reason.IN_USE
    assert outcome.after is not None
    assert "web" in outcome.message
    assert "europe-west1/other" not in outcome.message
    assert bench.releases.abandoned == []


async def test_message_counts_workloads_beyond_the_first_three(bench: Bench) -> None:
    bench.run.services = {("europe-west1", f"web-{number}"): EMAIL for number in range(5)}
    outcome = await bench.begin()
    assert isinstance(outcome, Waiting)
    assert "and 2 more" in outcome.message


async def test_location_that_cannot_be_read_counts_as_use(bench: Bench) -> None:
    bench.run.unreadable = {"europe-west1"}
    outcome = await bench.begin()
    assert isinstance(outcome, Waiting)
    assert "europe-west1, which cannot be read (you may not look)" in outcome.message
    assert EMAIL in bench.google.existing


@pytest.mark.parametrize(("waited", "fresh"), [(0, True), (60, False)])
async def test_workload_deployed_just_before_the_deletion_counts(
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
    outcome = await bench.delete_object(obj)
    assert isinstance(outcome, Waiting) is fresh, "a deletion that waits shares lists with others"


async def test_account_in_use_is_deleted_without_protection(bench: Bench) -> None:
    bench.run.services = {("europe-west1", "web"): EMAIL}
    assert await bench.begin(deletionProtection="None") == InSync()
    assert bench.google.existing == {}


@pytest.mark.parametrize("by_namespace", [False, True])
async def test_forced_deletion_leaves_an_account_in_use_with_an_event(
    bench: Bench, by_namespace: bool
) -> None:
    bench.run.services = {("europe-west1", "web"): EMAIL}
    bench.terminating = by_namespace
    assert await bench.begin(forced=not by_namespace) == InSync()
    assert bench.releases.abandoned == [True]
    assert EMAIL in bench.google.existing
    assert bench.events.reasons == ["Abandoned"]
    left = bench.record.abandoned
    assert left
    assert "in use by Service europe-west1/web" in left.reason
    assert left.time == NOON
    assert bench.own_record() is None, "an object of the same name does not inherit it"


def deleted_at(seconds: float = 0.0, **spec: Any) -> Any:
    """Return the identity with this spec, deleted so many seconds after NOON."""
    at = NOON + timedelta(seconds=seconds)
    metadata = ObjectMeta(name="checkout", namespace="payments", uid="u-checkout", deletion_timestamp=at)
    return identity(**spec).model_copy(update={"metadata": metadata})


async def test_account_in_use_is_left_after_the_declared_time(bench: Bench) -> None:
    bench.ledgers.keep(CREATED)
    bench.run.services = {("europe-west1", "web"): EMAIL}
    waiting = await bench.delete_object(deleted_at())
    assert waiting == Waiting(
        Reason.IN_USE,
        f"Service account {EMAIL} is not deleted while workloads run as it: Service europe-west1/web; move "
        "them to another account, or set spec.deletionPolicy to Abandon; at 2026-03-01T12:02:00Z it is left "
        "with its grants (spec.abandonInUseAfter), and an object of the same name can take it back",
        USE_RECHECK,
    )
    bench.now = 110.0
    assert await bench.delete_object(deleted_at()) == replace(waiting, after=10.0)
    bench.now = 120.0
    assert isinstance(await bench.delete_object(deleted_at(abandonInUseAfter="1h")), Waiting)
    assert await bench.delete_object(deleted_at()) == InSync()
    assert bench.releases.abandoned == [True]
    assert bench.events.reasons == ["Abandoned"]
    assert (EMAIL in bench.google.existing, bench.record.left_by) == (True, "payments/checkout")


async def test_left_account_keeps_its_places_of_use(bench: Bench) -> None:
    place = f"{PROJECT_ID}/us-east1"
    bench.run.services = {("us-east1", "web"): EMAIL}
    assert await bench.begin(CREATED.replace(used_in=(place,)), forced=True) == InSync()
    assert bench.record.used_in == (place,)
    assert (await bench.step()).outcome == InSync()
    assert bench.record.owner == "payments/checkout", "taken back"
    assert place in bench.record.used_in


@pytest.mark.parametrize("recorded", [True, False])
async def test_recorded_place_counts_without_an_object_that_names_it(bench: Bench, recorded: bool) -> None:
    bench.run.services = {("us-east1", "web"): EMAIL}
    used_in = (f"{PROJECT_ID}/us-east1",) if recorded else ()
    outcome = await bench.begin(CREATED.replace(used_in=used_in))
    assert isinstance(outcome, Waiting) is recorded
    assert not isinstance(outcome, Waiting) or "Service us-east1/web" in outcome.message


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (
            CREATED.replace(used_in=("gone-1234/us-east1",)),
            "workloads of project gone-1234, which has no valid",
        ),
        (CREATED.replace(used_elsewhere=True), "workloads in more places than the 256"),
    ],
)
async def test_place_that_cannot_be_looked_at_counts_as_use(
    bench: Bench, record: LedgerAccount, said: str
) -> None:
    outcome = await bench.begin(record)
    assert isinstance(outcome, Waiting)
    assert said in outcome.message
    assert "spec.deletionProtection to None" in outcome.message


@pytest.mark.parametrize("policy", ["Restore", "Abandon"])
async def test_terminating_namespace_waits_for_restored_workloads(bench: Bench, policy: str) -> None:
    bench.ledgers.keep(CREATED)
    bench.run.services = {("europe-west1", "web"): EMAIL}
    bench.terminating = True
    bench.attachments = [being_deleted(policy)]
    outcome = await bench.delete_object(deleted_at())
    if policy == "Abandon":
        assert outcome == InSync()
        return
    assert isinstance(outcome, Waiting)
    assert outcome.after == RESTORE_RECHECK
    assert "IdentityAttachment payments/web restores the former account" in outcome.message
    bench.now = 120.0
    assert await bench.delete_object(deleted_at()) == InSync()


def being_deleted(policy: str) -> Any:
    """Return an attachment of the identity that is being deleted."""
    obj = parsed(
        """
kind: IdentityAttachment
metadata: {name: web, namespace: payments, uid: u-web, generation: 1}
spec:
  projectRef: {name: payments-prod}
  workload: {kind: Service, location: europe-west1, name: web}
  identityRef: {name: checkout}
""",
        deletionPolicy=policy,
    )
    metadata = obj.metadata.model_copy(update={"deletion_timestamp": NOON})
    return obj.model_copy(update={"metadata": metadata})


async def test_a_long_reason_for_leaving_an_account_holds_nothing_up(bench: Bench) -> None:
    bench.run.services = {("europe-west1", "w" * 300): EMAIL}
    assert await bench.begin(forced=True) == InSync()
    left = bench.record.abandoned
    assert left
    assert len(left.reason) == 256


async def test_forced_deletion_deletes_an_unused_account(bench: Bench) -> None:
    assert await bench.begin(forced=True) == InSync()
    assert bench.google.existing == {}
    assert bench.events.reasons == []


@pytest.mark.parametrize(("abandon", "spec"), [(True, {}), (False, {"deletionPolicy": "Abandon"})])
async def test_abandoned_account_is_left_without_a_call(
    bench: Bench, abandon: bool, spec: dict[str, Any]
) -> None:
    bench.run.services = {("europe-west1", "web"): EMAIL}
    assert await bench.begin(abandon=abandon, **spec) == InSync()
    assert bench.google.calls == []
    assert bench.releases.abandoned == [True]
    assert (bench.record.owner, bench.record.left_by) == ("", "payments/checkout")
    assert bench.own_record() is None
    assert bench.events.reasons == []


@pytest.mark.parametrize(
    ("origin", "policy", "goes"),
    [
        (Origin.CREATED, "DeleteIfCreated", True),
        (Origin.ADOPTED, "DeleteIfCreated", False),
        (Origin.ADOPTED, "Delete", True),
    ],
)
async def test_deletion_policy_decides_which_accounts_are_deleted(
    bench: Bench, origin: Origin, policy: str, goes: bool
) -> None:
    assert await bench.begin(record(origin=origin), deletionPolicy=policy) == InSync()
    assert (EMAIL not in bench.google.existing) is goes


async def test_replaced_account_is_left_with_an_event(bench: Bench) -> None:
    bench.google.put(EMAIL, "999")
    assert await bench.begin() == InSync()
    assert bench.google.existing[EMAIL].unique_id == "999"
    assert bench.events.reasons == ["Replaced"]
    assert any(each and each.lost is AccountLoss.REPLACED for each in bench.ledgers.history), (
        "the loss is recorded before grants are released, so that its policy is left as it is"
    )


async def test_account_that_was_never_settled_is_deleted(bench: Bench) -> None:
    bench.google.existing.clear()
    await bench.step()
    bench.restart()
    assert await bench.delete() == InSync()
    assert bench.google.existing == {}
    assert bench.ledgers.records == {}


async def test_fresh_account_that_is_not_visible_is_waited_for(bench: Bench) -> None:
    bench.google.existing.clear()
    await bench.step()
    bench.google.stale[EMAIL] = [None]
    waiting = await bench.delete()
    assert isinstance(waiting, Waiting)
    assert waiting.reason is Reason.PROPAGATION_PENDING
    assert await bench.delete() == InSync()
    assert bench.google.existing == {}


async def test_account_that_was_never_created_is_forgotten_in_the_end(bench: Bench) -> None:
    bench.google.existing.clear()
    bench.google.faults = {"create": Fault.UNAVAILABLE}
    with pytest.raises(GoogleError):
        await bench.step()
    assert isinstance(await bench.delete(), Waiting)
    bench.now += GRACE + 1
    assert await bench.delete() == InSync()


async def test_account_of_another_client_is_left_after_a_lost_create(bench: Bench) -> None:
    bench.google.existing.clear()
    bench.google.faults = {"create": Fault.UNAVAILABLE}
    with pytest.raises(GoogleError):
        await bench.step()
    bench.google.put(EMAIL, "999")
    assert await bench.delete() == InSync()
    assert EMAIL in bench.google.existing
    assert bench.ledgers.records == {}


async def test_account_deleted_already_is_forgotten_even_if_in_use(
    bench: Bench,
) -> None:
    bench.google.existing.clear()
    bench.run.services = {("europe-west1", "web"): EMAIL}
    assert await bench.begin() == InSync()
    assert bench.ledgers.records == {}
    assert bench.releases.abandoned == [False]


async def test_deletion_goes_on_after_a_crash(bench: Bench) -> None:
    bench.google.lost = {"delete"}
    with pytest.raises(GoogleError):
        await bench.begin(CREATED.replace(appeared_time=NOON))
    bench.restart()
    for _ in range(GONE_AFTER - 1):
        assert isinstance(await bench.delete(), Waiting)
    assert await bench.delete() == InSync()
    assert bench.ledgers.records == {}


FRESH = CREATED.replace(appeared_time=NOON)


@pytest.mark.parametrize("misses", [1, GONE_AFTER - 1])
async def test_fresh_account_that_a_delete_does_not_find_is_deleted_later(bench: Bench, misses: int) -> None:
    bench.google.faults = {"delete": Fault.NOT_FOUND}
    waiting = await bench.begin(FRESH)
    assert isinstance(waiting, Waiting)
    assert waiting.reason is Reason.PROPAGATION_PENDING
    for _ in range(misses - 1):
        bench.google.faults = {"delete": Fault.NOT_FOUND}
        assert isinstance(await bench.delete(), Waiting)
    assert await bench.delete() == InSync()
    assert bench.google.existing == {}
    assert bench.ledgers.records == {}


async def test_read_that_shows_a_fresh_account_starts_the_count_again(bench: Bench) -> None:
    bench.google.faults = {"delete": Fault.NOT_FOUND}
    await bench.begin(FRESH)
    for _ in range(2 * GONE_AFTER):  # each read shows the account, each delete does not find it
        bench.google.faults = {"delete": Fault.NOT_FOUND}
        assert isinstance(await bench.delete(), Waiting)
    bench.google.faults = {}
    assert await bench.delete() == InSync()
    assert bench.google.existing == {}


async def test_old_account_that_a_delete_does_not_find_is_deleted(bench: Bench) -> None:
    bench.google.faults = {"delete": Fault.NOT_FOUND}
    assert await bench.begin(CREATED) == InSync()
    assert bench.ledgers.records == {}


async def test_account_is_disabled_for_the_declared_time(bench: Bench) -> None:
    waiting = await bench.begin(**DAY)
    assert isinstance(waiting, Waiting)
    assert waiting.reason is Reason.DELETING
    assert "until 2026-03-02T12:00:00Z" in waiting.message
    assert bench.google.existing[EMAIL].disabled
    assert bench.releases.abandoned == [], "grants stay while the account may be enabled again"
    bench.restart()
    bench.now += 24 * 3600 - 1
    assert await bench.delete(**DAY) == replace(waiting, after=1.0)
    bench.now += 1
    assert await bench.delete(**DAY) == InSync()
    assert bench.google.existing == {}


async def test_edit_ends_the_wait_of_a_disabled_account(bench: Bench) -> None:
    assert isinstance(await bench.begin(**DAY), Waiting)
    assert await bench.delete() == InSync()
    assert bench.google.existing == {}


async def test_account_that_was_disabled_before_is_waited_for(bench: Bench) -> None:
    bench.google.put(EMAIL, disabled=True)
    assert isinstance(await bench.begin(**DAY), Waiting)
    assert "disable 111" not in bench.google.calls
    assert bench.record.disabled_time == NOON


async def test_stale_read_after_disabling_does_not_keep_the_account(bench: Bench) -> None:
    enabled = bench.google.existing[EMAIL]
    first = await bench.begin(**DAY)
    bench.google.stale[EMAIL] = [enabled]
    assert await bench.delete(**DAY) == first


async def test_account_that_was_enabled_again_is_kept(bench: Bench) -> None:
    await bench.begin(**DAY)
    bench.google.put(EMAIL)
    bench.now += 24 * 3600
    waiting = await bench.delete(**DAY)
    assert isinstance(waiting, Waiting)
    assert waiting.reason is Reason.IN_USE
    assert EMAIL in bench.google.existing

    bench.now += 120
    assert await bench.delete(**DAY) == InSync()
    assert bench.releases.abandoned == [True]
    assert EMAIL in bench.google.existing
    assert "another client enabled it again" in bench.events.messages[0]


async def test_account_enabled_again_does_not_block_its_namespace(bench: Bench) -> None:
    await bench.begin(**DAY)
    bench.google.put(EMAIL)
    bench.now += 60  # no read of before is accepted any more
    bench.terminating = True
    assert await bench.delete(**DAY) == InSync()
    assert EMAIL in bench.google.existing


async def test_account_that_came_into_use_while_disabled_is_kept(bench: Bench) -> None:
    await bench.begin(**DAY)
    bench.run.services = {("europe-west1", "web"): EMAIL}
    bench.now += 48 * 3600
    waiting = await bench.delete(**DAY)
    assert isinstance(waiting, Waiting)
    assert waiting.reason is Reason.IN_USE


async def test_adopted_account_that_is_left_is_not_disabled(bench: Bench) -> None:
    assert await bench.begin(record(origin=Origin.ADOPTED), **DAY) == InSync()
    assert not bench.google.existing[EMAIL].disabled


async def test_failed_deletion_keeps_the_record(bench: Bench) -> None:
    bench.google.faults = {"delete": Fault.PERMISSION_DENIED}
    with pytest.raises(GoogleError):
        await bench.begin()
    assert EMAIL in bench.ledgers.records


async def test_left_key_counts_as_use_and_ends_with_the_account(bench: Bench) -> None:
    left = LedgerKey(
        id="k1", owner="payments/batch", state=KeyState.ACTIVE, created_time=NOON, left=True, digest="d"
    )
    bench.ledgers.keep(CREATED)
    target = next(iter(bench.ledgers.stored))
    kept = bench.ledgers.stored[target].with_key_ring(KeyRing().with_records([left]))
    bench.ledgers.stored[target] = kept
    outcome = await bench.delete()
    assert isinstance(outcome, Waiting)
    assert "a client with key k1, which IdentityKey payments/batch left" in outcome.message

    assert await bench.delete(deletionProtection="None") == InSync()
    assert bench.ledgers.stored[target].keys == ()
