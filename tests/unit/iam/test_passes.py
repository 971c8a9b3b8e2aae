"""Laws of planning and settling, and of the pass that they make together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from google.iam.v1.policy_pb2 import Binding, Policy
from hypothesis import assume, given
from hypothesis import strategies as st

from cloudrun_identity.api import GrantState
from cloudrun_identity.iam.claims import HOLD_EVERYTHING, Claim, Claimant, Declaration
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.iam.ledger import Holding, Ledger
from cloudrun_identity.iam.merge import merge, present
from cloudrun_identity.iam.passes import Plan, plan, settle

from . import strategies
from .strategies import ACCOUNT, MEMBERS, ROLES, TARGET

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ONE, TWO = (Claimant("IAMBinding", "payments", name, "uid-1") for name in ("one", "two"))
GRANT = Grant(TARGET, ROLES[0], ACCOUNT)


@dataclass(frozen=True)
class State:
    """What outlives a process: the policy in the cloud and the ledger in the cluster."""

    policy: Policy
    ledger: Ledger

    @property
    def standing(self) -> frozenset[Grant]:
        return present(self.policy, TARGET)


def run_pass(
    state: State,
    declarations: Sequence[Declaration],
    *,
    may_release: bool = True,
    may_return: bool = True,
    steps: int = 3,
) -> State:
    """A pass that ends after so many steps: write ahead, write the policy, settle."""
    planned = plan(
        state.ledger,
        declarations,
        state.standing,
        may_release=may_release,
        may_return=lambda *_: may_return,
    )
    freed = merge(state.policy, (), planned.stale)
    written = merge(freed.policy, planned.claims, planned.released)
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
                present(written.policy, TARGET),
                added=written.added,
                rejected=(),
                written_at=NOON if written.policy is not state.policy else None,
            )
            return State(written.policy, settled)


def members(policy: Policy) -> list[tuple[str, bytes, str]]:
    return sorted(
        (binding.role, binding.condition.SerializeToString(), member)
        for binding in policy.bindings
        for member in binding.members
    )


def holding(claimant: Claimant, **fields: object) -> Holding:
    return replace(Holding(frozenset({str(claimant)}), GrantState.GRANTED), **fields)


def holding_of(*claimants: Claimant) -> Holding:
    return Holding(frozenset(map(str, claimants)), GrantState.GRANTED)


def claiming(claimant: Claimant, *grants: Grant, **fields: object) -> Declaration:
    return Declaration(claimant, frozenset(map(Claim, grants)), **fields)


def policy_with(*grants: Grant) -> Policy:
    return merge(Policy(etag=b"e"), [Claim(grant) for grant in grants]).policy


# Laws.


@given(strategies.ledgers, strategies.declarations, strategies.policies)
def test_nothing_is_released_or_left_to_nobody_while_somebody_has_yet_to_declare(
    ledger: Ledger, declarations: list[Declaration], policy: Policy
) -> None:
    planned = plan(ledger, declarations, present(policy, TARGET), may_release=False)
    assert planned.released == ()
    assert ledger.holdings.keys() <= planned.ledger.holdings.keys()


def is_abandoned(ledger: Ledger, grant: Grant, declarations: list[Declaration]) -> bool:
    """Whether everybody who holds the grant lets it go, somebody of them leaving it to nobody."""
    seats = {declaration.claimant.seat: declaration for declaration in declarations}
    leaving = [seats.get(Claimant.parse(text).seat) for text in ledger.holdings[grant].claimants]
    return all(each and not each.keeps(grant) for each in leaving) and any(
        each and each.abandon for each in leaving
    )


@given(strategies.ledgers, strategies.declarations, strategies.policies, st.booleans())
def test_a_claimant_that_has_not_declared_itself_keeps_its_grants(
    ledger: Ledger, declarations: list[Declaration], policy: Policy, may_release: bool
) -> None:
    planned = plan(ledger, declarations, present(policy, TARGET), may_release=may_release)
    seats = {declaration.claimant.seat for declaration in declarations}
    for grant, held in ledger.holdings.items():
        unknown = {text for text in held.claimants if Claimant.parse(text).seat not in seats}
        if unknown:
            assert unknown <= planned.ledger.holdings[grant].claimants
            assert grant not in {release.grant for release in planned.released}


def entombed(standing: frozenset[Grant], declarations: list[Declaration]) -> set[Grant]:
    """What is claimed for accounts that the policy shows as deleted."""
    claims = {claim for each in declarations if each.writable for claim in each.claims}
    return {
        claim.grant
        for claim in claims
        if claim.grant not in standing
        and replace(claim.grant, member=f"deleted:{ACCOUNT}?uid={claim.unique_id}") in standing
    }


@given(strategies.ledgers, strategies.declarations, strategies.policies)
def test_what_somebody_lets_go_and_somebody_else_claims_stays_ours(
    ledger: Ledger, declarations: list[Declaration], policy: Policy
) -> None:
    before = State(policy, ledger)
    after = run_pass(before, declarations)
    for declaration in declarations:
        for claim in declaration.claims if declaration.writable else ():
            if claim.grant in entombed(before.standing, declarations):
                continue
            assert claim.grant in after.standing
            assert str(declaration.claimant) in after.ledger.holdings[claim.grant].claimants
            held = ledger.holdings.get(claim.grant)
            if held and not held.foreign_before and held.state is not GrantState.REJECTED:
                assert not after.ledger.holdings[claim.grant].foreign_before


@given(strategies.ledgers, strategies.declarations, strategies.policies, strategies.policies)
def test_a_pass_after_any_foreign_edit_brings_what_is_declared_and_then_rests(
    ledger: Ledger, declarations: list[Declaration], policy: Policy, edited: Policy
) -> None:
    settled = run_pass(State(policy, ledger), declarations)
    repaired = run_pass(State(edited, settled.ledger), declarations)
    wanted = {claim.grant for each in declarations if each.writable for claim in each.claims}
    assert wanted - entombed(present(edited, TARGET), declarations) <= repaired.standing
    assert run_pass(repaired, declarations) == repaired


@given(strategies.ledgers, strategies.declarations, strategies.policies, st.booleans())
def test_what_is_about_to_be_written_is_in_the_ledger_first(
    ledger: Ledger, declarations: list[Declaration], policy: Policy, may_release: bool
) -> None:
    planned = plan(ledger, declarations, present(policy, TARGET), may_release=may_release)
    assert {claim.grant for claim in planned.claims} <= planned.ledger.holdings.keys()
    assert {release.grant for release in planned.released} <= planned.ledger.holdings.keys()


@given(strategies.ledgers, strategies.declarations, strategies.policies)
def test_a_release_is_claimed_and_held_by_nobody(
    ledger: Ledger, declarations: list[Declaration], policy: Policy
) -> None:
    planned = plan(ledger, declarations, present(policy, TARGET), may_release=True)
    holders = {text for grant in ledger.holdings for text in ledger.holdings[grant].claimants}
    for release in planned.released:
        assert release.grant in ledger.holdings
        for declaration in declarations:
            was_held = any(Claimant.parse(text).seat == declaration.claimant.seat for text in holders)
            held_here = any(
                Claimant.parse(text).seat == declaration.claimant.seat
                for text in ledger.holdings[release.grant].claimants
            )
            assert not (declaration.writable and any(c.grant == release.grant for c in declaration.claims))
            assert not (was_held and held_here and declaration.keeps(release.grant))


@given(strategies.ledgers, strategies.declarations, strategies.policies, st.booleans())
def test_a_grant_leaves_the_ledger_only_when_it_is_gone_was_foreign_or_is_abandoned(
    ledger: Ledger, declarations: list[Declaration], policy: Policy, may_release: bool
) -> None:
    after = run_pass(State(policy, ledger), declarations, may_release=may_release)
    for grant, held in ledger.holdings.items():
        ours = not held.foreign_before and held.state is not GrantState.REJECTED
        if grant in after.standing and ours:
            assert grant in after.ledger.holdings or is_abandoned(ledger, grant, declarations)


@given(strategies.ledgers, strategies.declarations, strategies.policies, st.booleans())
def test_only_what_the_ledger_holds_is_ever_removed(
    ledger: Ledger, declarations: list[Declaration], policy: Policy, may_return: bool
) -> None:
    before = State(policy, ledger)
    gone = before.standing - run_pass(before, declarations, may_return=may_return).standing
    # A tombstone goes with a live claim even where the grant was foreign before: it is in our history.
    ours = {
        (grant.role, grant.condition, member)
        for grant, held in ledger.holdings.items()
        for member in (
            *(f"deleted:{grant.member}?uid={unique_id}" for unique_id in held.unique_ids),
            *(() if held.foreign_before else (grant.member,)),
        )
    }
    assert {(grant.role, grant.condition, grant.member) for grant in gone} <= ours


@given(strategies.ledgers, strategies.declarations, strategies.policies)
def test_the_order_of_declarations_does_not_matter(
    ledger: Ledger, declarations: list[Declaration], policy: Policy
) -> None:
    shuffled = declarations[::-1]
    standing = present(policy, TARGET)
    assert plan(ledger, declarations, standing, may_release=True) == plan(
        ledger, shuffled, standing, may_release=True
    )


@given(strategies.ledgers, strategies.declarations, strategies.policies)
def test_what_is_kept_without_a_claim_goes_only_with_an_account_that_does_not_return(
    ledger: Ledger, declarations: list[Declaration], policy: Policy
) -> None:
    before = State(policy, ledger)
    kept = run_pass(before, declarations)
    after = run_pass(before, declarations, may_return=False)
    seats = {declaration.claimant.seat: declaration for declaration in declarations}
    for grant in kept.ledger.holdings.keys() - after.ledger.holdings.keys():
        held = ledger.holdings[grant]
        assert grant not in before.standing
        assert replace(grant, member=f"deleted:{grant.member}?uid={held.unique_id}") in before.standing
        assert all(seats[Claimant.parse(text).seat].writable for text in held.claimants)
    assert {grant for grant in kept.standing - after.standing if grant.member == ACCOUNT} == set()


@given(strategies.ledgers, strategies.declarations, strategies.policies, st.booleans())
def test_a_second_pass_writes_nothing(
    ledger: Ledger, declarations: list[Declaration], policy: Policy, may_return: bool
) -> None:
    once = run_pass(State(policy, ledger), declarations, may_return=may_return)
    twice = run_pass(once, declarations, may_return=may_return)
    assert twice.policy is once.policy
    assert twice.ledger == once.ledger


@given(
    strategies.ledgers,
    strategies.declarations,
    strategies.policies,
    st.lists(st.integers(0, 2), min_size=1, max_size=3),
    st.booleans(),
)
def test_a_crash_between_any_two_steps_changes_nothing_in_the_end(
    ledger: Ledger, declarations: list[Declaration], policy: Policy, crashes: list[int], may_return: bool
) -> None:
    start = State(policy, ledger)
    smooth = run_pass(start, declarations, may_return=may_return)
    bumpy = start
    for steps in crashes:
        bumpy = run_pass(bumpy, declarations, may_return=may_return, steps=steps)
    bumpy = run_pass(bumpy, declarations, may_return=may_return)
    assert members(bumpy.policy) == members(smooth.policy)
    assert bumpy.ledger.holdings == smooth.ledger.holdings


@given(strategies.ledgers, strategies.policies, st.data())
def test_a_successor_takes_the_place_of_its_predecessor(
    ledger: Ledger, policy: Policy, data: st.DataObject
) -> None:
    assume(ledger.holdings)
    grant = data.draw(st.sampled_from(list(ledger.holdings)))
    predecessor = Claimant.parse(data.draw(st.sampled_from(sorted(ledger.holdings[grant].claimants))))
    successor = replace(predecessor, uid="uid-of-the-successor")
    planned = plan(ledger, [claiming(successor, grant)], present(policy, TARGET), may_release=True)
    claimants = planned.ledger.holdings[grant].claimants
    assert str(successor) in claimants
    assert str(predecessor) not in claimants


@given(strategies.ledgers, strategies.declarations, strategies.policies, st.integers(0, 7))
def test_a_refused_grant_stays_in_the_ledger_and_is_granted_if_it_stands_all_the_same(
    ledger: Ledger, declarations: list[Declaration], policy: Policy, refused: int
) -> None:
    planned = plan(ledger, declarations, present(policy, TARGET), may_release=True)
    claimed = [claim.grant for claim in planned.claims]
    rejected = {grant for index, grant in enumerate(claimed) if refused >> index & 1}
    written = merge(policy, [c for c in planned.claims if c.grant not in rejected], planned.released)
    standing = present(written.policy, TARGET)
    settled = settle(planned, standing, added=written.added, rejected=rejected, written_at=NOON)
    for grant in claimed:
        expected = GrantState.GRANTED if grant in standing else GrantState.REJECTED
        assert settled.holdings[grant].state is expected


# Cases.


def settled_state(state: State, *declarations: Declaration) -> Holding | None:
    return run_pass(state, declarations).ledger.holdings.get(GRANT)


def test_a_new_grant_is_ours() -> None:
    after = run_pass(State(Policy(etag=b"e"), Ledger(TARGET)), [claiming(ONE, GRANT)])
    assert after.ledger.holdings == {GRANT: holding(ONE)}
    assert after.ledger.last_write_time == NOON
    assert GRANT in after.standing


def test_a_grant_that_stood_before_is_foreign_and_survives_its_claimant() -> None:
    state = run_pass(State(policy_with(GRANT), Ledger(TARGET)), [claiming(ONE, GRANT)])
    assert state.ledger.holdings == {GRANT: holding(ONE, foreign_before=True)}
    state = run_pass(state, [claiming(ONE)])
    assert state.ledger.is_empty
    assert GRANT in state.standing


def test_a_grant_that_somebody_added_a_moment_before_our_write_is_foreign() -> None:
    planned = plan(Ledger(TARGET), [claiming(ONE, GRANT)], (), may_release=True)
    settled = settle(planned, {GRANT}, added=(), rejected=(), written_at=NOON)
    assert settled.holdings[GRANT].foreign_before


def test_a_grant_begun_in_an_earlier_pass_is_ours_though_this_pass_adds_nothing() -> None:
    crashed = run_pass(State(Policy(etag=b"e"), Ledger(TARGET)), [claiming(ONE, GRANT)], steps=2)
    assert settled_state(crashed, claiming(ONE, GRANT)) == holding(ONE)


def test_ownership_passes_from_a_releasing_claimant_to_a_remaining_one() -> None:
    state = State(policy_with(GRANT), Ledger(TARGET, holdings={GRANT: holding_of(ONE, TWO)}))
    assert settled_state(state, claiming(ONE), claiming(TWO, GRANT)) == holding(TWO)


def test_ownership_passes_to_a_claimant_that_arrives_as_the_last_one_leaves() -> None:
    state = State(policy_with(GRANT), Ledger(TARGET, holdings={GRANT: holding_of(ONE)}))
    assert settled_state(state, claiming(ONE), claiming(TWO, GRANT)) == holding(TWO)


def test_an_abandoned_grant_stands_and_is_forgotten() -> None:
    state = State(policy_with(GRANT), Ledger(TARGET, holdings={GRANT: holding_of(ONE)}))
    state = run_pass(state, [claiming(ONE, abandon=True)])
    assert state.ledger.is_empty
    assert GRANT in state.standing


def test_abandoning_removes_one_claimant_alone() -> None:
    state = State(policy_with(GRANT), Ledger(TARGET, holdings={GRANT: holding_of(ONE, TWO)}))
    assert settled_state(state, claiming(ONE, abandon=True), claiming(TWO, GRANT)) == holding(TWO)


def test_a_held_grant_is_neither_released_nor_claimed_anew() -> None:
    state = State(Policy(etag=b"e"), Ledger(TARGET, holdings={GRANT: holding_of(ONE)}))
    state = run_pass(state, [claiming(ONE, holds=(HOLD_EVERYTHING,), writable=False)])
    assert state.ledger.holdings == {GRANT: holding_of(ONE)}
    assert not state.standing


def test_a_claim_that_is_not_writable_protects_and_is_not_repaired() -> None:
    observing = claiming(ONE, GRANT, writable=False)
    missing = State(Policy(etag=b"e"), Ledger(TARGET, holdings={GRANT: holding_of(ONE)}))
    assert not run_pass(missing, [observing]).standing
    standing = State(policy_with(GRANT), missing.ledger)
    assert run_pass(standing, [observing]) == standing


def test_a_claim_that_is_not_writable_holds_nothing_new() -> None:
    state = State(policy_with(GRANT), Ledger(TARGET))
    assert run_pass(state, [claiming(ONE, GRANT, writable=False)]).ledger.is_empty


def test_a_granted_claim_that_is_missing_has_drifted_and_a_pending_one_has_not() -> None:
    def drifted(state: GrantState) -> frozenset[Grant]:
        ledger = Ledger(TARGET, holdings={GRANT: holding(ONE, state=state)})
        return plan(ledger, [claiming(ONE, GRANT)], (), may_release=True).drifted

    assert drifted(GrantState.GRANTED) == {GRANT}
    assert drifted(GrantState.PENDING) == frozenset()


def test_a_release_that_still_stands_says_so() -> None:
    ledger = Ledger(TARGET, holdings={GRANT: holding_of(ONE)})
    planned = plan(ledger, [claiming(ONE)], {GRANT}, may_release=True)
    settled = settle(planned, {GRANT}, added=(), rejected=(), written_at=None)
    assert settled.holdings[GRANT].state is GrantState.RELEASING


def test_the_ledger_counts_what_is_not_ours() -> None:
    foreign = Grant(TARGET, ROLES[1], MEMBERS[1])
    after = run_pass(State(policy_with(foreign), Ledger(TARGET)), [claiming(ONE, GRANT)])
    assert after.ledger.foreign_members == 1


def test_a_release_waits_until_every_object_has_declared_itself() -> None:
    ledger = Ledger(TARGET, holdings={GRANT: holding_of(ONE)})
    waiting = plan(ledger, [claiming(ONE)], {GRANT}, may_release=False)
    assert (waiting.released, waiting.ledger) == ((), ledger)


def test_the_ledger_remembers_the_account_that_a_member_means() -> None:
    state = State(Policy(etag=b"e"), Ledger(TARGET, holdings={GRANT: holding(ONE, unique_id="111")}))
    after = run_pass(state, [Declaration(ONE, frozenset({Claim(GRANT, "222")}))])
    assert after.ledger.holdings[GRANT].unique_id == "222"


def test_a_recreated_account_takes_every_tombstone_of_its_own_along_at_once() -> None:
    tombstones = [f"deleted:{ACCOUNT}?uid={uid}" for uid in ("111", "333")]
    policy = Policy(etag=b"e", bindings=[Binding(role=GRANT.role, members=[*tombstones, MEMBERS[1]])])
    held = holding(ONE, unique_id="333", former_ids=("111",))
    after = run_pass(
        State(policy, Ledger(TARGET, holdings={GRANT: held})),
        [Declaration(ONE, frozenset({Claim(GRANT, "222")}))],
    )
    assert [list(each.members) for each in after.policy.bindings] == [[MEMBERS[1], ACCOUNT]]


def test_the_policy_is_written_in_a_steady_order() -> None:
    grants = [Grant(TARGET, role, member) for role in ROLES for member in MEMBERS]

    def order(planned: Plan) -> list[Grant]:
        return [claim.grant for claim in planned.claims]

    one = plan(Ledger(TARGET), [claiming(ONE, *grants)], (), may_release=True)
    other = plan(Ledger(TARGET), [claiming(ONE, *reversed(grants))], (), may_release=True)
    assert order(one) == order(other)
