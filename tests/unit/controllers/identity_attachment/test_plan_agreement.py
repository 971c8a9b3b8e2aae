"""Manage does what Observe and the dry run report, in every state of a workload."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from cloudrun_identity.api import IdentityAttachment, PreflightCheck, PreflightState, Reason, Reassignment
from cloudrun_identity.controllers.identity_attachment.plan import ReassignWorkload
from cloudrun_identity.controllers.identity_attachment.reassignments import ROUNDS
from cloudrun_identity.gcp.run import Operation
from cloudrun_identity.gcp.workloads import WorkloadState
from cloudrun_identity.reconcile.outcomes import Failing, Outcome, Paused, Refused, Waiting
from tests.unit.controllers.agreement import AnyResource, agreement
from tests.unit.controllers.attachments import ELSEWHERE, OLD, ROLLED_OUT, attachment, want
from tests.unit.controllers.cluster_state import EMAIL, FakeClusterState, admitted, identity, project, record
from tests.unit.controllers.identity_attachment.fake_cloud import NOW, OPERATION, PASSED, FakeCloud

STATES: dict[str, WorkloadState | None] = {
    "no workload": None,
    "rolled out": ROLLED_OUT,
    "rolling out": replace(ROLLED_OUT, reconciling=True),
    "failed revision": replace(ROLLED_OUT, latest_created_revision="checkout-3"),
    "failed": replace(ROLLED_OUT, ready=False, ready_message="no such image"),
    "other account": replace(ELSEWHERE, updated=NOW.timestamp()),
    "default account": replace(ELSEWHERE, service_account=""),
    "other account and created again": replace(ELSEWHERE, uid="w-2"),
    "other account, by a function": replace(ELSEWHERE, managed_by="cloudfunctions"),
    "right account, by a function": replace(ROLLED_OUT, managed_by="cloudfunctions"),
}
SERVING = {"as the template": None, "as another account": {"checkout-1": OLD}}
OPERATIONS = {
    "no operation": None,
    "operation under way": Operation(OPERATION, done=False, state=replace(ROLLED_OUT, reconciling=True)),
    "operation done": Operation(OPERATION, done=True, state=ROLLED_OUT),
    "operation failed": Operation(OPERATION, done=True, error="no such image"),
}
RECENT = Reassignment(service_account=EMAIL, generation=1, time=NOW - timedelta(seconds=1))
REASSIGNMENTS = {
    "never reassigned": None,
    "reassigned": RECENT,
    "lost": RECENT.model_copy(update={"generation": ELSEWHERE.generation}),
    "conflicts": RECENT.model_copy(update={"conflicts": ROUNDS}),
    "rejected": RECENT.model_copy(update={"error": "no such image", "generation": 9}),
}
CHECKS = {
    "checks passed": PASSED,
    "no account": (PreflightCheck(check="Account", state=PreflightState.FAILED, message="missing"),),
    "advice": (PreflightCheck(check="Image", state=PreflightState.UNKNOWN, message="unknown"),),
}


@dataclass(frozen=True)
class Case:
    """One state of an attachment."""

    state: str
    serving: str = "as the template"
    operation: str = "no operation"
    last: str = "never reassigned"
    checks: str = "checks passed"
    edited: bool = False

    async def scene(self) -> tuple[AnyResource, Any]:
        cloud = FakeCloud(STATES[self.state])
        cloud.serving = SERVING[self.serving]
        cloud.under_way = OPERATIONS[self.operation]
        cloud.checks = CHECKS[self.checks]
        last = REASSIGNMENTS[self.last]
        status = {
            "workloadUID": "w-1",
            "observedGeneration": 0 if self.edited else 1,
            **({"operation": OPERATION} if cloud.under_way else {}),
            **({"lastReassignment": last.to_dict()} if last else {}),
        }
        return cloud.controller(), want(attachment(status))

    @classmethod
    def all(cls, name: str) -> Iterator["Case"]:
        """Return the cases that matter for a state."""
        state = STATES[name]
        differs = state is not None and state.service_account != EMAIL
        for operation, last in itertools.product(OPERATIONS, REASSIGNMENTS):
            if not differs:
                yield from (cls(name, serving, operation, last) for serving in SERVING)
                continue
            for checks, edited in itertools.product(CHECKS, (False, True)):
                yield cls(name, operation=operation, last=last, checks=checks, edited=edited)


@pytest.mark.parametrize("state", STATES)
async def test_manage_does_what_observe_and_the_dry_run_report(state: str) -> None:
    for case in Case.all(state):
        found = await agreement(case.scene, NOW)
        assert sum(isinstance(action, ReassignWorkload) for action in found.executed) <= 1, case


@pytest.mark.parametrize(
    ("case", "outcome", "reason"),
    [
        (Case("no workload"), Waiting, Reason.WORKLOAD_NOT_FOUND),
        (Case("rolling out"), Waiting, Reason.UPDATING),
        (Case("failed revision"), Failing, Reason.REVISION_FAILED),
        (Case("rolled out", serving="as another account"), Waiting, Reason.OLD_REVISION_SERVING),
        (Case("other account"), Paused, Reason.DRIFT_DETECTED),
        (Case("other account", operation="operation under way"), Waiting, Reason.UPDATING),
        (Case("other account", checks="no account"), Waiting, Reason.DEPENDENCY_NOT_READY),
        (Case("other account", last="reassigned"), Waiting, Reason.DRIFT_DETECTED),
        (Case("other account", last="conflicts"), Refused, Reason.CONFLICT),
        (Case("other account", last="rejected"), Waiting, Reason.REVISION_FAILED),
        (
            Case("other account", last="reassigned", operation="operation failed"),
            Waiting,
            Reason.REVISION_FAILED,
        ),
        (Case("other account, by a function"), Refused, Reason.REJECTED),
        (Case("right account, by a function"), Refused, Reason.REJECTED),
    ],
    ids=str,
)
async def test_observe_reports_why_manage_would_not_act(
    case: Case, outcome: type[Outcome], reason: Reason
) -> None:
    observed = (await agreement(case.scene, NOW)).observed
    assert isinstance(observed, outcome)
    assert getattr(observed, "reason", None) is reason


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("accounts", [[OLD], []], ids=["admitted", "denied"])
async def test_a_deletion_does_what_its_plan_says(state: str, accounts: list[str]) -> None:
    guardrails = {"workloads": [{"names": ["checkout"], "namespaces": ["*"]}], "accounts": admitted(accounts)}
    cluster = FakeClusterState(project(guardrails=guardrails), identity(), accounts=[record()])
    status = {"workloadUID": "w-1", "lastReassignment": RECENT.to_dict()}
    for policy, recorded, abandon in itertools.product(("Restore", "Abandon"), (True, False), (True, False)):
        if not recorded and (abandon or policy == "Abandon"):
            continue  # nothing to undo
        obj = attachment(status, deletionPolicy=policy)

        async def scene(
            obj: IdentityAttachment = obj, recorded: bool = recorded, abandon: bool = abandon
        ) -> tuple[AnyResource, Any]:
            cloud = FakeCloud(STATES[state])
            if recorded:
                await cloud.records.reassigning(obj, ELSEWHERE, EMAIL)
            kind = cloud.controller()
            return kind, kind.resolve_deletion(obj, cluster, abandon=abandon)

        await agreement(scene, NOW)
