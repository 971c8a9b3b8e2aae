import asyncio

import pytest

from cloudrun_identity.api import LedgerEntry, TargetKind
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.model import Ledger, entry_of
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.desired_grants import DesiredGrant, DesiredGrants
from cloudrun_identity.policy.registrations import Registrations

pytestmark = pytest.mark.looptime(start=0)

HERE, THERE = Target(TargetKind.PROJECT, "here"), Target(TargetKind.PROJECT, "there")
WEB = Owner("IAMBinding", "payments", "web", "uid-1")
OPS = Owner("IAMBinding", "payments", "ops", "uid-2")


def grant(target: Target, member: str = "user:a@example.com") -> Grant:
    return Grant(target, "roles/run.invoker", member)


def claiming(owner: Owner, *targets: Target, upcoming: frozenset[Target] = frozenset()) -> DesiredGrants:
    return DesiredGrants(
        owner, frozenset(DesiredGrant(grant(target)) for target in targets), upcoming=upcoming
    )


def held_by(grant: Grant, owner: Owner) -> LedgerEntry:
    return entry_of(grant, [str(owner)])


@pytest.fixture
def all_desired() -> Registrations:
    return Registrations()


async def test_a_declaration_replaces_the_one_before_on_every_target(all_desired: Registrations) -> None:
    all_desired.declare(claiming(WEB, HERE))
    all_desired.declare(claiming(WEB, THERE))
    assert set(all_desired.targets()) == {THERE}
    assert all_desired.concerning(Ledger.of(HERE)) == []
    assert all_desired.concerning(Ledger.of(THERE)) == [claiming(WEB, THERE)]


async def test_a_successor_replaces_its_predecessor(all_desired: Registrations) -> None:
    successor = Owner(WEB.kind, WEB.namespace, WEB.name, "uid-9")
    all_desired.declare(claiming(WEB, HERE))
    all_desired.declare(claiming(successor, THERE))
    assert all_desired.concerning(Ledger.of(HERE)) == []
    assert all_desired.concerning(Ledger.of(THERE)) == [claiming(successor, THERE)]


async def test_who_holds_something_is_concerned_though_it_declares_nothing_there(
    all_desired: Registrations,
) -> None:
    predecessor = Owner(WEB.kind, WEB.namespace, WEB.name, "uid-0")
    all_desired.declare(claiming(WEB, THERE))
    all_desired.declare(claiming(OPS, THERE))
    ledger = Ledger.of(HERE, {grant(HERE): held_by(grant(HERE), predecessor)})
    assert all_desired.concerning(ledger) == [claiming(WEB, THERE)]


async def test_an_equal_declaration_keeps_its_age(all_desired: Registrations) -> None:
    all_desired.declare(claiming(WEB, HERE))
    await asyncio.sleep(5)
    all_desired.declare(claiming(WEB, HERE))
    assert all_desired.of(WEB).since == 0
    all_desired.declare(claiming(WEB, THERE))
    assert all_desired.of(WEB).since == 5


async def test_it_is_complete_once_everybody_expected_has_declared(all_desired: Registrations) -> None:
    assert all_desired.is_complete
    all_desired.expect([WEB, OPS])
    all_desired.declare(claiming(WEB))
    assert not all_desired.is_complete
    all_desired.declare(claiming(OPS))
    assert all_desired.is_complete


async def test_a_successor_declares_in_the_place_of_whom_was_expected(all_desired: Registrations) -> None:
    all_desired.expect([WEB])
    all_desired.declare(claiming(Owner(WEB.kind, WEB.namespace, WEB.name, "uid-9")))
    assert all_desired.is_complete


async def test_whoever_is_gone_is_not_waited_for(all_desired: Registrations) -> None:
    all_desired.expect([WEB])
    all_desired.forget(WEB)
    assert all_desired.is_complete


async def test_who_has_declared_already_is_not_expected(all_desired: Registrations) -> None:
    all_desired.declare(claiming(WEB))
    all_desired.expect([WEB])
    assert all_desired.is_complete


async def test_what_is_forgotten_claims_nothing(all_desired: Registrations) -> None:
    all_desired.declare(claiming(WEB, HERE, upcoming=frozenset({THERE})))
    all_desired.forget(WEB)
    assert all_desired.concerning(Ledger.of(HERE, {grant(HERE): held_by(grant(HERE), WEB)})) == []
    assert set(all_desired.targets()) == set()
    assert not all_desired.has_upcoming(THERE)
    with pytest.raises(KeyError):
        all_desired.of(WEB)


async def test_forgetting_whom_nobody_knows_is_no_error(all_desired: Registrations) -> None:
    all_desired.declare(claiming(OPS, HERE))
    all_desired.forget(WEB)
    assert all_desired.concerning(Ledger.of(HERE)) == [claiming(OPS, HERE)]


async def test_a_target_is_awaited_while_somebody_announces_claims_on_it(all_desired: Registrations) -> None:
    all_desired.declare(claiming(OPS, HERE))
    all_desired.declare(claiming(WEB, upcoming=frozenset({HERE})))
    assert all_desired.has_upcoming(HERE)
    assert not all_desired.has_upcoming(THERE)
    all_desired.declare(claiming(WEB, HERE))
    assert not all_desired.has_upcoming(HERE)


async def test_every_claimant_of_a_grant_hears_of_its_drift(all_desired: Registrations) -> None:
    bystander = Owner("IAMBinding", "payments", "bystander", "uid-3")
    all_desired.declare(claiming(WEB, HERE, THERE))
    all_desired.declare(claiming(OPS, HERE))
    all_desired.declare(
        DesiredGrants(bystander, frozenset({DesiredGrant(grant(HERE, "user:b@example.com"))}))
    )
    all_desired.note_drift([grant(HERE)])
    assert all_desired.with_drift() == {WEB, OPS}
    assert list(all_desired.of(WEB).drifted) == [grant(HERE)]


async def test_drift_is_not_forgotten_by_another_declaration(all_desired: Registrations) -> None:
    all_desired.declare(claiming(WEB, HERE))
    all_desired.note_drift([grant(HERE)])
    all_desired.declare(claiming(WEB, HERE, THERE))
    assert list(all_desired.of(WEB).drifted) == [grant(HERE)]


async def test_an_object_is_known_once_it_has_declared(all_desired: Registrations) -> None:
    assert not all_desired.has(WEB)
    all_desired.declare(claiming(WEB))
    assert all_desired.has(Owner(WEB.kind, WEB.namespace, WEB.name, "uid-9"))
