"""Records of custom roles' grants that objects leave in a policy, and syncs with a restored ledger."""

import pytest

from cloudrun_identity.api import GrantState, TargetKind
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.model import Ledger, entry_of
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.desired_grants import DesiredGrant, DesiredGrants, Retain
from cloudrun_identity.policy.planning import PolicyPlan, plan_policy
from cloudrun_identity.policy.review import SyncFacts
from cloudrun_identity.policy.settlement import settle, settle_absent, without_abandoned
from cloudrun_identity.policy.steps import RetainGrant, RetainReason

TARGET = Target(TargetKind.SERVICE, "shop", "europe-west1", "web")
CUSTOM = Grant(TARGET, "projects/shop/roles/runner", "user:ann@example.com")
PREDEFINED = Grant(TARGET, "roles/run.invoker", "user:ann@example.com")
ONE = Owner("IAMBinding", "payments", "one", "uid")
ABANDONING = DesiredGrants(ONE, abandon=True, ending=True)
ENDING = DesiredGrants(ONE, ending=True)
LEFT = Ledger.of(TARGET).with_left({CUSTOM: str(ONE)})


def granted(*grants: Grant, present_before: bool = False) -> Ledger:
    return Ledger.of(
        TARGET,
        {
            grant: entry_of(grant, [str(ONE)], GrantState.GRANTED, present_before=present_before)
            for grant in grants
        },
    )


def planned(
    ledger: Ledger, *declared: DesiredGrants, present: set[Grant], complete: bool = True
) -> PolicyPlan:
    return plan_policy(ledger, declared, present, SyncFacts(may_release=complete))


def test_abandoned_grant_of_a_custom_role_is_recorded_as_left() -> None:
    plan = planned(granted(CUSTOM, PREDEFINED), ABANDONING, present={CUSTOM, PREDEFINED})
    assert plan.ledger.entries == {}
    assert plan.ledger.left == {CUSTOM: str(ONE)}
    settled = settle(plan, {CUSTOM, PREDEFINED}, added=(), refused=(), written_at=None)
    assert not settled.is_empty, "the policy would not be found again"


def test_grant_that_was_present_before_is_recorded_as_left() -> None:
    plan = planned(granted(CUSTOM, present_before=True), ENDING, present={CUSTOM})
    assert plan.released == ()
    assert plan.ledger.left == {CUSTOM: str(ONE)}


def test_abandoned_grant_is_recorded_though_the_policy_is_unreadable() -> None:
    assert without_abandoned(granted(CUSTOM, PREDEFINED), [ABANDONING]).left == {CUSTOM: str(ONE)}


def test_released_grant_is_not_recorded_as_left() -> None:
    plan = planned(granted(CUSTOM), ENDING, present={CUSTOM})
    settled = settle(plan, (), added=(), refused=(), written_at=None)
    assert settled.is_empty


def test_record_of_a_left_grant_ends_with_the_grant() -> None:
    assert planned(LEFT, present={CUSTOM}).ledger.left == {CUSTOM: str(ONE)}
    assert planned(LEFT, present=set()).ledger.is_empty


def test_record_of_a_left_grant_ends_when_an_object_declares_it() -> None:
    plan = planned(LEFT, DesiredGrants(ONE, frozenset({DesiredGrant(CUSTOM)})), present={CUSTOM})
    assert plan.ledger.left == {}
    assert plan.ledger.entries[CUSTOM].present_before


def test_record_of_a_left_grant_stays_while_the_target_is_deleted() -> None:
    assert settle_absent(planned(LEFT, present=set()), LEFT).left == LEFT.left
    assert LEFT.bound_to("1").bound_to("2").left == {}, "another resource of the name has another policy"


def test_restored_ledger_releases_nothing_and_is_then_trusted() -> None:
    ledger = granted(CUSTOM, PREDEFINED).replace(restored=True)
    plan = planned(ledger, DesiredGrants(ONE), present={CUSTOM, PREDEFINED})
    assert plan.released == ()
    assert [step.reason for step in plan.steps if isinstance(step, RetainGrant)] == [
        RetainReason.RESTORED
    ] * 2
    assert plan.ledger.entries == {}
    assert plan.ledger.left == {CUSTOM: str(ONE)}
    assert not plan.ledger.restored


def test_restored_ledger_releases_grants_of_a_deleted_object() -> None:
    ledger = granted(CUSTOM, PREDEFINED).replace(restored=True)
    ending = DesiredGrants(ONE, declared=(Retain(TARGET, PREDEFINED.role),), ending=True)
    plan = planned(ledger, ending, present={CUSTOM, PREDEFINED})
    assert [removal.grant for removal in plan.released] == [PREDEFINED]
    assert plan.ledger.left == {CUSTOM: str(ONE)}


@pytest.mark.parametrize("complete", [True, False])
def test_restored_ledger_keeps_what_an_object_declares(complete: bool) -> None:
    ledger = granted(PREDEFINED).replace(restored=True)
    declared = DesiredGrants(ONE, frozenset({DesiredGrant(PREDEFINED)}))
    plan = planned(ledger, declared, present={PREDEFINED}, complete=complete)
    assert plan.ledger.entries == ledger.entries
    assert plan.ledger.restored is not complete, "an object that has not declared its grants may own more"
