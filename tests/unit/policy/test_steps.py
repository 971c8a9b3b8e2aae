"""The steps of a plan are what a sync does, and state why a grant stays."""

from collections import Counter
from dataclasses import replace

import pytest
from google.iam.v1.policy_pb2 import Policy
from hypothesis import given
from hypothesis import strategies as st

from cloudrun_identity.api import GrantState
from cloudrun_identity.iam.grants import BindingKey, Grant
from cloudrun_identity.ledger.model import Ledger, entry_of
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.desired_grants import RETAIN_ALL, DesiredGrant, DesiredGrants
from cloudrun_identity.policy.exclusive import is_protected
from cloudrun_identity.policy.merge import Removal, grants_in, merge
from cloudrun_identity.policy.planning import plan_policy
from cloudrun_identity.policy.review import SyncFacts
from cloudrun_identity.policy.steps import (
    AddGrant,
    GrantStep,
    ReleaseGrant,
    RemoveUnmanaged,
    RetainGrant,
    RetainReason,
)
from tests.unit.policy import strategies
from tests.unit.policy.one_policy import desiring
from tests.unit.policy.strategies import ROLES, TARGET

ONE, TWO = (Owner("IAMBinding", "payments", name, "uid-1") for name in ("one", "two"))
ANN, EVE = (Grant(TARGET, ROLES[0], f"user:{name}@example.com") for name in ("ann", "eve"))


def steps_of(
    ledger: Ledger, *declared: DesiredGrants, present: set[Grant], **options: bool
) -> list[GrantStep]:
    plan = plan_policy(
        ledger, declared, present, SyncFacts(protected=is_protected, **{"may_release": True, **options})
    )
    return list(plan.steps)


def recorded(*owners: Owner, present_before: bool = False, unique_id: str = "") -> Ledger:
    entry = entry_of(
        ANN,
        [*map(str, owners)],
        GrantState.GRANTED,
        present_before=present_before,
        unique_id=unique_id,
    )
    return Ledger.of(TARGET, {ANN: entry})


@given(
    strategies.ledgers,
    strategies.declarations,
    strategies.policies,
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_steps_are_the_changes_that_the_writes_make(
    ledger: Ledger,
    declared: list[DesiredGrants],
    policy: Policy,
    may_release: bool,
    observed: bool,
    is_exclusive: bool,
) -> None:
    present = grants_in(policy, TARGET)
    if is_exclusive:
        exclusive = frozenset({BindingKey(TARGET, ROLES[0])})
        declared = [replace(each, exclusive=exclusive) for each in declared]
    plan = plan_policy(
        ledger,
        declared,
        present,
        SyncFacts(may_release=may_release, observed=observed, protected=is_protected),
    )

    first = merge(policy, (), plan.replaced)
    removals = (*plan.released, *(Removal(step.grant) for step in plan.removals))
    second = merge(first.policy, plan.desired_grants, removals)

    added = [step.grant for step in plan.steps if isinstance(step, AddGrant)]
    removed = [step.grant for step in plan.steps if isinstance(step, ReleaseGrant | RemoveUnmanaged)]
    retained = {step.grant for step in plan.steps if isinstance(step, RetainGrant)}
    assert Counter(added) == Counter(second.added)
    assert Counter(removed) == Counter((*first.removed, *second.removed))
    assert retained <= grants_in(second.policy, TARGET)


@given(strategies.ledgers, strategies.declarations, strategies.policies)
def test_each_present_entry_is_desired_or_has_a_step(
    ledger: Ledger, declared: list[DesiredGrants], policy: Policy
) -> None:
    present = grants_in(policy, TARGET)
    plan = plan_policy(ledger, declared, present, SyncFacts(may_release=True))
    desired = {each.grant for each in plan.desired_grants}
    assert ledger.entries.keys() & present <= desired | {step.grant for step in plan.steps}


def test_missing_desired_grant_is_added() -> None:
    assert steps_of(Ledger.of(TARGET), desiring(ONE, ANN), present=set()) == [AddGrant(ANN, ONE.owner_key)]


def test_present_desired_grant_has_no_step() -> None:
    assert steps_of(Ledger.of(TARGET), desiring(ONE, ANN), present={ANN}) == []


def test_withheld_grant_is_not_added() -> None:
    plan = plan_policy(
        Ledger.of(TARGET), [desiring(ONE, ANN)], (), SyncFacts(may_release=True, withheld={ANN})
    )
    assert plan.steps == ()


def test_grant_that_no_object_desires_is_released() -> None:
    assert steps_of(recorded(ONE), desiring(ONE), present={ANN}) == [ReleaseGrant(ANN, ONE.owner_key)]


def test_absent_released_grant_has_no_step() -> None:
    assert steps_of(recorded(ONE), desiring(ONE), present=set()) == []


def test_tombstone_of_a_released_grant_is_released() -> None:
    tombstone = ANN.deleted_form("111")
    assert steps_of(recorded(ONE, unique_id="111"), desiring(ONE), present={tombstone}) == [
        ReleaseGrant(ANN, ONE.owner_key)
    ]


def test_grant_of_a_recreated_account_is_released_and_added() -> None:
    desired = DesiredGrants(ONE, frozenset({DesiredGrant(ANN, "222")}))
    assert steps_of(recorded(ONE, unique_id="111"), desired, present={ANN}) == [
        ReleaseGrant(ANN, ONE.owner_key),
        AddGrant(ANN, ONE.owner_key),
    ]


def test_unmanaged_member_is_removed_for_the_owner_of_the_binding() -> None:
    exclusive = desiring(ONE, ANN, exclusive=frozenset({BindingKey(TARGET, ROLES[0])}))
    assert steps_of(recorded(ONE), exclusive, present={ANN, EVE}) == [RemoveUnmanaged(EVE, ONE.owner_key)]


@pytest.mark.parametrize(
    ("ledger", "declared", "options", "reason"),
    [
        (recorded(ONE), desiring(ONE), {"may_release": False}, RetainReason.OWNERS_PENDING),
        (recorded(ONE), desiring(TWO), {}, RetainReason.OWNER_UNKNOWN),
        (recorded(ONE), desiring(ONE, writable=False), {}, RetainReason.OWNER_NOT_WRITABLE),
        (recorded(ONE), desiring(ONE, retains=(RETAIN_ALL,)), {}, RetainReason.OWNER_RETAINS),
        (recorded(ONE), desiring(ONE), {"observed": True}, RetainReason.PROJECT_OBSERVED),
        (recorded(ONE), desiring(ONE, abandon=True), {}, RetainReason.ABANDONED),
        (recorded(ONE, present_before=True), desiring(ONE), {}, RetainReason.PRESENT_BEFORE),
    ],
)
def test_retained_grant_states_its_reason(
    ledger: Ledger, declared: DesiredGrants, options: dict[str, bool], reason: RetainReason
) -> None:
    assert steps_of(ledger, declared, present={ANN}, **options) == [RetainGrant(ANN, ONE.owner_key, reason)]
