import pytest

from cloudrun_identity.api import TargetKind
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.desired_grants import RETAIN_ALL, DesiredGrant, DesiredGrants, Retain
from tests.unit.iam.strategies import ACCOUNT, MEMBERS, OFFICE_HOURS, ROLES, TARGET

ELSEWHERE = Target(TargetKind.PROJECT, "elsewhere")
GRANT = Grant(TARGET, ROLES[0], ACCOUNT)
CLAIMANT = Owner("IAMBinding", "payments", "web", "uid-1")


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
def test_an_unset_field_of_a_hold_matches_anything(retain: Retain, covered: bool) -> None:
    assert retain.covers(GRANT) is covered


def test_a_declaration_keeps_what_it_claims_or_holds() -> None:
    other = Grant(TARGET, ROLES[1], ACCOUNT)
    assert DesiredGrants(CLAIMANT, frozenset({DesiredGrant(GRANT)})).keeps(GRANT)
    assert not DesiredGrants(CLAIMANT, frozenset({DesiredGrant(GRANT)})).keeps(other)
    assert DesiredGrants(CLAIMANT, retains=(Retain(role=ROLES[1]),)).keeps(other)


def test_a_claim_under_another_condition_is_another_claim() -> None:
    conditional = Grant(TARGET, ROLES[0], ACCOUNT, OFFICE_HOURS)
    assert not DesiredGrants(CLAIMANT, frozenset({DesiredGrant(GRANT)})).keeps(conditional)


def test_claims_are_told_by_their_target() -> None:
    here, there = DesiredGrant(GRANT), DesiredGrant(Grant(ELSEWHERE, ROLES[0], ACCOUNT))
    desired = DesiredGrants(CLAIMANT, frozenset({here, there}))
    assert list(desired.on(ELSEWHERE)) == [there]
    assert desired.targets == {TARGET, ELSEWHERE}


def test_a_claimant_survives_its_text() -> None:
    assert str(CLAIMANT) == "IAMBinding/payments/web/uid-1"
    assert Owner.parse(str(CLAIMANT)) == CLAIMANT


def test_a_successor_has_the_seat_of_its_predecessor() -> None:
    successor = Owner("IAMBinding", "payments", "web", "uid-2")
    namesake = Owner("CloudRunIdentity", "payments", "web", "uid-1")
    assert successor.owner_key == CLAIMANT.owner_key
    assert namesake.owner_key != CLAIMANT.owner_key
