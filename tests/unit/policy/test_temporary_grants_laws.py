"""Laws of the release of temporary grants, over histories of declarations, syncs, crashes and time."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from unittest.mock import patch

from hypothesis import example, given
from hypothesis import strategies as st

from cloudrun_identity.iam.expiry import Expiry, as_granted, granted_end
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.capacity import LedgerCapacity
from cloudrun_identity.policy.desired_grants import RETAIN_ALL, DesiredGrant, DesiredGrants, Temporary
from tests.unit.policy.strategies import TARGET

from .pure_sync import GRANT, NOON, ONE, TWO, State, policy_with, run_sync

MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Event:
    """A sync after an object declared something, some time later."""

    owner: Owner
    lasts: int | None
    """Minutes for which the grant is declared; None if the object only retains its grants."""
    writable: bool
    later: int
    """Minutes since the last event."""
    steps: int
    """Steps after which the sync is killed; 3 for none."""

    @property
    def declared(self) -> DesiredGrants:
        """Grants that the object registers."""
        if self.lasts is None:
            return DesiredGrants(self.owner, retains=(RETAIN_ALL,), writable=self.writable)
        temporary = Temporary(GRANT, Expiry(duration=self.lasts * MINUTE))
        desired = frozenset({DesiredGrant(GRANT, temporary=temporary)})
        return DesiredGrants(self.owner, desired, writable=self.writable)


events = st.builds(
    Event,
    owner=st.sampled_from([ONE, TWO]),
    lasts=st.one_of(st.none(), st.integers(1, 30)),
    writable=st.booleans(),
    later=st.integers(0, 20),
    steps=st.sampled_from([1, 2, 3, 3]),
)


def longest(history: list[Event]) -> timedelta:
    return max((each.lasts or 0 for each in history if each.writable), default=0) * MINUTE


def run(history: list[Event]) -> tuple[State, dict[str, DesiredGrants], datetime]:
    """Return the state after a history, the last declarations, and the time."""
    state, now = State(policy_with(), Ledger.of(TARGET)), NOON
    declared: dict[str, DesiredGrants] = {}
    for event in history:
        now += event.later * MINUTE
        declared[event.owner.owner_key] = event.declared
        state = run_sync(state, list(declared.values()), steps=event.steps, now=now)
    return state, declared, now


@given(st.lists(events, max_size=8))
def test_no_history_makes_a_grant_outlast_the_longest_declared_duration(history: list[Event]) -> None:
    state, declared, now = run(history)
    last = now + longest(history)
    for _ in range(2):  # the first of them completes what a crash interrupted
        state = run_sync(state, list(declared.values()), now=last)
    still = run_sync(state, list(declared.values()), now=last + 31 * MINUTE)
    assert still.present == set()
    assert not still.ledger.entries


@given(st.lists(events, max_size=8))
def test_grant_is_present_while_a_writable_owner_declares_it_and_it_lasts(history: list[Event]) -> None:
    state, declared, now = run(history)
    state = run_sync(state, list(declared.values()), now=now)
    lasting = {
        owner_key
        for (owner_key, _), record in state.ledger.temporary.items()
        if record.expires_at > now and declared[owner_key].writable and declared[owner_key].desired_grants
    }
    assert (state.present == {GRANT}) or not lasting


@given(st.lists(events, max_size=8))
def test_start_of_a_grant_that_was_made_stays_the_same(history: list[Event]) -> None:
    state, declared, now = run(history)
    made = {key: record.start_time for key, record in state.ledger.temporary.items() if record.granted}
    after = run_sync(state, list(declared.values()), now=now + MINUTE)
    for key, start in made.items():
        if key in after.ledger.temporary:
            assert after.ledger.temporary[key].start_time == start


@given(st.lists(events, max_size=8))
def test_sync_at_the_same_time_changes_nothing_more(history: list[Event]) -> None:
    state, declared, now = run(history)
    for _ in range(2):
        state = run_sync(state, list(declared.values()), now=now)
    assert run_sync(state, list(declared.values()), now=now).ledger == state.ledger


@dataclass(frozen=True)
class Edit:
    """An edit of the end of a grant, and a sync with it in which Google Cloud may refuse new grants."""

    ends: int | None
    """Minutes from noon until the declared end; None for a permanent grant."""
    by_google: bool
    refused: bool
    later: int
    """Minutes since the last edit."""
    steps: int
    """Steps after which the sync is killed; 3 for none."""

    @property
    def declared(self) -> DesiredGrants:
        if self.ends is None:
            return DesiredGrants(ONE, frozenset({DesiredGrant(GRANT)}))
        end = NOON + self.ends * MINUTE
        temporary = Temporary(GRANT, Expiry(expires_at=end, by_google=self.by_google), NOON)
        granted = as_granted(GRANT, end, by_google=self.by_google)
        return DesiredGrants(ONE, frozenset({DesiredGrant(granted, temporary=temporary)}))

    @property
    def end(self) -> datetime:
        return FOREVER if self.ends is None else NOON + self.ends * MINUTE


FOREVER = datetime.max.replace(tzinfo=UTC)
edits = st.builds(
    Edit,
    ends=st.one_of(st.none(), st.integers(1, 60)),
    by_google=st.booleans(),
    refused=st.booleans(),
    later=st.integers(0, 10),
    steps=st.sampled_from([1, 2, 3, 3]),
)


def access_end(state: State) -> datetime:
    """Return the time until which the bindings in the policy give access."""
    ends = [
        FOREVER if grant.condition is None else granted_end(GRANT, grant) or NOON for grant in state.present
    ]
    return max(ends, default=NOON)


@given(st.lists(edits, max_size=8))
def test_refused_write_never_shortens_access(history: list[Edit]) -> None:
    state, now = State(policy_with(), Ledger.of(TARGET)), NOON
    for edit in history:
        now += edit.later * MINUTE
        [desired] = edit.declared.desired_grants
        refused = {desired.grant} - state.present if edit.refused else set()
        had = access_end(state)
        state = run_sync(state, [edit.declared], now=now, refused=refused, steps=edit.steps)
        both = min(had, edit.end)
        assert access_end(state) >= both or both <= now, "both the former and the new spec declare the access"


@given(st.lists(edits, min_size=1, max_size=8))
def test_access_ends_with_the_last_declared_end_although_writes_are_refused(history: list[Edit]) -> None:
    state, now = State(policy_with(), Ledger.of(TARGET)), NOON
    for edit in history:
        now += edit.later * MINUTE
        [desired] = edit.declared.desired_grants
        refused = {desired.grant} - state.present if edit.refused else set()
        state = run_sync(state, [edit.declared], now=now, refused=refused, steps=edit.steps)
    if edit.ends is not None:
        last = max(now, edit.end)
        for _ in range(2):  # the first of them completes what a crash interrupted
            state = run_sync(state, [edit.declared], now=last)
        assert access_end(state) <= last


@given(st.lists(edits, min_size=1, max_size=8))
def test_renewal_needs_no_further_binding(history: list[Edit]) -> None:
    state, now = State(policy_with(), Ledger.of(TARGET)), NOON
    for edit in history:
        now += edit.later * MINUTE
        state = run_sync(state, [edit.declared], now=now, steps=edit.steps)
        assert len(state.present) <= 1


ENDS_IN_A_FULL_LEDGER = [
    (Edit(None, by_google=False, refused=False, later=0, steps=3), False),
    (Edit(30, by_google=True, refused=False, later=0, steps=3), True),
]


def full_ledger(full: bool) -> AbstractContextManager[object]:
    """Return a context in which a ledger has no room for further grants if it is full."""
    return patch.object(LedgerCapacity, "add", lambda *_, **__: False) if full else nullcontext()


@given(st.lists(st.tuples(edits, st.booleans()), max_size=8))
@example(ENDS_IN_A_FULL_LEDGER)
def test_full_ledger_never_shortens_access(history: list[tuple[Edit, bool]]) -> None:
    state, now = State(policy_with(), Ledger.of(TARGET)), NOON
    for edit, full in history:
        now += edit.later * MINUTE
        had = access_end(state)
        with full_ledger(full):
            state = run_sync(state, [edit.declared], now=now, steps=edit.steps)
        both = min(had, edit.end)
        assert access_end(state) >= both or both <= now, "both the former and the new spec declare the access"


@given(st.lists(st.tuples(edits, st.booleans()), min_size=1, max_size=8))
@example(ENDS_IN_A_FULL_LEDGER)
def test_access_ends_with_the_last_declared_end_in_a_full_ledger(history: list[tuple[Edit, bool]]) -> None:
    state, now = State(policy_with(), Ledger.of(TARGET)), NOON
    for edit, full in history:
        now += edit.later * MINUTE
        with full_ledger(full):
            state = run_sync(state, [edit.declared], now=now, steps=edit.steps)
    if edit.ends is not None:
        last = max(now, edit.end)
        with full_ledger(True):
            for _ in range(2):  # the first of them completes what a crash interrupted
                state = run_sync(state, [edit.declared], now=last)
        assert access_end(state) <= last
