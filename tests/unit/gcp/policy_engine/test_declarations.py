import asyncio

import pytest

from cloudrun_identity.api import TargetKind
from cloudrun_identity.gcp.policy_engine.declarations import Declarations
from cloudrun_identity.iam.claims import Claim, Claimant, Declaration
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.ledger import Holding, Ledger

pytestmark = pytest.mark.looptime(start=0)

HERE, THERE = Target(TargetKind.PROJECT, "here"), Target(TargetKind.PROJECT, "there")
WEB = Claimant("IAMBinding", "payments", "web", "uid-1")
OPS = Claimant("IAMBinding", "payments", "ops", "uid-2")


def grant(target: Target, member: str = "user:a@example.com") -> Grant:
    return Grant(target, "roles/run.invoker", member)


def claiming(claimant: Claimant, *targets: Target, soon: frozenset[Target] = frozenset()) -> Declaration:
    return Declaration(claimant, frozenset(Claim(grant(target)) for target in targets), soon=soon)


def held_by(claimant: Claimant) -> Holding:
    return Holding(frozenset({str(claimant)}))


@pytest.fixture
def declarations() -> Declarations:
    return Declarations()


async def test_a_declaration_replaces_the_one_before_on_every_target(declarations: Declarations) -> None:
    declarations.declare(claiming(WEB, HERE))
    declarations.declare(claiming(WEB, THERE))
    assert set(declarations.targets()) == {THERE}
    assert declarations.concerning(Ledger(HERE)) == []
    assert declarations.concerning(Ledger(THERE)) == [claiming(WEB, THERE)]


async def test_a_successor_replaces_its_predecessor(declarations: Declarations) -> None:
    successor = Claimant(WEB.kind, WEB.namespace, WEB.name, "uid-9")
    declarations.declare(claiming(WEB, HERE))
    declarations.declare(claiming(successor, THERE))
    assert declarations.concerning(Ledger(HERE)) == []
    assert declarations.concerning(Ledger(THERE)) == [claiming(successor, THERE)]


async def test_who_holds_something_is_concerned_though_it_declares_nothing_there(
    declarations: Declarations,
) -> None:
    predecessor = Claimant(WEB.kind, WEB.namespace, WEB.name, "uid-0")
    declarations.declare(claiming(WEB, THERE))
    declarations.declare(claiming(OPS, THERE))
    ledger = Ledger(HERE, holdings={grant(HERE): held_by(predecessor)})
    assert declarations.concerning(ledger) == [claiming(WEB, THERE)]


async def test_an_equal_declaration_keeps_its_age(declarations: Declarations) -> None:
    declarations.declare(claiming(WEB, HERE))
    await asyncio.sleep(5)
    declarations.declare(claiming(WEB, HERE))
    assert declarations.of(WEB).since == 0
    declarations.declare(claiming(WEB, THERE))
    assert declarations.of(WEB).since == 5


async def test_it_is_complete_once_everybody_expected_has_declared(declarations: Declarations) -> None:
    assert declarations.complete
    declarations.expect([WEB, OPS])
    declarations.declare(claiming(WEB))
    assert not declarations.complete
    declarations.declare(claiming(OPS))
    assert declarations.complete


async def test_a_successor_declares_in_the_place_of_whom_was_expected(declarations: Declarations) -> None:
    declarations.expect([WEB])
    declarations.declare(claiming(Claimant(WEB.kind, WEB.namespace, WEB.name, "uid-9")))
    assert declarations.complete


async def test_whoever_is_gone_is_not_waited_for(declarations: Declarations) -> None:
    declarations.expect([WEB])
    declarations.forget(WEB)
    assert declarations.complete


async def test_who_has_declared_already_is_not_expected(declarations: Declarations) -> None:
    declarations.declare(claiming(WEB))
    declarations.expect([WEB])
    assert declarations.complete


async def test_what_is_forgotten_claims_nothing(declarations: Declarations) -> None:
    declarations.declare(claiming(WEB, HERE, soon=frozenset({THERE})))
    declarations.forget(WEB)
    assert declarations.concerning(Ledger(HERE, holdings={grant(HERE): held_by(WEB)})) == []
    assert set(declarations.targets()) == set()
    assert not declarations.awaits(THERE)
    with pytest.raises(KeyError):
        declarations.of(WEB)


async def test_forgetting_whom_nobody_knows_is_no_error(declarations: Declarations) -> None:
    declarations.declare(claiming(OPS, HERE))
    declarations.forget(WEB)
    assert declarations.concerning(Ledger(HERE)) == [claiming(OPS, HERE)]


async def test_a_target_is_awaited_while_somebody_announces_claims_on_it(declarations: Declarations) -> None:
    declarations.declare(claiming(OPS, HERE))
    declarations.declare(claiming(WEB, soon=frozenset({HERE})))
    assert declarations.awaits(HERE)
    assert not declarations.awaits(THERE)
    declarations.declare(claiming(WEB, HERE))
    assert not declarations.awaits(HERE)


async def test_every_claimant_of_a_grant_hears_of_its_drift(declarations: Declarations) -> None:
    bystander = Claimant("IAMBinding", "payments", "bystander", "uid-3")
    declarations.declare(claiming(WEB, HERE, THERE))
    declarations.declare(claiming(OPS, HERE))
    declarations.declare(Declaration(bystander, frozenset({Claim(grant(HERE, "user:b@example.com"))})))
    declarations.drifted([grant(HERE)])
    assert declarations.with_drift() == {WEB, OPS}
    assert list(declarations.of(WEB).drifted) == [grant(HERE)]


async def test_drift_is_not_forgotten_by_another_declaration(declarations: Declarations) -> None:
    declarations.declare(claiming(WEB, HERE))
    declarations.drifted([grant(HERE)])
    declarations.declare(claiming(WEB, HERE, THERE))
    assert list(declarations.of(WEB).drifted) == [grant(HERE)]


async def test_an_object_is_known_once_it_has_declared(declarations: Declarations) -> None:
    assert not declarations.has(WEB)
    declarations.declare(claiming(WEB))
    assert declarations.has(Claimant(WEB.kind, WEB.namespace, WEB.name, "uid-9"))
