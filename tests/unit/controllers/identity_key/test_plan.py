"""The life of keys, step by step and under whatever happens."""

from datetime import timedelta

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cloudrun_identity.api import KeyState, LedgerKey
from cloudrun_identity.controllers.identity_key.plan import (
    LAG,
    SETTLE,
    Await,
    CloseAttempt,
    Delete,
    Full,
    Make,
    Rest,
    Rotation,
    rotation_due,
)
from cloudrun_identity.iam.listed_keys import MAX_KEYS
from cloudrun_identity.ledger.keys import KeyRing
from tests.unit.controllers.identity_key.key_history import DAY, HOUR, NOON, OWNER, Custody


def kinds(custody: Custody) -> list[str]:
    return [type(step).__name__ for step in custody.steps]


def settled() -> Custody:
    """One key, in the Secret for an hour."""
    custody = Custody()
    custody.pass_by(HOUR)
    custody.steps.clear()
    return custody


def test_the_first_key_is_made_and_published_at_once() -> None:
    custody = Custody()

    assert custody.work() == Rest(NOON + 30 * DAY)

    assert kinds(custody) == ["Make", "Publish", "Promote"]
    assert custody.states() == ["Active"]
    assert custody.secret == "key-001"


def test_after_its_period_a_key_is_followed_disabled_and_deleted() -> None:
    custody = settled()

    custody.now = NOON + 30 * DAY
    assert custody.work() == Rest(NOON + 30 * DAY + SETTLE), "Google may not know the new one everywhere"
    assert custody.secret == "key-001"
    published = custody.now = NOON + 30 * DAY + SETTLE
    assert custody.work() == Rest(published + DAY)
    assert (custody.secret, custody.states()) == ("key-002", ["Overlap", "Active"])

    custody.now = published + DAY
    assert custody.work() == Rest(published + 2 * DAY)
    assert custody.states() == ["Disabled", "Active"]

    custody.now = published + 2 * DAY
    assert custody.work() == Rest(NOON + 60 * DAY)
    assert list(custody.live) == ["key-002"]


def test_another_generation_asks_for_another_key_at_once() -> None:
    custody = settled()
    custody.rotation = Rotation(30 * DAY, DAY, generation=1)

    assert custody.work() == Rest(custody.now + SETTLE, unfinished=True)
    custody.pass_by(SETTLE)

    assert custody.secret == "key-002"
    assert custody.work() == Rest(custody.now + DAY), "what was asked for is done"


def test_without_overlap_a_key_ends_when_the_next_is_published() -> None:
    custody = settled()
    custody.rotation = Rotation(30 * DAY, timedelta(), generation=1)

    custody.work()
    assert not custody.live["key-001"].disabled
    custody.pass_by(SETTLE)

    assert list(custody.live) == ["key-002"]


def test_a_shorter_period_holds_for_the_key_there_is() -> None:
    custody = settled()
    custody.rotation = Rotation(HOUR, HOUR)

    assert custody.next == Make()


@pytest.mark.parametrize("harm", ["secret deleted", "secret edited", "key disabled", "key deleted"])
def test_a_key_that_does_not_work_any_more_is_replaced_at_once(harm: str) -> None:
    custody = settled()
    match harm:
        case "secret deleted":
            custody.secret = ""
        case "secret edited":
            custody.secret = "somebody's"
        case "key disabled":
            custody.disable("key-001")
        case "key deleted":
            del custody.live["key-001"]

    custody.work()

    assert custody.secret == "key-002"
    assert custody.states() == (["Active"] if harm == "key deleted" else ["Overlap", "Active"])


def test_a_former_key_that_somebody_put_back_is_replaced() -> None:
    custody = settled()
    custody.rotation = Rotation(30 * DAY, DAY, generation=1)
    custody.pass_by(HOUR)

    custody.secret = "key-001"
    custody.work()

    assert custody.secret == "key-003"
    assert custody.states() == ["Overlap", "Overlap", "Active"]


@pytest.mark.parametrize("acts", range(1, 6))
def test_a_crash_between_any_two_acts_leaves_no_key_behind(acts: int) -> None:
    custody = Custody()
    stranger = custody.make_foreign()

    custody.work(until_cut=acts)
    custody.pass_by(HOUR)

    assert set(custody.live) == {stranger, custody.secret}
    assert custody.states() == ["Active"]


def test_a_key_that_nobody_heard_of_is_looked_for_only_once_google_must_show_it() -> None:
    custody = Custody()
    custody.work(until_cut=2)

    assert custody.next == Await(NOON + LAG)
    custody.now += LAG
    assert custody.next == Delete("key-001", stray=True)


def test_of_several_keys_that_appeared_none_is_deleted() -> None:
    custody = Custody()
    custody.work(until_cut=2)
    stranger = custody.make_foreign()
    custody.now += LAG

    custody.work()

    assert {"key-001", stranger} < set(custody.live)
    assert custody.states() == ["Unclear", "Unclear", "Active"]
    assert any(isinstance(step, CloseAttempt) for step in custody.steps)

    del custody.live[stranger]
    custody.pass_by(HOUR)
    assert custody.states() == ["Unclear", "Active"]


def test_a_key_from_before_the_attempt_is_nobodys_stray() -> None:
    custody = Custody()
    custody.work(until_cut=1)
    late = custody.make_foreign()
    custody.live[late] = custody.live[late].__class__(late, NOON - DAY)
    custody.now += LAG

    custody.work()

    assert late in custody.live


def test_a_key_from_long_after_the_attempt_is_nobodys_stray() -> None:
    custody = Custody()
    custody.work(until_cut=1)
    custody.now += HOUR
    later = custody.make_foreign()

    custody.work()

    assert set(custody.live) == {later, custody.secret}


def test_a_new_key_is_not_taken_for_gone_while_google_does_not_show_it() -> None:
    custody = Custody()
    custody.work()
    hidden = custody.live.pop("key-001")

    custody.now += LAG / 2
    assert isinstance(custody.next, Rest)
    custody.ending = True
    assert custody.next == Await(NOON + LAG)

    custody.live["key-001"] = hidden
    custody.work()
    assert custody.live == {}


def test_a_full_account_gives_its_oldest_disabled_key_for_the_next() -> None:
    custody = settled()
    custody.rotation = Rotation(30 * DAY, DAY, generation=1)
    custody.pass_by(DAY + HOUR)
    assert custody.states() == ["Disabled", "Active"]
    while len(custody.live) < MAX_KEYS:
        custody.make_foreign()

    custody.secret = ""
    assert custody.next == Delete("key-001")
    custody.work()

    assert custody.secret in custody.live


def test_a_full_account_is_said_and_no_other_key_is_touched() -> None:
    custody = settled()
    while len(custody.live) < MAX_KEYS:
        custody.make_foreign()
    custody.secret = ""

    assert custody.next == Full()


def test_a_key_that_expires_is_followed_in_time() -> None:
    record = LedgerKey(
        id="k", owner=OWNER, state=KeyState.ACTIVE, created_time=NOON, expiry_time=NOON + 10 * DAY
    )

    assert rotation_due(record, Rotation(30 * DAY, DAY)) == NOON + 9 * DAY
    assert rotation_due(record, Rotation(30 * DAY, 30 * DAY)) == NOON + 5 * DAY
    assert rotation_due(record, Rotation(DAY, HOUR)) == NOON + DAY


def test_the_end_retires_every_key_and_no_other() -> None:
    custody = settled()
    custody.rotation = Rotation(30 * DAY, DAY, generation=1)
    custody.pass_by(HOUR)
    stranger = custody.make_foreign()
    custody.steps.clear()

    custody.ending = True
    assert custody.work() == Rest(None)

    assert list(custody.live) == [stranger]
    assert custody.ring == KeyRing()
    assert kinds(custody) == ["Disable", "Delete", "Disable", "Delete"]


class Life(RuleBasedStateMachine):
    """Rotations under crashes, a turned clock, and other people."""

    def __init__(self) -> None:
        super().__init__()
        self.custody = Custody()
        self.tampered = False

    @rule(time=st.sampled_from([SETTLE, LAG, HOUR, DAY, 31 * DAY]))
    def time_passes(self, time: timedelta) -> None:
        self.custody.pass_by(time)
        self.tampered &= time <= LAG  # what is gone may only be hidden until then

    @rule(jump=st.sampled_from([-31 * DAY, -DAY, -HOUR, HOUR, 40 * DAY]))
    def clock_is_turned(self, jump: timedelta) -> None:
        self.custody.now += jump

    @rule(slow=st.sampled_from([timedelta(), timedelta(seconds=20)]))
    def calls_take(self, slow: timedelta) -> None:
        self.custody.slow = slow

    @rule(acts=st.integers(1, 8))
    def process_is_killed(self, acts: int) -> None:
        self.custody.work(until_cut=acts)

    @rule()
    def another_key_is_asked_for(self) -> None:
        generation = self.custody.rotation.generation + 1
        self.custody.rotation = Rotation(30 * DAY, DAY, generation)

    @precondition(lambda self: self.custody.ring.attempt is None and len(self.custody.live) < 6)
    @rule()
    def somebody_makes_a_key(self) -> None:
        self.custody.make_foreign()

    @precondition(lambda self: self.custody.secret)
    @rule(how=st.sampled_from(["secret deleted", "key deleted", "key disabled"]))
    def somebody_breaks_it(self, how: str) -> None:
        custody, self.tampered = self.custody, True
        if how == "secret deleted":
            custody.secret = ""
        elif how == "key deleted":
            custody.live.pop(custody.secret, None)
        elif custody.secret in custody.live:
            custody.disable(custody.secret)

    @invariant()
    def what_the_secret_has_works(self) -> None:
        custody = self.custody
        if custody.secret and not self.tampered and custody.next != Full():
            assert not custody.live[custody.secret].disabled

    @invariant()
    def there_are_never_too_many(self) -> None:
        assert len(self.custody.live) <= MAX_KEYS

    def teardown(self) -> None:
        custody = self.custody
        # The clock may be months behind what is on record, and an account full of keys that are not due yet.
        recorded = [each.superseded_time or each.created_time for each in custody.ring.records.values()]
        custody.pass_by(max([custody.now, *recorded]) - custody.now + 70 * DAY)
        unclear = {record.id for record in custody.ring.of(OWNER) if record.state is KeyState.UNCLEAR}
        assert not custody.live[custody.secret].disabled
        assert set(custody.live) - custody.foreign - unclear <= set(custody.ring.records)
        custody.ending = True
        custody.pass_by(HOUR)
        assert set(custody.live) == custody.foreign
        assert custody.ring == KeyRing()


TestLife = Life.TestCase
