"""Laws of planning and settlement, and of the sync that they form."""

from dataclasses import replace

from google.iam.v1.policy_pb2 import Policy
from hypothesis import assume, given
from hypothesis import strategies as st

from cloudrun_identity.api import GrantState
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.desired_grants import DesiredGrants
from cloudrun_identity.policy.merge import grants_in, merge
from cloudrun_identity.policy.planning import plan_policy
from cloudrun_identity.policy.review import SyncFacts
from cloudrun_identity.policy.settlement import settle
from cloudrun_identity.policy.tombstones import tombstones_of
from tests.unit.policy import strategies
from tests.unit.policy.strategies import ACCOUNT, TARGET

from .one_policy import desiring
from .pure_sync import NOON, State, run_sync


def members(policy: Policy) -> list[tuple[str, bytes, str]]:
    return sorted(
        (binding.role, binding.condition.SerializeToString(), member)
        for binding in policy.bindings
        for member in binding.members
    )


@given(strategies.ledgers, strategies.declarations, strategies.policies)
def test_nothing_is_released_until_all_objects_have_declared(
    ledger: Ledger, declared: list[DesiredGrants], policy: Policy
) -> None:
    planned = plan_policy(ledger, declared, grants_in(policy, TARGET), SyncFacts(may_release=False))
    assert planned.released == ()
    assert ledger.entries.keys() <= planned.ledger.entries.keys()


def is_abandoned(ledger: Ledger, grant: Grant, declared: list[DesiredGrants]) -> bool:
    """Return whether all owners release the grant, and one of them abandons it."""
    owner_keys = {desired.owner.owner_key: desired for desired in declared}
    leaving = [owner_keys.get(Owner.parse(text).owner_key) for text in ledger.entries[grant].owners]
    return all(each and not each.keeps(grant) for each in leaving) and any(
        each and each.abandon for each in leaving
    )


@given(strategies.ledgers, strategies.declarations, strategies.policies, st.booleans())
def test_owner_that_has_not_declared_keeps_its_grants(
    ledger: Ledger, declared: list[DesiredGrants], policy: Policy, may_release: bool
) -> None:
    planned = plan_policy(ledger, declared, grants_in(policy, TARGET), SyncFacts(may_release=may_release))
    owner_keys = {desired.owner.owner_key for desired in declared}
    for grant, recorded in ledger.entries.items():
        unknown = {text for text in recorded.owners if Owner.parse(text).owner_key not in owner_keys}
        if unknown:
            assert unknown <= set(planned.ledger.entries[grant].owners)
            assert grant not in {release.grant for release in planned.released}


def deleted_form(present: frozenset[Grant], declared: list[DesiredGrants]) -> set[Grant]:
    """Return the desired grants of accounts that the policy shows as deleted."""
    desired_grants = {desired for each in declared if each.writable for desired in each.desired_grants}
    return {
        desired.grant
        for desired in desired_grants
        if desired.grant not in present
        and replace(desired.grant, member=f"deleted:{ACCOUNT}?uid={desired.unique_id}") in present
    }


@given(strategies.ledgers, strategies.declarations, strategies.policies)
def test_grant_released_by_one_owner_and_desired_by_another_stays(
    ledger: Ledger, declared: list[DesiredGrants], policy: Policy
) -> None:
    before = State(policy, ledger)
    after = run_sync(before, declared)
    for each in declared:
        for desired in each.desired_grants if each.writable else ():
            if desired.grant in deleted_form(before.present, declared):
                continue
            assert desired.grant in after.present
            assert str(each.owner) in after.ledger.entries[desired.grant].owners
            recorded = ledger.entries.get(desired.grant)
            if recorded and not recorded.present_before and recorded.state is not GrantState.REJECTED:
                assert not after.ledger.entries[desired.grant].present_before


@given(strategies.ledgers, strategies.declarations, strategies.policies, strategies.policies)
def test_sync_after_an_edit_restores_desired_grants_and_settles(
    ledger: Ledger, declared: list[DesiredGrants], policy: Policy, edited: Policy
) -> None:
    settled = run_sync(State(policy, ledger), declared)
    repaired = run_sync(State(edited, settled.ledger), declared)
    wanted = {desired.grant for each in declared if each.writable for desired in each.desired_grants}
    assert wanted - deleted_form(grants_in(edited, TARGET), declared) <= repaired.present
    assert run_sync(repaired, declared) == repaired


@given(strategies.ledgers, strategies.declarations, strategies.policies, st.booleans())
def test_planned_grants_and_releases_are_in_the_ledger_first(
    ledger: Ledger, declared: list[DesiredGrants], policy: Policy, may_release: bool
) -> None:
    planned = plan_policy(ledger, declared, grants_in(policy, TARGET), SyncFacts(may_release=may_release))
    assert {desired.grant for desired in planned.desired_grants} <= planned.ledger.entries.keys()
    assert {release.grant for release in planned.released} <= planned.ledger.entries.keys()


@given(strategies.ledgers, strategies.declarations, strategies.policies)
def test_released_grant_is_kept_by_no_object(
    ledger: Ledger, declared: list[DesiredGrants], policy: Policy
) -> None:
    planned = plan_policy(ledger, declared, grants_in(policy, TARGET), SyncFacts(may_release=True))
    holders = {text for grant in ledger.entries for text in ledger.entries[grant].owners}
    for release in planned.released:
        assert release.grant in ledger.entries
        for desired in declared:
            was_held = any(Owner.parse(text).owner_key == desired.owner.owner_key for text in holders)
            held_here = any(
                Owner.parse(text).owner_key == desired.owner.owner_key
                for text in ledger.entries[release.grant].owners
            )
            assert not (desired.writable and any(c.grant == release.grant for c in desired.desired_grants))
            assert not (was_held and held_here and desired.keeps(release.grant))


@given(strategies.ledgers, strategies.declarations, strategies.policies, st.booleans())
def test_managed_grant_leaves_the_ledger_if_absent_or_abandoned(
    ledger: Ledger, declared: list[DesiredGrants], policy: Policy, may_release: bool
) -> None:
    before = State(policy, ledger)
    after = run_sync(before, declared, may_release=may_release)
    for grant, recorded in ledger.entries.items():
        # Beside a tombstone, the member is a recreated principal, to which another client granted the role.
        recreated = not recorded.unique_id and tombstones_of(grant, before.present)
        managed = not recorded.present_before and recorded.state is not GrantState.REJECTED and not recreated
        if grant in after.present and managed:
            assert grant in after.ledger.entries or is_abandoned(ledger, grant, declared)


@given(strategies.ledgers, strategies.declarations, strategies.policies, st.booleans())
def test_only_grants_in_the_ledger_are_removed(
    ledger: Ledger, declared: list[DesiredGrants], policy: Policy, may_return: bool
) -> None:
    before = State(policy, ledger)
    removed = before.present - run_sync(before, declared, may_return=may_return).present
    # A desired grant replaces its tombstones even if the grant was present before.
    managed = {
        (grant.role, grant.condition, member)
        for grant, recorded in ledger.entries.items()
        for member in (
            *(f"deleted:{grant.member}?uid={unique_id}" for unique_id in recorded.unique_ids),
            *(() if recorded.present_before else (grant.member,)),
            *(
                tombstones_of(grant, before.present)
                if recorded.is_made and not recorded.unique_id and not recorded.present_before
                else ()
            ),
        )
    }
    assert {(grant.role, grant.condition, grant.member) for grant in removed} <= managed


@given(strategies.ledgers, strategies.declarations, strategies.policies)
def test_order_of_declarations_does_not_matter(
    ledger: Ledger, declared: list[DesiredGrants], policy: Policy
) -> None:
    shuffled = declared[::-1]
    present = grants_in(policy, TARGET)
    assert plan_policy(ledger, declared, present, SyncFacts(may_release=True)) == plan_policy(
        ledger, shuffled, present, SyncFacts(may_release=True)
    )


@given(strategies.ledgers, strategies.declarations, strategies.policies)
def test_retained_grant_ends_only_with_a_permanently_deleted_account(
    ledger: Ledger, declared: list[DesiredGrants], policy: Policy
) -> None:
    before = State(policy, ledger)
    kept = run_sync(before, declared)
    after = run_sync(before, declared, may_return=False)
    owner_keys = {desired.owner.owner_key: desired for desired in declared}
    for grant in kept.ledger.entries.keys() - after.ledger.entries.keys():
        recorded = ledger.entries[grant]
        assert grant not in before.present
        assert replace(grant, member=f"deleted:{grant.member}?uid={recorded.unique_id}") in before.present
        assert all(owner_keys[Owner.parse(text).owner_key].writable for text in recorded.owners)
    assert {grant for grant in kept.present - after.present if grant.member == ACCOUNT} == set()


@given(strategies.ledgers, strategies.declarations, strategies.policies, st.booleans())
def test_second_sync_writes_nothing(
    ledger: Ledger, declared: list[DesiredGrants], policy: Policy, may_return: bool
) -> None:
    once = run_sync(State(policy, ledger), declared, may_return=may_return)
    twice = run_sync(once, declared, may_return=may_return)
    assert twice.policy is once.policy
    assert twice.ledger == once.ledger


@given(
    strategies.ledgers,
    strategies.declarations,
    strategies.policies,
    st.lists(st.integers(0, 2), min_size=1, max_size=3),
    st.booleans(),
)
def test_crash_between_two_steps_does_not_change_the_result(
    ledger: Ledger, declared: list[DesiredGrants], policy: Policy, crashes: list[int], may_return: bool
) -> None:
    start = State(policy, ledger)
    smooth = run_sync(start, declared, may_return=may_return)
    bumpy = start
    for steps in crashes:
        bumpy = run_sync(bumpy, declared, may_return=may_return, steps=steps)
    bumpy = run_sync(bumpy, declared, may_return=may_return)
    assert members(bumpy.policy) == members(smooth.policy)
    assert bumpy.ledger.entries == smooth.ledger.entries


@given(strategies.ledgers, strategies.policies, st.data())
def test_successor_replaces_its_predecessor(ledger: Ledger, policy: Policy, data: st.DataObject) -> None:
    assume(ledger.entries)
    grant = data.draw(st.sampled_from(list(ledger.entries)))
    predecessor = Owner.parse(data.draw(st.sampled_from(sorted(ledger.entries[grant].owners))))
    successor = replace(predecessor, uid="uid-of-the-successor")
    planned = plan_policy(
        ledger, [desiring(successor, grant)], grants_in(policy, TARGET), SyncFacts(may_release=True)
    )
    owners = planned.ledger.entries[grant].owners
    assert str(successor) in owners
    assert str(predecessor) not in owners


@given(strategies.ledgers, strategies.declarations, strategies.policies, st.integers(0, 7))
def test_refused_grant_stays_rejected_in_the_ledger_unless_present(
    ledger: Ledger, declared: list[DesiredGrants], policy: Policy, refused: int
) -> None:
    planned = plan_policy(ledger, declared, grants_in(policy, TARGET), SyncFacts(may_release=True))
    wanted = [desired.grant for desired in planned.desired_grants]
    rejected = {grant for index, grant in enumerate(wanted) if refused >> index & 1}
    written = merge(policy, [c for c in planned.desired_grants if c.grant not in rejected], planned.released)
    present = grants_in(written.policy, TARGET)
    settled = settle(planned, present, added=written.added, refused=rejected, written_at=NOON)
    for grant in wanted:
        expected = GrantState.GRANTED if grant in present else GrantState.REJECTED
        assert settled.entries[grant].state is expected
