import pytest

from cloudrun_identity.api import TargetKind
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.desired_grants import RETAIN_ALL, DesiredGrant, DesiredGrants, Retain
from tests.unit.policy.strategies import ACCOUNT, MEMBERS, OFFICE_HOURS, ROLES, TARGET

ELSEWHERE = Target(TargetKind.PROJECT, "elsewhere")
GRANT = Grant(TARGET, ROLES[0], ACCOUNT)
OWNER = Owner("IAMBinding", "payments", "web", "uid-1")


@pytest.mark.parametrize(
    ("retain", "covered"),
    [
        (RETAIN_ALL, True),
        (Retain(TARGET), True),
        (Retain(ELSEWHERE), False),
        (Retain(TARGET, ROLES[0]), True),
        (Retain(TARGET, ROLES[1]), False),
        (Retain(TARGET, ROLES[0], ACCOUNT), True),
        (Retain(TARGET, ROLES[0], MEMBERS[1]), False),
        (Retain(member=ACCOUNT), True),
    ],
)
def test_unset_field_of_a_retain_pattern_matches_anything(retain: Retain, covered: bool) -> None:
    assert retain.covers(GRANT) is covered


def test_object_keeps_desired_and_retained_grants() -> None:
    other = Grant(TARGET, ROLES[1], ACCOUNT)
    assert DesiredGrants(OWNER, frozenset({DesiredGrant(GRANT)})).keeps(GRANT)
    assert not DesiredGrants(OWNER, frozenset({DesiredGrant(GRANT)})).keeps(other)
    assert DesiredGrants(OWNER, retains=(Retain(role=ROLES[1]),)).keeps(other)


def test_grant_with_another_condition_is_another_grant() -> None:
    conditional = Grant(TARGET, ROLES[0], ACCOUNT, OFFICE_HOURS)
    assert not DesiredGrants(OWNER, frozenset({DesiredGrant(GRANT)})).keeps(conditional)


def test_desired_grants_are_selected_by_target() -> None:
    here, there = DesiredGrant(GRANT), DesiredGrant(Grant(ELSEWHERE, ROLES[0], ACCOUNT))
    desired = DesiredGrants(OWNER, frozenset({here, there}))
    assert list(desired.on(ELSEWHERE)) == [there]
    assert desired.targets == {TARGET, ELSEWHERE}


def test_owner_is_parsed_from_its_text() -> None:
    assert str(OWNER) == "IAMBinding/payments/web/uid-1"
    assert Owner.parse(str(OWNER)) == OWNER


def test_successor_has_the_owner_key_of_its_predecessor() -> None:
    successor = Owner("IAMBinding", "payments", "web", "uid-2")
    namesake = Owner("CloudRunIdentity", "payments", "web", "uid-1")
    assert successor.owner_key == OWNER.owner_key
    assert namesake.owner_key != OWNER.owner_key
