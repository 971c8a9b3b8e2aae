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


def desiring(owner: Owner, *targets: Target, upcoming: frozenset[Target] = frozenset()) -> DesiredGrants:
    return DesiredGrants(
        owner, frozenset(DesiredGrant(grant(target)) for target in targets), upcoming=upcoming
    )


def held_by(grant: Grant, owner: Owner) -> LedgerEntry:
    return entry_of(grant, [str(owner)])


@pytest.fixture
def declared() -> Registrations:
    return Registrations()


async def test_declaration_replaces_the_former_one_on_every_target(declared: Registrations) -> None:
    declared.declare(desiring(WEB, HERE))
    declared.declare(desiring(WEB, THERE))
    assert set(declared.targets()) == {THERE}
    assert declared.concerning(Ledger.of(HERE)) == []
    assert declared.concerning(Ledger.of(THERE)) == [desiring(WEB, THERE)]


async def test_successor_replaces_its_predecessor(declared: Registrations) -> None:
    successor = Owner(WEB.kind, WEB.namespace, WEB.name, "uid-9")
    declared.declare(desiring(WEB, HERE))
    declared.declare(desiring(successor, THERE))
    assert declared.concerning(Ledger.of(HERE)) == []
    assert declared.concerning(Ledger.of(THERE)) == [desiring(successor, THERE)]


async def test_owner_of_an_entry_is_concerned_without_desired_grants(
    declared: Registrations,
) -> None:
    predecessor = Owner(WEB.kind, WEB.namespace, WEB.name, "uid-0")
    declared.declare(desiring(WEB, THERE))
    declared.declare(desiring(OPS, THERE))
    ledger = Ledger.of(HERE, {grant(HERE): held_by(grant(HERE), predecessor)})
    assert declared.concerning(ledger) == [desiring(WEB, THERE)]


async def test_equal_declaration_keeps_its_time(declared: Registrations) -> None:
    declared.declare(desiring(WEB, HERE))
    await asyncio.sleep(5)
    declared.declare(desiring(WEB, HERE))
    assert declared.of(WEB).since == 0
    declared.declare(desiring(WEB, THERE))
    assert declared.of(WEB).since == 5


async def test_registrations_are_complete_once_all_expected_declared(declared: Registrations) -> None:
    assert declared.is_complete
    declared.expect([WEB, OPS])
    declared.declare(desiring(WEB))
    assert not declared.is_complete
    declared.declare(desiring(OPS))
    assert declared.is_complete


async def test_successor_declares_for_an_expected_predecessor(declared: Registrations) -> None:
    declared.expect([WEB])
    declared.declare(desiring(Owner(WEB.kind, WEB.namespace, WEB.name, "uid-9")))
    assert declared.is_complete


async def test_deleted_object_is_not_expected(declared: Registrations) -> None:
    declared.expect([WEB])
    declared.forget(WEB)
    assert declared.is_complete


async def test_registered_object_is_not_expected(declared: Registrations) -> None:
    declared.declare(desiring(WEB))
    declared.expect([WEB])
    assert declared.is_complete


async def test_forgotten_object_desires_nothing(declared: Registrations) -> None:
    declared.declare(desiring(WEB, HERE, upcoming=frozenset({THERE})))
    declared.forget(WEB)
    assert declared.concerning(Ledger.of(HERE, {grant(HERE): held_by(grant(HERE), WEB)})) == []
    assert set(declared.targets()) == set()
    assert not declared.has_upcoming(THERE)
    with pytest.raises(KeyError):
        declared.of(WEB)


async def test_forgetting_an_unknown_object_is_no_error(declared: Registrations) -> None:
    declared.declare(desiring(OPS, HERE))
    declared.forget(WEB)
    assert declared.concerning(Ledger.of(HERE)) == [desiring(OPS, HERE)]


async def test_target_has_upcoming_grants_while_an_object_announces_them(declared: Registrations) -> None:
    declared.declare(desiring(OPS, HERE))
    declared.declare(desiring(WEB, upcoming=frozenset({HERE})))
    assert declared.has_upcoming(HERE)
    assert not declared.has_upcoming(THERE)
    declared.declare(desiring(WEB, HERE))
    assert not declared.has_upcoming(HERE)


async def test_drift_is_recorded_for_every_owner_of_the_grant(declared: Registrations) -> None:
    bystander = Owner("IAMBinding", "payments", "bystander", "uid-3")
    declared.declare(desiring(WEB, HERE, THERE))
    declared.declare(desiring(OPS, HERE))
    declared.declare(DesiredGrants(bystander, frozenset({DesiredGrant(grant(HERE, "user:b@example.com"))})))
    declared.note_drift([grant(HERE)])
    assert declared.with_drift() == {WEB, OPS}
    assert list(declared.of(WEB).drifted) == [grant(HERE)]


async def test_drift_survives_another_declaration(declared: Registrations) -> None:
    declared.declare(desiring(WEB, HERE))
    declared.note_drift([grant(HERE)])
    declared.declare(desiring(WEB, HERE, THERE))
    assert list(declared.of(WEB).drifted) == [grant(HERE)]


async def test_object_is_registered_once_it_has_declared(declared: Registrations) -> None:
    assert not declared.has(WEB)
    declared.declare(desiring(WEB))
    assert declared.has(Owner(WEB.kind, WEB.namespace, WEB.name, "uid-9"))
