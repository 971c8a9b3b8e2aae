"""Letting go: an object is released once nothing of it stands, and says what holds it up until then."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from cloudrun_identity.api import Reason, TargetKind
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.desired_grants import DesiredGrants
from cloudrun_identity.policy.syncers import GrantSyncResult
from cloudrun_identity.reconcile.grants.release import Releaser
from cloudrun_identity.reconcile.outcomes import Failing, InSync, Waiting
from tests.unit.controllers.cluster_state import binding

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
    def __init__(self, answer: GrantSyncResult) -> None:
        self.answer = answer
        self.declared: list[DesiredGrants] = []
        self.slot_released = False
        self.converged_while_parked = False

    def declare(self, desired: DesiredGrants) -> None:
        self.declared.append(desired)

    async def sync(self, owner: Owner) -> GrantSyncResult:
        self.converged_while_parked = self.slot_released
        return self.answer

    @asynccontextmanager
    async def park(self) -> AsyncIterator[None]:
        self.slot_released = True
        yield
        self.slot_released = False


async def released(lanes: FakeLanes, *, abandon: bool = False, **spec: Any) -> object:
    return await Releaser(lanes, lanes.park).release(binding(BINDING, **spec), abandon=abandon)


@pytest.mark.parametrize("abandon", [False, True])
@pytest.mark.parametrize(("existing", "taken"), [("Keep", False), ("Claim", True)])
async def test_release_declares_no_grants_and_how_to_treat_existing_ones(
    abandon: bool, existing: str, taken: bool
) -> None:
    lanes = FakeLanes(GrantSyncResult())
    assert await released(lanes, abandon=abandon, existingGrants=existing) == InSync()
    (desired,) = lanes.declared
    assert desired.owner == Owner("IAMBinding", "payments", "ann", "u-ann")
    assert (desired.desired_grants, desired.abandon, desired.owns_existing) == (
        frozenset(),
        abandon,
        taken,
    )


async def test_worker_slot_is_released_during_the_sync() -> None:
    lanes = FakeLanes(GrantSyncResult())
    await released(lanes)
    assert lanes.converged_while_parked
    assert not lanes.slot_released


async def test_grant_that_is_still_present_is_named_and_waited_for() -> None:
    outcome = await released(FakeLanes(GrantSyncResult(releasing=(STILL,))))
    assert isinstance(outcome, Waiting)
    assert outcome.reason is Reason.DELETING
    assert str(STILL) in outcome.message
    assert outcome.after is not None


async def test_error_that_prevents_a_release_is_reported() -> None:
    denied = GoogleError(Fault.PERMISSION_DENIED, "SetIamPolicy", "you may not")
    outcome = await released(FakeLanes(GrantSyncResult(releasing=(STILL,), faults={TARGET: denied})))
    assert isinstance(outcome, Failing)
    assert outcome.reason is Reason.PERMISSION_DENIED
    assert str(STILL) in outcome.message
    assert "you may not" in outcome.message


async def test_error_on_a_target_without_grants_does_not_block_the_release() -> None:
    denied = GoogleError(Fault.PERMISSION_DENIED, "SetIamPolicy", "you may not")
    assert await released(FakeLanes(GrantSyncResult(faults={TARGET: denied}))) == InSync()


async def test_release_waits_for_a_project_that_became_suspended() -> None:
    outcome = await released(FakeLanes(GrantSyncResult(halted=(STILL,))))
    assert isinstance(outcome, Waiting)
    assert f"project {TARGET.project_id} is suspended" in outcome.message
    assert outcome.after is not None
