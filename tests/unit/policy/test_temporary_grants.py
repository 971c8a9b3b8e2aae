"""Temporary grants in the plan of a sync."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from cloudrun_identity.iam.expiry import Expiry, as_granted
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy import capacity, planning, temporary_grants
from cloudrun_identity.policy.desired_grants import RETAIN_ALL, DesiredGrant, DesiredGrants, Retain, Temporary
from cloudrun_identity.policy.planning import PolicyPlan, plan_policy
from cloudrun_identity.policy.review import SyncFacts
from cloudrun_identity.policy.settlement import without_abandoned
from cloudrun_identity.policy.steps import RetainGrant, RetainReason
from cloudrun_identity.policy.temporary_grants import is_due
from tests.unit.policy.strategies import TARGET

from .pure_sync import GRANT, NOON, ONE, TWO, State, policy_with, run_sync

HOUR = timedelta(hours=1)
LATER = NOON + 2 * HOUR


def lasting(owner: Owner = ONE, hours: int = 1, **fields: object) -> DesiredGrants:
    """Return the grants of an object with one that lasts some hours."""
    temporary = Temporary(GRANT, Expiry(duration=hours * HOUR))
    return replace(DesiredGrants(owner, frozenset({DesiredGrant(GRANT, temporary=temporary)})), **fields)


def by_google(end: datetime = LATER, **fields: object) -> DesiredGrants:
    """Return the grants of an object with one that Google Cloud ends, too."""
    temporary = Temporary(GRANT, Expiry(expires_at=end, by_google=True), NOON)
    desired = DesiredGrant(as_granted(GRANT, end, by_google=True), temporary=temporary)
    return replace(DesiredGrants(ONE, frozenset({desired})), **fields)


def permanent(owner: Owner = ONE) -> DesiredGrants:
    return DesiredGrants(owner, frozenset({DesiredGrant(GRANT)}))


def start(*declared: DesiredGrants, now: datetime = NOON) -> State:
    return run_sync(State(policy_with(), Ledger.of(TARGET)), declared or [lasting()], now=now)


def planned(state: State, *declared: DesiredGrants, now: datetime = LATER, **facts: object) -> PolicyPlan:
    return plan_policy(state.ledger, declared, state.present, SyncFacts(may_release=True, now=now, **facts))


@pytest.mark.parametrize(
    "owner",
    [
        DesiredGrants(ONE, retains=(RETAIN_ALL,), writable=False),
        DesiredGrants(ONE, retains=(RETAIN_ALL,)),
        lasting(writable=False),
        lasting(hours=1),
        DesiredGrants(ONE, ended=frozenset({GRANT})),
    ],
    ids=["suspended", "refused", "observed", "declared", "ended"],
)
def test_grant_that_is_over_is_removed_whatever_its_owner_declares(owner: DesiredGrants) -> None:
    state = start()
    assert run_sync(state, [owner], now=NOON + HOUR - timedelta(seconds=1)).present == {GRANT} or owner.ended
    after = run_sync(state, [owner], now=NOON + HOUR)
    assert after.present == set()
    assert not after.ledger.entries
    assert len(after.ledger.temporary) == 1, "the record outlives the grant"


def test_grant_of_an_owner_that_is_not_known_is_removed_when_it_is_over() -> None:
    after = run_sync(start(), [], now=LATER)
    assert after.present == set()
    assert run_sync(after, [], now=LATER).ledger.is_empty


def test_nothing_is_removed_before_all_objects_have_declared() -> None:
    assert run_sync(start(), [], now=LATER, may_release=False).present == {GRANT}


def test_grant_that_is_over_stays_in_an_observed_project() -> None:
    plan = planned(start(), lasting(), observed=True)
    assert plan.released == ()
    assert GRANT in plan.ledger.entries
    assert [step.reason for step in plan.steps if isinstance(step, RetainGrant)] == [
        RetainReason.PROJECT_OBSERVED
    ]


def test_shared_grant_lasts_until_the_end_of_its_last_owner() -> None:
    both = [lasting(ONE, 1), lasting(TWO, 3)]
    state = run_sync(start(*both), both, now=LATER)
    assert state.present == {GRANT}
    assert run_sync(state, both, now=NOON + 3 * HOUR).present == set()


def test_permanent_owner_keeps_a_grant_that_is_over_for_another() -> None:
    both = [lasting(ONE), permanent(TWO)]
    after = run_sync(start(*both), both, now=LATER)
    assert after.present == {GRANT}
    assert after.ledger.entries[GRANT].owners == (str(TWO),)


def test_grant_that_is_declared_as_permanent_now_is_not_removed() -> None:
    after = run_sync(start(), [permanent()], now=LATER)
    assert after.present == {GRANT}
    assert not after.ledger.temporary


def test_recreated_object_starts_again() -> None:
    recreated = lasting(replace(ONE, uid="uid-2"))
    after = run_sync(start(), [recreated], now=LATER)
    assert after.present == {GRANT}
    [record] = after.ledger.temporary.values()
    assert (record.start_time, record.owner) == (LATER, str(recreated.owner))


def test_recreated_object_that_only_retains_does_not_extend_the_grant() -> None:
    recreated = DesiredGrants(replace(ONE, uid="uid-2"), retains=(RETAIN_ALL,), writable=False)
    moved = run_sync(start(), [recreated], now=NOON)
    assert run_sync(moved, [recreated], now=LATER).present == set()


def test_record_ends_when_the_object_no_longer_declares_the_grant() -> None:
    after = run_sync(start(), [DesiredGrants(ONE)], now=NOON)
    assert after.present == set()
    assert after.ledger.is_empty


def test_write_that_a_crash_interrupted_counts_from_before_the_crash() -> None:
    crashed = run_sync(State(policy_with(), Ledger.of(TARGET)), [lasting()], now=NOON, steps=2)
    assert crashed.present == {GRANT}
    assert run_sync(crashed, [lasting()], now=LATER).present == set()


def test_grant_that_was_refused_starts_when_it_is_made() -> None:
    ahead = run_sync(State(policy_with(), Ledger.of(TARGET)), [lasting()], now=NOON, steps=1)
    after = run_sync(ahead, [lasting()], now=LATER)
    assert after.present == {GRANT}
    assert [each.start_time for each in after.ledger.temporary.values()] == [LATER]


@pytest.mark.parametrize("abandon", [False, True])
def test_temporary_grant_is_not_abandoned_with_its_object(abandon: bool) -> None:
    ending = DesiredGrants(ONE, abandon=abandon, ending=True)
    assert run_sync(start(), [ending], now=NOON).present == set()


@pytest.mark.parametrize("with_temporary", [False, True])
def test_temporary_grant_is_abandoned_only_if_the_operator_lost_access(with_temporary: bool) -> None:
    ledger = start().ledger
    ending = DesiredGrants(ONE, abandon=True, ending=True)
    after = without_abandoned(ledger, [ending], with_temporary=with_temporary)
    assert after.is_empty is with_temporary


def test_grant_in_a_restored_ledger_is_removed_when_it_is_over() -> None:
    state = start()
    restored = State(state.policy, state.ledger.replace(restored=True))
    assert run_sync(restored, [lasting()], now=LATER).present == set()


def test_grant_that_was_present_before_is_left_when_it_is_over() -> None:
    state = run_sync(State(policy_with(GRANT), Ledger.of(TARGET)), [lasting()], now=NOON)
    after = run_sync(state, [lasting()], now=LATER)
    assert after.present == {GRANT}
    assert not after.ledger.entries


def test_grant_without_room_for_its_record_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporary_grants, "MAX_MEMBERS", 0)
    plan = planned(State(policy_with(), Ledger.of(TARGET)), lasting(), now=NOON)
    assert plan.unrecorded == (GRANT,), "its status says that the ledger is full"
    assert plan.desired_grants == ()


def test_record_of_a_grant_that_is_over_leaves_room_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporary_grants, "MAX_MEMBERS", 1)
    other = replace(GRANT, member="user:ann@example.com")
    temporary = Temporary(other, Expiry(duration=HOUR))
    second = DesiredGrants(TWO, frozenset({DesiredGrant(other, temporary=temporary)}))
    state = start()
    assert planned(state, lasting(), second, now=NOON).unrecorded == (other,)
    after = run_sync(state, [lasting(), second], now=LATER)
    assert after.present == {other}
    assert len(after.ledger.temporary) == 2


def only(declared: DesiredGrants) -> Grant:
    [desired] = declared.desired_grants
    return desired.grant


@pytest.mark.parametrize(
    ("former", "renewed"),
    [
        (by_google(), by_google(NOON + 3 * HOUR)),
        (lasting(), by_google(NOON + 3 * HOUR)),
        (by_google(), lasting(hours=3)),
        (permanent(), by_google()),
        (by_google(), permanent()),
    ],
    ids=["another end", "enforced by Google now", "not enforced by Google now", "temporary now", "permanent"],
)
def test_former_grant_stays_while_its_successor_is_refused(
    former: DesiredGrants, renewed: DesiredGrants
) -> None:
    state = start(former)
    for minutes in (1, 2, 3):
        now = NOON + timedelta(minutes=minutes)
        state = run_sync(state, [renewed], now=now, refused={only(renewed)})
        assert state.present == {only(former)}
    assert run_sync(state, [renewed], now=now).present == {only(renewed)}


@pytest.mark.parametrize(
    "former", [by_google(), lasting(), permanent()], ids=["by Google", "ends", "permanent"]
)
def test_former_grant_with_a_refused_successor_ends_with_the_declared_end(former: DesiredGrants) -> None:
    duration = Expiry(duration=HOUR, by_google=True)
    declared = DesiredGrant(
        as_granted(GRANT, NOON + HOUR, by_google=True), temporary=Temporary(GRANT, duration, NOON)
    )
    renewed = DesiredGrants(ONE, frozenset({declared}))
    state = run_sync(start(former), [renewed], now=NOON, refused={declared.grant})
    assert state.present == {only(former)}
    assert run_sync(state, [renewed], now=NOON + HOUR, refused={declared.grant}).present == set()


def test_former_grant_is_removed_after_its_own_end() -> None:
    renewed = by_google(NOON + 3 * HOUR)
    state = run_sync(start(by_google()), [renewed], now=NOON, refused={only(renewed)})
    assert run_sync(state, [renewed], now=LATER, refused={only(renewed)}).present == set()


def test_former_grant_of_another_owner_is_no_reason_to_wait() -> None:
    other = replace(by_google(NOON + 3 * HOUR), owner=TWO)
    state = run_sync(start(by_google()), [DesiredGrants(ONE), other], now=NOON, refused={only(other)})
    assert state.present == set()


def test_former_grant_waits_for_the_successors_of_all_its_owners() -> None:
    first, second = by_google(NOON + 3 * HOUR), replace(by_google(NOON + 4 * HOUR), owner=TWO)
    both = start(by_google(), replace(by_google(), owner=TWO))
    state = run_sync(both, [first, second], now=NOON, refused={only(second)})
    assert state.present == {only(by_google()), only(first)}
    assert run_sync(state, [first, second], now=NOON).present == {only(first), only(second)}


def of_duration(hours: int, *, google: bool) -> DesiredGrants:
    """Return the grants of an object with one whose end the operator computes at the first sync."""
    granted = as_granted(GRANT, NOON + hours * HOUR, by_google=google)
    temporary = Temporary(GRANT, Expiry(duration=hours * HOUR, by_google=google), NOON)
    return DesiredGrants(ONE, frozenset({DesiredGrant(granted, temporary=temporary)}))


RENEWALS = [
    (by_google(), by_google(NOON + 3 * HOUR)),
    (by_google(), by_google(NOON + HOUR)),
    (permanent(), of_duration(1, google=True)),
    (by_google(), permanent()),
]


@pytest.mark.parametrize(("former", "renewed"), RENEWALS)
def test_replacement_needs_no_room_in_a_full_ledger(
    monkeypatch: pytest.MonkeyPatch, former: DesiredGrants, renewed: DesiredGrants
) -> None:
    state = start(former)
    monkeypatch.setattr(planning, "MAX_MEMBERS", 1)
    after = run_sync(state, [renewed], now=NOON)
    assert after.present == {only(renewed)}
    assert set(after.ledger.entries) == {only(renewed)}


@pytest.mark.parametrize(("former", "renewed"), RENEWALS)
def test_replacement_needs_no_room_in_a_ledger_of_the_largest_size(
    monkeypatch: pytest.MonkeyPatch, former: DesiredGrants, renewed: DesiredGrants
) -> None:
    state = start(former)
    monkeypatch.setattr(capacity, "GRANT_BUDGET", 0)
    assert run_sync(state, [renewed], now=NOON).present == {only(renewed)}


@pytest.mark.parametrize("steps", [1, 2])
def test_interrupted_replacement_in_a_full_ledger_is_completed(
    monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    state = start(permanent())
    monkeypatch.setattr(planning, "MAX_MEMBERS", 1)
    renewed = of_duration(1, google=True)
    interrupted = run_sync(state, [renewed], now=NOON, steps=steps)
    assert set(interrupted.ledger.entries) == {GRANT, only(renewed)}
    after = run_sync(interrupted, [renewed], now=NOON)
    assert after.present == set(after.ledger.entries) == {only(renewed)}


def test_former_grant_gives_its_place_to_one_successor(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = by_google(NOON + 3 * HOUR), replace(by_google(NOON + 4 * HOUR), owner=TWO)
    state = start(by_google(), replace(by_google(), owner=TWO))
    monkeypatch.setattr(planning, "MAX_MEMBERS", 1)
    for _ in range(3):
        state = run_sync(state, [first, second], now=NOON)
        assert len(state.ledger.entries) == 2


def no_room(monkeypatch: pytest.MonkeyPatch, *, for_records: bool) -> None:
    """Leave no room in ledgers for entries, or for entries and records."""
    monkeypatch.setattr(capacity.LedgerCapacity, "add", lambda *_, **__: False)
    monkeypatch.setattr(capacity.LedgerCapacity, "fits_records", for_records)


@pytest.mark.parametrize("google", [False, True])
@pytest.mark.parametrize("former", [by_google(NOON + 9 * HOUR), permanent()], ids=["by Google", "permanent"])
def test_former_grant_ends_with_the_declared_end_although_the_ledger_is_full(
    monkeypatch: pytest.MonkeyPatch, former: DesiredGrants, google: bool
) -> None:
    renewed = of_duration(1, google=google)
    state = start(former)
    no_room(monkeypatch, for_records=True)
    for minutes in (0, 30, 59):
        state = run_sync(state, [renewed], now=NOON + timedelta(minutes=minutes))
        assert state.present == {only(former)}, "both declare the access"
    after = run_sync(state, [renewed], now=NOON + HOUR)
    assert after.present == set()
    assert not after.ledger.entries


def test_permanent_grant_is_removed_if_its_end_cannot_be_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    state = start(permanent())
    no_room(monkeypatch, for_records=False)
    after = run_sync(state, [of_duration(1, google=True)], now=NOON)
    assert after.present == set()
    assert not after.ledger.temporary


@pytest.mark.parametrize("renewed", [by_google(NOON + 3 * HOUR), permanent()], ids=["later", "permanent"])
def test_former_grant_stays_until_its_end_while_a_longer_one_has_no_room(
    monkeypatch: pytest.MonkeyPatch, renewed: DesiredGrants
) -> None:
    state = start(by_google())
    no_room(monkeypatch, for_records=False)
    state = run_sync(state, [renewed], now=NOON + HOUR)
    assert state.present == {only(by_google())}
    assert run_sync(state, [renewed], now=LATER).present == set()


def test_former_grant_ends_although_the_edit_of_its_enforcement_was_interrupted() -> None:
    interrupted = run_sync(start(lasting(hours=2)), [by_google()], now=NOON, steps=1)
    assert interrupted.present == {GRANT}
    suspended = DesiredGrants(ONE, retains=(RETAIN_ALL,), writable=False)
    assert is_due(interrupted.ledger, ONE.owner_key, LATER)
    assert run_sync(interrupted, [suspended], now=LATER).present == set()


def test_nothing_is_due_once_another_owner_alone_has_the_grant() -> None:
    both = [lasting(ONE), permanent(TWO)]
    after = run_sync(start(*both), both, now=LATER)
    assert after.ledger.temporary, "the record outlives the grant"
    assert not is_due(after.ledger, ONE.owner_key, LATER)


def test_grant_that_google_ends_is_abandoned_once_the_operator_lost_access() -> None:
    declared = (Retain(TARGET, GRANT.role, GRANT.member, any_condition=False),)
    ending = DesiredGrants(ONE, abandon=True, ending=True, declared=declared)
    assert without_abandoned(start(by_google()).ledger, [ending]).is_empty


def test_grant_that_google_ends_is_released_with_its_object_from_a_restored_ledger() -> None:
    state = start(by_google())
    restored = State(state.policy, state.ledger.replace(restored=True))
    declared = (Retain(TARGET, GRANT.role, GRANT.member, any_condition=False),)
    ending = DesiredGrants(ONE, ending=True, declared=declared)
    assert run_sync(restored, [ending], now=NOON).present == set()
