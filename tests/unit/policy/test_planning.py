"""Laws of planning and settling, and of the pass that they make together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from google.iam.v1.policy_pb2 import Binding, Policy
from hypothesis import assume, given
from hypothesis import strategies as st

from cloudrun_identity.api import GrantState, LedgerEntry
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.ledger.model import Ledger, entry_of
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.desired_grants import RETAIN_ALL, DesiredGrant, DesiredGrants
from cloudrun_identity.policy.merge import grants_in, merge
from cloudrun_identity.policy.planning import PolicyPlan, plan_policy
from cloudrun_identity.policy.settlement import settle
from tests.unit.iam import strategies
from tests.unit.iam.strategies import ACCOUNT, MEMBERS, ROLES, TARGET

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ONE, TWO = (Owner("IAMBinding", "payments", name, "uid-1") for name in ("one", "two"))
GRANT = Grant(TARGET, ROLES[0], ACCOUNT)


@dataclass(frozen=True)
class State:
    """What outlives a process: the policy in the cloud and the ledger in the cluster."""

    policy: Policy
    ledger: Ledger

    @property
    def present(self) -> frozenset[Grant]:
        return grants_in(self.policy, TARGET)


def run_pass(
    state: State,
    all_desired: Sequence[DesiredGrants],
    *,
    may_release: bool = True,
    may_return: bool = True,
    steps: int = 3,
) -> State:
    """A pass that ends after so many steps: write ahead, write the policy, settle."""
    planned = plan_policy(
        state.ledger,
        all_desired,
        state.present,
        may_release=may_release,
        may_return=lambda *_: may_return,
    )
    freed = merge(state.policy, (), planned.replaced)
    written = merge(freed.policy, planned.desired_grants, planned.released)
    match steps:
        case 0:
            return state
        case 1:
            return State(state.policy, planned.ledger)
        case 2:
            return State(written.policy, planned.ledger)
        case _:
            settled = settle(
                planned,
                grants_in(written.policy, TARGET),
                added=written.added,
                refused=(),
                written_at=NOON if written.policy is not state.policy else None,
            )
            return State(written.policy, settled)


def members(policy: Policy) -> list[tuple[str, bytes, str]]:
    return sorted(
        (binding.role, binding.condition.SerializeToString(), member)
        for binding in policy.bindings
        for member in binding.members
    )


def entry(grant: Grant, *owners: Owner, **fields: Any) -> LedgerEntry:
    return entry_of(grant, [*map(str, owners)], **{"state": GrantState.GRANTED, **fields})


def claiming(owner: Owner, *grants: Grant, **fields: object) -> DesiredGrants:
    return DesiredGrants(owner, frozenset(map(DesiredGrant, grants)), **fields)


def policy_with(*grants: Grant) -> Policy:
    return merge(Policy(etag=b"e"), [DesiredGrant(grant) for grant in grants]).policy


# Laws.


@given(strategies.ledgers, strategies.all_desired, strategies.policies)
def test_nothing_is_released_or_left_to_nobody_while_somebody_has_yet_to_declare(
    ledger: Ledger, all_desired: list[DesiredGrants], policy: Policy
) -> None:
    planned = plan_policy(ledger, all_desired, grants_in(policy, TARGET), may_release=False)
    assert planned.released == ()
    assert ledger.entries.keys() <= planned.ledger.entries.keys()


def is_abandoned(ledger: Ledger, grant: Grant, all_desired: list[DesiredGrants]) -> bool:
    """Whether everybody who holds the grant lets it go, somebody of them leaving it to nobody."""
    owner_keys = {desired.owner.owner_key: desired for desired in all_desired}
    leaving = [owner_keys.get(Owner.parse(text).owner_key) for text in ledger.entries[grant].owners]
    return all(each and not each.keeps(grant) for each in leaving) and any(
        each and each.abandon for each in leaving
    )


@given(strategies.ledgers, strategies.all_desired, strategies.policies, st.booleans())
def test_a_claimant_that_has_not_declared_itself_keeps_its_grants(
    ledger: Ledger, all_desired: list[DesiredGrants], policy: Policy, may_release: bool
) -> None:
    planned = plan_policy(ledger, all_desired, grants_in(policy, TARGET), may_release=may_release)
    owner_keys = {desired.owner.owner_key for desired in all_desired}
    for grant, held in ledger.entries.items():
        unknown = {text for text in held.owners if Owner.parse(text).owner_key not in owner_keys}
        if unknown:
            assert unknown <= set(planned.ledger.entries[grant].owners)
            assert grant not in {release.grant for release in planned.released}


def deleted_form(present: frozenset[Grant], all_desired: list[DesiredGrants]) -> set[Grant]:
    """What is claimed for accounts that the policy shows as deleted."""
    desired_grants = {
        desired_grant for each in all_desired if each.writable for desired_grant in each.desired_grants
    }
    return {
        desired_grant.grant
        for desired_grant in desired_grants
        if desired_grant.grant not in present
        and replace(desired_grant.grant, member=f"deleted:{ACCOUNT}?uid={desired_grant.unique_id}") in present
    }


@given(strategies.ledgers, strategies.all_desired, strategies.policies)
def test_what_somebody_lets_go_and_somebody_else_claims_stays_ours(
    ledger: Ledger, all_desired: list[DesiredGrants], policy: Policy
) -> None:
    before = State(policy, ledger)
    after = run_pass(before, all_desired)
    for desired in all_desired:
        for desired_grant in desired.desired_grants if desired.writable else ():
            if desired_grant.grant in deleted_form(before.present, all_desired):
                continue
            assert desired_grant.grant in after.present
            assert str(desired.owner) in after.ledger.entries[desired_grant.grant].owners
            held = ledger.entries.get(desired_grant.grant)
            if held and not held.present_before and held.state is not GrantState.REJECTED:
                assert not after.ledger.entries[desired_grant.grant].present_before


@given(strategies.ledgers, strategies.all_desired, strategies.policies, strategies.policies)
def test_a_pass_after_any_foreign_edit_brings_what_is_declared_and_then_rests(
    ledger: Ledger, all_desired: list[DesiredGrants], policy: Policy, edited: Policy
) -> None:
    settled = run_pass(State(policy, ledger), all_desired)
    repaired = run_pass(State(edited, settled.ledger), all_desired)
    wanted = {
        desired_grant.grant for each in all_desired if each.writable for desired_grant in each.desired_grants
    }
    assert wanted - deleted_form(grants_in(edited, TARGET), all_desired) <= repaired.present
    assert run_pass(repaired, all_desired) == repaired


@given(strategies.ledgers, strategies.all_desired, strategies.policies, st.booleans())
def test_what_is_about_to_be_written_is_in_the_ledger_first(
    ledger: Ledger, all_desired: list[DesiredGrants], policy: Policy, may_release: bool
) -> None:
    planned = plan_policy(ledger, all_desired, grants_in(policy, TARGET), may_release=may_release)
    assert {desired_grant.grant for desired_grant in planned.desired_grants} <= planned.ledger.entries.keys()
    assert {release.grant for release in planned.released} <= planned.ledger.entries.keys()


@given(strategies.ledgers, strategies.all_desired, strategies.policies)
def test_a_release_is_claimed_and_held_by_nobody(
    ledger: Ledger, all_desired: list[DesiredGrants], policy: Policy
) -> None:
    planned = plan_policy(ledger, all_desired, grants_in(policy, TARGET), may_release=True)
    holders = {text for grant in ledger.entries for text in ledger.entries[grant].owners}
    for release in planned.released:
        assert release.grant in ledger.entries
        for desired in all_desired:
            was_held = any(Owner.parse(text).owner_key == desired.owner.owner_key for text in holders)
            held_here = any(
                Owner.parse(text).owner_key == desired.owner.owner_key
                for text in ledger.entries[release.grant].owners
            )
            assert not (desired.writable and any(c.grant == release.grant for c in desired.desired_grants))
            assert not (was_held and held_here and desired.keeps(release.grant))


@given(strategies.ledgers, strategies.all_desired, strategies.policies, st.booleans())
def test_a_grant_leaves_the_ledger_only_when_it_is_gone_was_foreign_or_is_abandoned(
    ledger: Ledger, all_desired: list[DesiredGrants], policy: Policy, may_release: bool
) -> None:
    after = run_pass(State(policy, ledger), all_desired, may_release=may_release)
    for grant, held in ledger.entries.items():
        ours = not held.present_before and held.state is not GrantState.REJECTED
        if grant in after.present and ours:
            assert grant in after.ledger.entries or is_abandoned(ledger, grant, all_desired)


@given(strategies.ledgers, strategies.all_desired, strategies.policies, st.booleans())
def test_only_what_the_ledger_holds_is_ever_removed(
    ledger: Ledger, all_desired: list[DesiredGrants], policy: Policy, may_return: bool
) -> None:
    before = State(policy, ledger)
    gone = before.present - run_pass(before, all_desired, may_return=may_return).present
    # A tombstone goes with a live claim even where the grant was foreign before: it is in our history.
    ours = {
        (grant.role, grant.condition, member)
        for grant, held in ledger.entries.items()
        for member in (
            *(f"deleted:{grant.member}?uid={unique_id}" for unique_id in held.unique_ids),
            *(() if held.present_before else (grant.member,)),
        )
    }
    assert {(grant.role, grant.condition, grant.member) for grant in gone} <= ours


@given(strategies.ledgers, strategies.all_desired, strategies.policies)
def test_the_order_of_declarations_does_not_matter(
    ledger: Ledger, all_desired: list[DesiredGrants], policy: Policy
) -> None:
    shuffled = all_desired[::-1]
    present = grants_in(policy, TARGET)
    assert plan_policy(ledger, all_desired, present, may_release=True) == plan_policy(
        ledger, shuffled, present, may_release=True
    )


@given(strategies.ledgers, strategies.all_desired, strategies.policies)
def test_what_is_kept_without_a_claim_goes_only_with_an_account_that_does_not_return(
    ledger: Ledger, all_desired: list[DesiredGrants], policy: Policy
) -> None:
    before = State(policy, ledger)
    kept = run_pass(before, all_desired)
    after = run_pass(before, all_desired, may_return=False)
    owner_keys = {desired.owner.owner_key: desired for desired in all_desired}
    for grant in kept.ledger.entries.keys() - after.ledger.entries.keys():
        held = ledger.entries[grant]
        assert grant not in before.present
        assert replace(grant, member=f"deleted:{grant.member}?uid={held.unique_id}") in before.present
        assert all(owner_keys[Owner.parse(text).owner_key].writable for text in held.owners)
    assert {grant for grant in kept.present - after.present if grant.member == ACCOUNT} == set()


@given(strategies.ledgers, strategies.all_desired, strategies.policies, st.booleans())
def test_a_second_pass_writes_nothing(
    ledger: Ledger, all_desired: list[DesiredGrants], policy: Policy, may_return: bool
) -> None:
    once = run_pass(State(policy, ledger), all_desired, may_return=may_return)
    twice = run_pass(once, all_desired, may_return=may_return)
    assert twice.policy is once.policy
    assert twice.ledger == once.ledger


@given(
    strategies.ledgers,
    strategies.all_desired,
    strategies.policies,
    st.lists(st.integers(0, 2), min_size=1, max_size=3),
    st.booleans(),
)
def test_a_crash_between_any_two_steps_changes_nothing_in_the_end(
    ledger: Ledger, all_desired: list[DesiredGrants], policy: Policy, crashes: list[int], may_return: bool
) -> None:
    start = State(policy, ledger)
    smooth = run_pass(start, all_desired, may_return=may_return)
    bumpy = start
    for steps in crashes:
        bumpy = run_pass(bumpy, all_desired, may_return=may_return, steps=steps)
    bumpy = run_pass(bumpy, all_desired, may_return=may_return)
    assert members(bumpy.policy) == members(smooth.policy)
    assert bumpy.ledger.entries == smooth.ledger.entries


@given(strategies.ledgers, strategies.policies, st.data())
def test_a_successor_takes_the_place_of_its_predecessor(
    ledger: Ledger, policy: Policy, data: st.DataObject
) -> None:
    assume(ledger.entries)
    grant = data.draw(st.sampled_from(list(ledger.entries)))
    predecessor = Owner.parse(data.draw(st.sampled_from(sorted(ledger.entries[grant].owners))))
    successor = replace(predecessor, uid="uid-of-the-successor")
    planned = plan_policy(ledger, [claiming(successor, grant)], grants_in(policy, TARGET), may_release=True)
    owners = planned.ledger.entries[grant].owners
    assert str(successor) in owners
    assert str(predecessor) not in owners


@given(strategies.ledgers, strategies.all_desired, strategies.policies, st.integers(0, 7))
def test_a_refused_grant_stays_in_the_ledger_and_is_granted_if_it_stands_all_the_same(
    ledger: Ledger, all_desired: list[DesiredGrants], policy: Policy, refused: int
) -> None:
    planned = plan_policy(ledger, all_desired, grants_in(policy, TARGET), may_release=True)
    claimed = [desired_grant.grant for desired_grant in planned.desired_grants]
    rejected = {grant for index, grant in enumerate(claimed) if refused >> index & 1}
    written = merge(policy, [c for c in planned.desired_grants if c.grant not in rejected], planned.released)
    present = grants_in(written.policy, TARGET)
    settled = settle(planned, present, added=written.added, refused=rejected, written_at=NOON)
    for grant in claimed:
        expected = GrantState.GRANTED if grant in present else GrantState.REJECTED
        assert settled.entries[grant].state is expected


# Cases.


def settled_state(state: State, *all_desired: DesiredGrants) -> LedgerEntry | None:
    return run_pass(state, all_desired).ledger.entries.get(GRANT)


def test_a_new_grant_is_ours() -> None:
    after = run_pass(State(Policy(etag=b"e"), Ledger.of(TARGET)), [claiming(ONE, GRANT)])
    assert after.ledger.entries == {GRANT: entry(GRANT, ONE)}
    assert after.ledger.last_write_time == NOON
    assert GRANT in after.present


def test_a_grant_that_stood_before_is_foreign_and_survives_its_claimant() -> None:
    state = run_pass(State(policy_with(GRANT), Ledger.of(TARGET)), [claiming(ONE, GRANT)])
    assert state.ledger.entries == {GRANT: entry(GRANT, ONE, present_before=True)}
    state = run_pass(state, [claiming(ONE)])
    assert state.ledger.is_empty
    assert GRANT in state.present


def test_a_grant_that_somebody_added_a_moment_before_our_write_is_foreign() -> None:
    planned = plan_policy(Ledger.of(TARGET), [claiming(ONE, GRANT)], (), may_release=True)
    settled = settle(planned, {GRANT}, added=(), refused=(), written_at=NOON)
    assert settled.entries[GRANT].present_before


def test_a_grant_begun_in_an_earlier_pass_is_ours_though_this_pass_adds_nothing() -> None:
    crashed = run_pass(State(Policy(etag=b"e"), Ledger.of(TARGET)), [claiming(ONE, GRANT)], steps=2)
    assert settled_state(crashed, claiming(ONE, GRANT)) == entry(GRANT, ONE)


def test_ownership_passes_from_a_releasing_claimant_to_a_remaining_one() -> None:
    state = State(policy_with(GRANT), Ledger.of(TARGET, {GRANT: entry(GRANT, ONE, TWO)}))
    assert settled_state(state, claiming(ONE), claiming(TWO, GRANT)) == entry(GRANT, TWO)


def test_ownership_passes_to_a_claimant_that_arrives_as_the_last_one_leaves() -> None:
    state = State(policy_with(GRANT), Ledger.of(TARGET, {GRANT: entry(GRANT, ONE)}))
    assert settled_state(state, claiming(ONE), claiming(TWO, GRANT)) == entry(GRANT, TWO)


def test_an_abandoned_grant_stands_and_is_forgotten() -> None:
    state = State(policy_with(GRANT), Ledger.of(TARGET, {GRANT: entry(GRANT, ONE)}))
    state = run_pass(state, [claiming(ONE, abandon=True)])
    assert state.ledger.is_empty
    assert GRANT in state.present


def test_abandoning_removes_one_claimant_alone() -> None:
    state = State(policy_with(GRANT), Ledger.of(TARGET, {GRANT: entry(GRANT, ONE, TWO)}))
    assert settled_state(state, claiming(ONE, abandon=True), claiming(TWO, GRANT)) == entry(GRANT, TWO)


def test_a_held_grant_is_neither_released_nor_claimed_anew() -> None:
    state = State(Policy(etag=b"e"), Ledger.of(TARGET, {GRANT: entry(GRANT, ONE)}))
    state = run_pass(state, [claiming(ONE, retains=(RETAIN_ALL,), writable=False)])
    assert state.ledger.entries == {GRANT: entry(GRANT, ONE)}
    assert not state.present


def test_a_claim_that_is_not_writable_protects_and_is_not_repaired() -> None:
    observing = claiming(ONE, GRANT, writable=False)
    missing = State(Policy(etag=b"e"), Ledger.of(TARGET, {GRANT: entry(GRANT, ONE)}))
    assert not run_pass(missing, [observing]).present
    present = State(policy_with(GRANT), missing.ledger)
    assert run_pass(present, [observing]) == present


def test_a_claim_that_is_not_writable_holds_nothing_new() -> None:
    state = State(policy_with(GRANT), Ledger.of(TARGET))
    assert run_pass(state, [claiming(ONE, GRANT, writable=False)]).ledger.is_empty


def test_a_granted_claim_that_is_missing_has_drifted_and_a_pending_one_has_not() -> None:
    def drifted(state: GrantState) -> frozenset[Grant]:
        ledger = Ledger.of(TARGET, {GRANT: entry(GRANT, ONE, state=state)})
        return plan_policy(ledger, [claiming(ONE, GRANT)], (), may_release=True).drifted

    assert drifted(GrantState.GRANTED) == {GRANT}
    assert drifted(GrantState.PENDING) == frozenset()


def test_a_release_that_still_stands_says_so() -> None:
    ledger = Ledger.of(TARGET, {GRANT: entry(GRANT, ONE)})
    planned = plan_policy(ledger, [claiming(ONE)], {GRANT}, may_release=True)
    settled = settle(planned, {GRANT}, added=(), refused=(), written_at=None)
    assert settled.entries[GRANT].state is GrantState.RELEASING


def test_the_ledger_counts_what_is_not_ours() -> None:
    foreign = Grant(TARGET, ROLES[1], MEMBERS[1])
    after = run_pass(State(policy_with(foreign), Ledger.of(TARGET)), [claiming(ONE, GRANT)])
    assert after.ledger.unmanaged_members == 1


def test_a_release_waits_until_every_object_has_declared_itself() -> None:
    ledger = Ledger.of(TARGET, {GRANT: entry(GRANT, ONE)})
    waiting = plan_policy(ledger, [claiming(ONE)], {GRANT}, may_release=False)
    assert (waiting.released, waiting.ledger) == ((), ledger)


def test_the_ledger_remembers_the_account_that_a_member_means() -> None:
    state = State(Policy(etag=b"e"), Ledger.of(TARGET, {GRANT: entry(GRANT, ONE, unique_id="111")}))
    after = run_pass(state, [DesiredGrants(ONE, frozenset({DesiredGrant(GRANT, "222")}))])
    assert after.ledger.entries[GRANT].unique_id == "222"


def test_a_recreated_account_takes_every_tombstone_of_its_own_along_at_once() -> None:
    tombstones = [f"deleted:{ACCOUNT}?uid={uid}" for uid in ("111", "333")]
    policy = Policy(etag=b"e", bindings=[Binding(role=GRANT.role, members=[*tombstones, MEMBERS[1]])])
    held = entry(GRANT, ONE, unique_id="333", former_unique_ids=("111",))
    after = run_pass(
        State(policy, Ledger.of(TARGET, {GRANT: held})),
        [DesiredGrants(ONE, frozenset({DesiredGrant(GRANT, "222")}))],
    )
    assert [list(each.members) for each in after.policy.bindings] == [[MEMBERS[1], ACCOUNT]]


def test_the_policy_is_written_in_a_steady_order() -> None:
    grants = [Grant(TARGET, role, member) for role in ROLES for member in MEMBERS]

    def order(planned: PolicyPlan) -> list[Grant]:
        return [desired_grant.grant for desired_grant in planned.desired_grants]

    one = plan_policy(Ledger.of(TARGET), [claiming(ONE, *grants)], (), may_release=True)
    other = plan_policy(Ledger.of(TARGET), [claiming(ONE, *reversed(grants))], (), may_release=True)
    assert order(one) == order(other)
