import pytest

from cloudrun_identity.api import TargetKind
from cloudrun_identity.iam.claims import HOLD_EVERYTHING, Claim, Claimant, Declaration, Hold
from cloudrun_identity.iam.grants import Grant, Target

from .strategies import ACCOUNT, MEMBERS, OFFICE_HOURS, ROLES, TARGET

ELSEWHERE = Target(TargetKind.PROJECT, "elsewhere")
GRANT = Grant(TARGET, ROLES[0], ACCOUNT)
CLAIMANT = Claimant("IAMBinding", "payments", "web", "uid-1")


@pytest.mark.parametrize(
    ("hold", "covered"),
    [
        (HOLD_EVERYTHING, True),
        (Hold(TARGET), True),
        (Hold(ELSEWHERE), False),
        (Hold(TARGET, ROLES[0]), True),
        (Hold(TARGET, ROLES[1]), False),
        (Hold(TARGET, ROLES[0], ACCOUNT), True),
        (Hold(TARGET, ROLES[0], MEMBERS[1]), False),
        (Hold(member=ACCOUNT), True),
    ],
)
def test_an_unset_field_of_a_hold_matches_anything(hold: Hold, covered: bool) -> None:
    assert hold.covers(GRANT) is covered


def test_a_declaration_keeps_what_it_claims_or_holds() -> None:
    other = Grant(TARGET, ROLES[1], ACCOUNT)
    assert Declaration(CLAIMANT, frozenset({Claim(GRANT)})).keeps(GRANT)
    assert not Declaration(CLAIMANT, frozenset({Claim(GRANT)})).keeps(other)
    assert Declaration(CLAIMANT, holds=(Hold(role=ROLES[1]),)).keeps(other)


def test_a_claim_under_another_condition_is_another_claim() -> None:
    conditional = Grant(TARGET, ROLES[0], ACCOUNT, OFFICE_HOURS)
    assert not Declaration(CLAIMANT, frozenset({Claim(GRANT)})).keeps(conditional)


def test_claims_are_told_by_their_target() -> None:
    here, there = Claim(GRANT), Claim(Grant(ELSEWHERE, ROLES[0], ACCOUNT))
    declaration = Declaration(CLAIMANT, frozenset({here, there}))
    assert list(declaration.on(ELSEWHERE)) == [there]
    assert declaration.targets == {TARGET, ELSEWHERE}


def test_a_claimant_survives_its_text() -> None:
    assert str(CLAIMANT) == "IAMBinding/payments/web/uid-1"
    assert Claimant.parse(str(CLAIMANT)) == CLAIMANT


def test_a_successor_has_the_seat_of_its_predecessor() -> None:
    successor = Claimant("IAMBinding", "payments", "web", "uid-2")
    namesake = Claimant("CloudRunIdentity", "payments", "web", "uid-1")
    assert successor.seat == CLAIMANT.seat
    assert namesake.seat != CLAIMANT.seat
