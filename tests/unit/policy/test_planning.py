"""Planning and settlement: cases of one policy and two objects."""

from google.iam.v1.policy_pb2 import Binding, Policy

from cloudrun_identity.api import GrantState, LedgerEntry
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.policy.desired_grants import RETAIN_ALL, DesiredGrant, DesiredGrants
from cloudrun_identity.policy.planning import PolicyPlan, plan_policy
from cloudrun_identity.policy.review import SyncFacts
from cloudrun_identity.policy.settlement import settle
from tests.unit.policy.strategies import ACCOUNT, MEMBERS, ROLES, TARGET

from .one_policy import desiring
from .pure_sync import GRANT, NOON, ONE, TWO, State, entry, policy_with, run_sync


def settled_state(state: State, *declared: DesiredGrants) -> LedgerEntry | None:
    return run_sync(state, declared).ledger.entries.get(GRANT)


def test_new_grant_is_managed() -> None:
    after = run_sync(State(Policy(etag=b"e"), Ledger.of(TARGET)), [desiring(ONE, GRANT)])
    assert after.ledger.entries == {GRANT: entry(GRANT, ONE)}
    assert after.ledger.last_write_time == NOON
    assert GRANT in after.present


def test_grant_present_before_survives_its_owner() -> None:
    state = run_sync(State(policy_with(GRANT), Ledger.of(TARGET)), [desiring(ONE, GRANT)])
    assert state.ledger.entries == {GRANT: entry(GRANT, ONE, present_before=True)}
    state = run_sync(state, [desiring(ONE)])
    assert state.ledger.is_empty
    assert GRANT in state.present


def test_grant_added_just_before_the_write_was_present_before() -> None:
    planned = plan_policy(Ledger.of(TARGET), [desiring(ONE, GRANT)], (), SyncFacts(may_release=True))
    settled = settle(planned, {GRANT}, added=(), refused=(), written_at=NOON)
    assert settled.entries[GRANT].present_before


def test_grant_written_by_an_earlier_sync_is_managed() -> None:
    crashed = run_sync(State(Policy(etag=b"e"), Ledger.of(TARGET)), [desiring(ONE, GRANT)], steps=2)
    assert settled_state(crashed, desiring(ONE, GRANT)) == entry(GRANT, ONE)


def test_grant_keeps_its_remaining_owner_after_a_release() -> None:
    state = State(policy_with(GRANT), Ledger.of(TARGET, {GRANT: entry(GRANT, ONE, TWO)}))
    assert settled_state(state, desiring(ONE), desiring(TWO, GRANT)) == entry(GRANT, TWO)


def test_grant_passes_to_a_new_owner_as_the_last_one_leaves() -> None:
    state = State(policy_with(GRANT), Ledger.of(TARGET, {GRANT: entry(GRANT, ONE)}))
    assert settled_state(state, desiring(ONE), desiring(TWO, GRANT)) == entry(GRANT, TWO)


def test_abandoned_grant_is_present_and_not_recorded() -> None:
    state = State(policy_with(GRANT), Ledger.of(TARGET, {GRANT: entry(GRANT, ONE)}))
    state = run_sync(state, [desiring(ONE, abandon=True)])
    assert state.ledger.is_empty
    assert GRANT in state.present


def test_abandoning_removes_only_one_owner() -> None:
    state = State(policy_with(GRANT), Ledger.of(TARGET, {GRANT: entry(GRANT, ONE, TWO)}))
    assert settled_state(state, desiring(ONE, abandon=True), desiring(TWO, GRANT)) == entry(GRANT, TWO)


def test_retained_grant_is_neither_released_nor_added() -> None:
    state = State(Policy(etag=b"e"), Ledger.of(TARGET, {GRANT: entry(GRANT, ONE)}))
    state = run_sync(state, [desiring(ONE, retains=(RETAIN_ALL,), writable=False)])
    assert state.ledger.entries == {GRANT: entry(GRANT, ONE, state=GrantState.PENDING)}
    assert not state.present


def test_unwritable_desired_grant_is_kept_and_not_repaired() -> None:
    observing = desiring(ONE, GRANT, writable=False)
    missing = State(Policy(etag=b"e"), Ledger.of(TARGET, {GRANT: entry(GRANT, ONE)}))
    assert not run_sync(missing, [observing]).present
    present = State(policy_with(GRANT), missing.ledger)
    assert run_sync(present, [observing]) == present


def test_unwritable_desired_grant_gets_no_entry() -> None:
    state = State(policy_with(GRANT), Ledger.of(TARGET))
    assert run_sync(state, [desiring(ONE, GRANT, writable=False)]).ledger.is_empty


def test_missing_granted_entry_is_drift_and_a_pending_one_is_not() -> None:
    def drifted(state: GrantState) -> frozenset[Grant]:
        ledger = Ledger.of(TARGET, {GRANT: entry(GRANT, ONE, state=state)})
        return plan_policy(ledger, [desiring(ONE, GRANT)], (), SyncFacts(may_release=True)).drifted

    assert drifted(GrantState.GRANTED) == {GRANT}
    assert drifted(GrantState.PENDING) == frozenset()


def test_released_grant_that_is_still_present_is_releasing() -> None:
    ledger = Ledger.of(TARGET, {GRANT: entry(GRANT, ONE)})
    planned = plan_policy(ledger, [desiring(ONE)], {GRANT}, SyncFacts(may_release=True))
    settled = settle(planned, {GRANT}, added=(), refused=(), written_at=None)
    assert settled.entries[GRANT].state is GrantState.RELEASING


def test_ledger_counts_unmanaged_members() -> None:
    unmanaged = Grant(TARGET, ROLES[1], MEMBERS[1])
    after = run_sync(State(policy_with(unmanaged), Ledger.of(TARGET)), [desiring(ONE, GRANT)])
    assert after.ledger.unmanaged_members == 1


def test_release_waits_until_all_objects_have_declared() -> None:
    ledger = Ledger.of(TARGET, {GRANT: entry(GRANT, ONE)})
    pending = plan_policy(ledger, [desiring(ONE)], {GRANT}, SyncFacts(may_release=False))
    assert (pending.released, pending.ledger) == ((), ledger)


def test_ledger_records_the_unique_id_of_the_member() -> None:
    state = State(Policy(etag=b"e"), Ledger.of(TARGET, {GRANT: entry(GRANT, ONE, unique_id="111")}))
    after = run_sync(state, [DesiredGrants(ONE, frozenset({DesiredGrant(GRANT, "222")}))])
    assert after.ledger.entries[GRANT].unique_id == "222"


def test_recreated_account_replaces_all_its_tombstones_at_once() -> None:
    tombstones = [f"deleted:{ACCOUNT}?uid={uid}" for uid in ("111", "333")]
    policy = Policy(etag=b"e", bindings=[Binding(role=GRANT.role, members=[*tombstones, MEMBERS[1]])])
    recorded = entry(GRANT, ONE, unique_id="333", former_unique_ids=("111",))
    after = run_sync(
        State(policy, Ledger.of(TARGET, {GRANT: recorded})),
        [DesiredGrants(ONE, frozenset({DesiredGrant(GRANT, "222")}))],
    )
    assert [list(each.members) for each in after.policy.bindings] == [[MEMBERS[1], ACCOUNT]]


def test_grants_are_written_in_a_stable_order() -> None:
    grants = [Grant(TARGET, role, member) for role in ROLES for member in MEMBERS]

    def order(planned: PolicyPlan) -> list[Grant]:
        return [desired.grant for desired in planned.desired_grants]

    one = plan_policy(Ledger.of(TARGET), [desiring(ONE, *grants)], (), SyncFacts(may_release=True))
    other = plan_policy(
        Ledger.of(TARGET), [desiring(ONE, *reversed(grants))], (), SyncFacts(may_release=True)
    )
    assert order(one) == order(other)
