"""Release of the grants of an object: it ends once none is present, and reports what prevents it."""

from collections.abc import Iterable
from typing import Any

import pytest

from cloudrun_identity.api import GrantState, Reason, TargetKind
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.model import entry_of
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.desired_grants import DesiredGrants, Retain
from cloudrun_identity.policy.results import GrantSyncResult
from cloudrun_identity.reconcile.grants.release import Releaser
from cloudrun_identity.reconcile.outcomes import Failing, InSync, Waiting
from tests.unit.controllers.cluster_state import FakeClusterState, binding, project

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


CLAIMABLE = {
    "grants": [
        {
            "roles": [STILL.role],
            "targetKinds": ["Project"],
            "members": ["user:*"],
            "namespaces": ["payments"],
            "claim": True,
        }
    ]
}
EXISTING = entry_of(
    STILL, ["IAMBinding/payments/ann/u-ann"], GrantState.GRANTED, present_before=True, unique_id=""
)


class FakeSyncers:
    """Records what is declared, and answers every sync alike."""

    def __init__(self, answer: GrantSyncResult) -> None:
        self.answer = answer
        self.declared: list[DesiredGrants] = []

    def held_by(self, owner: Owner) -> Iterable[Target]:
        return [TARGET]

    def declare(self, desired: DesiredGrants) -> None:
        self.declared.append(desired)

    async def sync(self, owner: Owner) -> GrantSyncResult:
        return self.answer


DECLARED = (Retain(TARGET, STILL.role),)


async def released(syncers: FakeSyncers, *, abandon: bool = False, **spec: Any) -> object:
    cluster = FakeClusterState(project(guardrails=CLAIMABLE), entries={STILL: EXISTING})
    releaser = Releaser(syncers, cluster)
    return await releaser.release(binding(BINDING, **spec), declared=DECLARED, abandon=abandon)


@pytest.mark.parametrize("abandon", [False, True])
@pytest.mark.parametrize(("existing", "taken"), [("Keep", frozenset()), ("Claim", frozenset({STILL}))])
async def test_release_declares_no_grants_and_how_to_treat_existing_ones(
    abandon: bool, existing: str, taken: frozenset[Grant]
) -> None:
    syncers = FakeSyncers(GrantSyncResult())
    assert await released(syncers, abandon=abandon, existingGrants=existing) == InSync()
    (desired,) = syncers.declared
    assert desired.owner == Owner("IAMBinding", "payments", "ann", "u-ann")
    assert (desired.desired_grants, desired.declared) == (frozenset(), DECLARED)
    assert (desired.abandon, desired.claims) == (abandon, taken)


async def test_grant_that_is_still_present_is_named_and_waited_for() -> None:
    outcome = await released(FakeSyncers(GrantSyncResult(releasing=(STILL,))))
    assert isinstance(outcome, Waiting)
    assert outcome.reason is Reason.DELETING
    assert str(STILL) in outcome.message
    assert outcome.after is not None


async def test_error_that_prevents_a_release_is_reported() -> None:
    denied = GoogleError(Fault.PERMISSION_DENIED, "SetIamPolicy", "you may not")
    outcome = await released(FakeSyncers(GrantSyncResult(releasing=(STILL,), faults={TARGET: denied})))
    assert isinstance(outcome, Failing)
    assert outcome.reason is Reason.PERMISSION_DENIED
    assert str(STILL) in outcome.message
    assert "you may not" in outcome.message


async def test_error_on_a_target_without_grants_does_not_block_the_release() -> None:
    denied = GoogleError(Fault.PERMISSION_DENIED, "SetIamPolicy", "you may not")
    assert await released(FakeSyncers(GrantSyncResult(faults={TARGET: denied}))) == InSync()


async def test_release_waits_for_a_project_that_became_suspended() -> None:
    outcome = await released(FakeSyncers(GrantSyncResult(halted=(STILL,))))
    assert isinstance(outcome, Waiting)
    assert f"project {TARGET.project_id} is suspended" in outcome.message
    assert outcome.after is not None
