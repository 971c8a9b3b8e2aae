"""The life of keys, step by step and under whatever happens."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cloudrun_identity.api import KeyState, LedgerKey, LedgerKeyAttempt
from cloudrun_identity.controllers.identity_key.actions import CloseAttempt
from cloudrun_identity.controllers.identity_key.key_state import Rotation, rotation_due
from cloudrun_identity.controllers.identity_key.plan import LAG, SETTLE, plan
from cloudrun_identity.iam.listed_keys import MAX_KEYS, ListedKey
from cloudrun_identity.ledger.keys import KeyRing
from tests.unit.controllers.identity_key.key_bench import seen, wanted
from tests.unit.controllers.identity_key.key_history import (
    DAY,
    HOUR,
    NOON,
    OWNER,
    Await,
    Full,
    KeyHistory,
    Rest,
)


def kinds(keys: KeyHistory) -> list[str]:
    return [type(step).__name__ for step in keys.steps]


def settled() -> KeyHistory:
    """One key, in the Secret for an hour."""
    keys = KeyHistory()
    keys.pass_by(HOUR)
    keys.steps.clear()
    return keys


def test_the_first_key_is_created_and_published_at_once() -> None:
    keys = KeyHistory()

    assert keys.work() == Rest(NOON + 30 * DAY)

    assert kinds(keys) == ["CreateKey", "PublishKey", "PromoteKey"]
    assert keys.states() == ["Active"]
    assert keys.secret == "key-001"


def test_after_its_period_a_key_is_replaced_disabled_and_deleted() -> None:
    keys = settled()

    keys.now = NOON + 30 * DAY
    assert keys.work() == Rest(NOON + 30 * DAY + SETTLE), "Google may not know the new one everywhere"
    assert keys.secret == "key-001"
    published = keys.now = NOON + 30 * DAY + SETTLE
    assert keys.work() == Rest(published + DAY)
    assert (keys.secret, keys.states()) == ("key-002", ["Overlap", "Active"])

    keys.now = published + DAY
    assert keys.work() == Rest(published + 2 * DAY)
    assert keys.states() == ["Disabled", "Active"]

    keys.now = published + 2 * DAY
    assert keys.work() == Rest(NOON + 60 * DAY)
    assert list(keys.live) == ["key-002"]


def test_another_generation_creates_another_key_at_once() -> None:
    keys = settled()
    keys.rotation = Rotation(30 * DAY, DAY, generation=1)

    assert keys.work() == Rest(keys.now + SETTLE, unfinished=True)
    keys.pass_by(SETTLE)

    assert keys.secret == "key-002"
    assert keys.work() == Rest(keys.now + DAY), "what was asked for is done"


def test_without_overlap_a_key_ends_when_the_next_is_published() -> None:
    keys = settled()
    keys.rotation = Rotation(30 * DAY, timedelta(), generation=1)

    keys.work()
    assert not keys.live["key-001"].disabled
    keys.pass_by(SETTLE)

    assert list(keys.live) == ["key-002"]


def test_a_shorter_period_applies_to_the_present_key() -> None:
    keys = settled()
    keys.rotation = Rotation(HOUR, HOUR)

    assert keys.next == "CreateKey"


@pytest.mark.parametrize("harm", ["secret deleted", "secret edited", "key disabled", "key deleted"])
def test_a_key_that_stopped_working_is_replaced_at_once(harm: str) -> None:
    keys = settled()
    match harm:
        case "secret deleted":
            keys.secret = ""
        case "secret edited":
            keys.secret = "somebody's"
        case "key disabled":
            keys.disable("key-001")
        case "key deleted":
            del keys.live["key-001"]

    keys.work()

    assert keys.secret == "key-002"
    assert keys.states() == (["Active"] if harm == "key deleted" else ["Overlap", "Active"])


def test_a_former_key_put_back_by_a_user_is_replaced() -> None:
    keys = settled()
    keys.rotation = Rotation(30 * DAY, DAY, generation=1)
    keys.pass_by(HOUR)

    keys.secret = "key-001"
    keys.work()

    assert keys.secret == "key-003"
    assert keys.states() == ["Overlap", "Overlap", "Active"]


@pytest.mark.parametrize("acts", range(1, 6))
def test_a_crash_between_any_two_acts_leaves_no_stray_key(acts: int) -> None:
    keys = KeyHistory()
    stranger = keys.create_unmanaged()

    keys.work(until_cut=acts)
    keys.pass_by(HOUR)

    assert set(keys.live) == {stranger, keys.secret}
    assert keys.states() == ["Active"]


def test_a_stray_key_is_searched_once_google_must_show_it() -> None:
    keys = KeyHistory()
    keys.work(until_cut=2)

    assert keys.next == Await(NOON + LAG)
    keys.now += LAG
    assert keys.next == "DeleteKey key-001"


def test_of_several_possible_strays_none_is_deleted() -> None:
    keys = KeyHistory()
    keys.work(until_cut=2)
    stranger = keys.create_unmanaged()
    keys.now += LAG

    keys.work()

    assert {"key-001", stranger} < set(keys.live)
    assert keys.states() == ["Unclear", "Unclear", "Active"]
    assert any(isinstance(step, CloseAttempt) for step in keys.steps)

    del keys.live[stranger]
    keys.pass_by(HOUR)
    assert keys.states() == ["Unclear", "Active"]


def test_stray_of_an_account_without_a_unique_id_is_not_deleted() -> None:
    attempt = LedgerKeyAttempt(owner=OWNER, time=NOON, known=())
    want = replace(wanted(), unique_id="", deletes=True)
    listed = seen(ListedKey("k1", NOON), now=NOON + LAG, ring=KeyRing().with_attempt(attempt))
    (step,) = plan(want, listed).steps
    assert isinstance(step, CloseAttempt)
    assert [key.key_id for key in step.unclear] == ["k1"]


def test_a_key_from_before_the_attempt_is_not_a_stray() -> None:
    keys = KeyHistory()
    keys.work(until_cut=1)
    late = keys.create_unmanaged()
    keys.live[late] = keys.live[late].__class__(late, NOON - DAY)
    keys.now += LAG

    keys.work()

    assert late in keys.live


def test_a_key_from_long_after_the_attempt_is_not_a_stray() -> None:
    keys = KeyHistory()
    keys.work(until_cut=1)
    keys.now += HOUR
    later = keys.create_unmanaged()

    keys.work()

    assert set(keys.live) == {later, keys.secret}


def test_a_new_key_that_google_does_not_show_is_not_deleted() -> None:
    keys = KeyHistory()
    keys.work()
    hidden = keys.live.pop("key-001")

    keys.now += LAG / 2
    assert isinstance(keys.next, Rest)
    keys.ending = True
    assert keys.next == Await(NOON + LAG)

    keys.live["key-001"] = hidden
    keys.work()
    assert keys.live == {}


def test_a_full_account_replaces_its_oldest_disabled_key() -> None:
    keys = settled()
    keys.rotation = Rotation(30 * DAY, DAY, generation=1)
    keys.pass_by(DAY + HOUR)
    assert keys.states() == ["Disabled", "Active"]
    while len(keys.live) < MAX_KEYS:
        keys.create_unmanaged()

    keys.secret = ""
    assert keys.next == "DeleteKey key-001"
    keys.work()

    assert keys.secret in keys.live


def test_a_full_account_fails_and_keeps_unmanaged_keys() -> None:
    keys = settled()
    while len(keys.live) < MAX_KEYS:
        keys.create_unmanaged()
    keys.secret = ""

    assert keys.next == Full()


def test_a_key_that_expires_is_replaced_in_time() -> None:
    record = LedgerKey(
        id="k", owner=OWNER, state=KeyState.ACTIVE, created_time=NOON, expiry_time=NOON + 10 * DAY
    )

    assert rotation_due(record, Rotation(30 * DAY, DAY)) == NOON + 9 * DAY
    assert rotation_due(record, Rotation(30 * DAY, 30 * DAY)) == NOON + 5 * DAY
    assert rotation_due(record, Rotation(DAY, HOUR)) == NOON + DAY


def test_a_deletion_retires_every_key_and_no_unmanaged_one() -> None:
    keys = settled()
    keys.rotation = Rotation(30 * DAY, DAY, generation=1)
    keys.pass_by(HOUR)
    stranger = keys.create_unmanaged()
    keys.steps.clear()

    keys.ending = True
    assert keys.work() == Rest(None)

    assert list(keys.live) == [stranger]
    assert keys.ring == KeyRing()
    assert kinds(keys) == ["DisableKey", "DeleteKey", "DisableKey", "DeleteKey", "DeleteSecret"]


class KeyMachine(RuleBasedStateMachine):
    """Rotations under crashes, a turned clock, and other people."""

    def __init__(self) -> None:
        super().__init__()
        self.keys = KeyHistory()
        self.tampered = False

    @rule(time=st.sampled_from([SETTLE, LAG, HOUR, DAY, 31 * DAY]))
    def time_passes(self, time: timedelta) -> None:
        self.keys.pass_by(time)
        self.tampered &= time <= LAG  # a deleted key may only be hidden until then

    @rule(jump=st.sampled_from([-31 * DAY, -DAY, -HOUR, HOUR, 40 * DAY]))
    def clock_is_turned(self, jump: timedelta) -> None:
        self.keys.now += jump

    @rule(slow=st.sampled_from([timedelta(), timedelta(seconds=20)]))
    def calls_take(self, slow: timedelta) -> None:
        self.keys.slow = slow

    @rule(acts=st.integers(1, 8))
    def process_is_killed(self, acts: int) -> None:
        self.keys.work(until_cut=acts)

    @rule()
    def another_key_is_asked_for(self) -> None:
        generation = self.keys.rotation.generation + 1
        self.keys.rotation = Rotation(30 * DAY, DAY, generation)

    @precondition(lambda self: self.keys.ring.attempt is None and len(self.keys.live) < 6)
    @rule()
    def somebody_makes_a_key(self) -> None:
        self.keys.create_unmanaged()

    @precondition(lambda self: self.keys.secret)
    @rule(how=st.sampled_from(["secret deleted", "key deleted", "key disabled"]))
    def somebody_breaks_it(self, how: str) -> None:
        keys, self.tampered = self.keys, True
        if how == "secret deleted":
            keys.secret = ""
        elif how == "key deleted":
            keys.live.pop(keys.secret, None)
        elif keys.secret in keys.live:
            keys.disable(keys.secret)

    @invariant()
    def what_the_secret_has_works(self) -> None:
        keys = self.keys
        if keys.secret and not self.tampered and keys.next != Full():
            assert not keys.live[keys.secret].disabled

    @invariant()
    def there_are_never_too_many(self) -> None:
        assert len(self.keys.live) <= MAX_KEYS

    def teardown(self) -> None:
        keys = self.keys
        # The clock may be months behind what is on record, and an account full of keys that are not due yet.
        recorded = [each.superseded_time or each.created_time for each in keys.ring.records.values()]
        keys.pass_by(max([keys.now, *recorded]) - keys.now + 70 * DAY)
        unclear = {record.id for record in keys.ring.of(OWNER) if record.state is KeyState.UNCLEAR}
        assert not keys.live[keys.secret].disabled
        assert set(keys.live) - keys.unmanaged - unclear <= set(keys.ring.records)
        keys.ending = True
        keys.pass_by(HOUR)
        assert set(keys.live) == keys.unmanaged
        assert keys.ring == KeyRing()


TestKeyMachine = KeyMachine.TestCase
