"""Letting go: an object is released once nothing of it stands, and says what holds it up until then."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from cloudrun_identity.api import Reason, TargetKind
from cloudrun_identity.controllers.grants.release import Releaser
from cloudrun_identity.controllers.outcomes import Failing, InSync, Waiting
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.policy_engine.lanes import Convergence
from cloudrun_identity.iam.claims import Claimant, Declaration
from cloudrun_identity.iam.grants import Grant, Target
from tests.unit.controllers.world import binding

TARGET = Target(TargetKind.PROJECT, "payments-prod-1234")
STILL = Grant(TARGET, "roles/cloudsql.client", "user:ann@example.com")
BINDING = """
kind: IAMBinding
metadata: {name: ann, namespace: payments, uid: u-ann, generation: 1}
spec:
  projectRef: {name: payments-prod}
  target: {kind: Project}
  role: roles/cloudsql.client
  members: [{principal: "user:ann@example.com"}]
"""


class FakeLanes:
    def __init__(self, answer: Convergence) -> None:
        self.answer = answer
        self.declared: list[Declaration] = []
        self.parked = False
        self.converged_while_parked = False

    def declare(self, declaration: Declaration) -> None:
        self.declared.append(declaration)

    async def converge(self, claimant: Claimant) -> Convergence:
        self.converged_while_parked = self.parked
        return self.answer

    @asynccontextmanager
    async def park(self) -> AsyncIterator[None]:
        self.parked = True
        yield
        self.parked = False


async def released(lanes: FakeLanes, *, abandon: bool = False, **spec: Any) -> object:
    return await Releaser(lanes, lanes.park).release(binding(BINDING, **spec), abandon=abandon)


@pytest.mark.parametrize("abandon", [False, True])
@pytest.mark.parametrize(("existing", "taken"), [("Keep", False), ("Claim", True)])
async def test_it_declares_nothing_and_says_what_becomes_of_what_stood(
    abandon: bool, existing: str, taken: bool
) -> None:
    lanes = FakeLanes(Convergence())
    assert await released(lanes, abandon=abandon, existingGrants=existing) == InSync()
    (declaration,) = lanes.declared
    assert declaration.claimant == Claimant("IAMBinding", "payments", "ann", "u-ann")
    assert (declaration.claims, declaration.abandon, declaration.claims_existing) == (
        frozenset(),
        abandon,
        taken,
    )


async def test_the_workers_slot_is_given_up_meanwhile() -> None:
    lanes = FakeLanes(Convergence())
    await released(lanes)
    assert lanes.converged_while_parked
    assert not lanes.parked


async def test_a_grant_that_still_stands_is_named_and_waited_for() -> None:
    outcome = await released(FakeLanes(Convergence(releasing=(STILL,))))
    assert isinstance(outcome, Waiting)
    assert outcome.reason is Reason.DELETING
    assert str(STILL) in outcome.message
    assert outcome.after is not None


async def test_a_fault_that_keeps_a_grant_standing_is_told() -> None:
    denied = GoogleError(Fault.PERMISSION_DENIED, "SetIamPolicy", "you may not")
    outcome = await released(FakeLanes(Convergence(releasing=(STILL,), faults={TARGET: denied})))
    assert isinstance(outcome, Failing)
    assert outcome.reason is Reason.PERMISSION_DENIED
    assert str(STILL) in outcome.message
    assert "you may not" in outcome.message


async def test_a_fault_elsewhere_holds_up_nothing() -> None:
    denied = GoogleError(Fault.PERMISSION_DENIED, "SetIamPolicy", "you may not")
    assert await released(FakeLanes(Convergence(faults={TARGET: denied}))) == InSync()


async def test_a_grant_in_a_project_that_was_suspended_a_moment_ago_is_waited_for() -> None:
    outcome = await released(FakeLanes(Convergence(halted=(STILL,))))
    assert isinstance(outcome, Waiting)
    assert f"project {TARGET.project_id} is suspended" in outcome.message
    assert outcome.after is not None
