from dataclasses import replace
from typing import Any

import pytest

from cloudrun_identity.api import IdentityAttachment, Reason, Resource
from cloudrun_identity.controllers.identity_attachment.restoration import Restoration
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.gcp.workloads import Workload, WorkloadState
from cloudrun_identity.reconcile.cluster_state import ObjectKey, project_key
from cloudrun_identity.reconcile.outcomes import Failing, InSync, Outcome, Refused, Waiting
from tests.unit.controllers.attachments import OLD, ROLLED_OUT, attachment, attachment_records
from tests.unit.controllers.cloud import fault
from tests.unit.controllers.cluster_state import EMAIL, FakeWorld, identity, project, record

DEFAULT = "417203958816-compute@developer.gserviceaccount.com"
MOVE = {"serviceAccount": EMAIL, "generation": 1, "time": "2026-01-01T00:00:00Z"}
RESTORED = attachment(deletionPolicy="Restore")


class Ending(FakeWorld):
    """A world whose namespaces are on their way out."""

    def is_terminating(self, namespace: str) -> bool:
        return True


class FakeCloud:
    """The workload, what was written to it, and what was told."""

    def __init__(self, state: WorkloadState | None, error: Fault | None = None) -> None:
        self.state = state
        self.error = error
        self.written: list[str] = []
        self.warnings: list[str] = []

    async def workload(self, workload: Workload, max_age: float) -> WorkloadState | None:
        return self.state

    async def set_service_account(self, state: WorkloadState, email: str) -> None:
        self.written.append(email)
        if self.error:
            raise fault(self.error)

    def invalidate_workload(self, workload: Workload) -> None:
        pass

    def warn(self, obj: Resource, reason: str, message: str) -> None:
        self.warnings.append(message)


async def restored(
    cloud: Any,
    before: str | None = OLD,
    *,
    obj: IdentityAttachment = RESTORED,
    moved: WorkloadState = ROLLED_OUT,
    accounts: tuple[str, ...] = (OLD,),
    cluster: type[FakeWorld] = FakeWorld,
) -> Outcome:
    """How a restoration ends of a workload that ran as `before`; None: it was never moved."""
    guardrails = {"workloads": [{"names": ["checkout"]}], "accounts": list(accounts)}
    there = cluster(project(guardrails=guardrails), identity(), accounts=[record()])
    records = attachment_records()
    if before is not None:
        await records.moving(obj, replace(moved, service_account=before), EMAIL)
    return await Restoration(cloud, cloud, records, cloud, lambda step: None).restore(obj, there)


@pytest.mark.parametrize("before", [OLD, "", DEFAULT])
async def test_exactly_what_ran_before_is_put_back(before: str) -> None:
    cloud = FakeCloud(ROLLED_OUT)
    outcome = await restored(cloud, before)
    assert isinstance(outcome, Waiting)
    assert outcome.reason is Reason.DELETING
    assert outcome.after
    assert cloud.written == [before]


@pytest.mark.parametrize(
    ("before", "moved"),
    [(None, ROLLED_OUT), (OLD, replace(ROLLED_OUT, uid="another"))],
    ids=["never moved", "created anew"],
)
async def test_nothing_is_put_back_where_nothing_was_moved(before: str | None, moved: WorkloadState) -> None:
    cloud = FakeCloud(ROLLED_OUT)
    assert await restored(cloud, before, moved=moved) == InSync()
    assert cloud.written == []
    assert cloud.warnings == []


async def test_a_status_alone_puts_nothing_back() -> None:
    told = {"workloadUID": "w-1", "previousServiceAccount": DEFAULT, "lastMove": MOVE}
    obj = attachment(told, deletionPolicy="Restore")
    cloud = FakeCloud(ROLLED_OUT)
    assert await restored(cloud, None, obj=obj) == InSync()
    assert cloud.written == []
    assert cloud.warnings == [
        "Service europe-west1/checkout is left as it is: nothing but its status tells what ran before"
    ]

    await restored(cloud, OLD, obj=obj)
    assert cloud.written == [OLD]


async def test_a_workload_that_is_gone_needs_nothing() -> None:
    assert await restored(FakeCloud(None)) == InSync()


async def test_the_rollout_of_the_former_account_is_waited_for() -> None:
    back = replace(ROLLED_OUT, service_account=OLD)
    assert isinstance(await restored(FakeCloud(replace(back, reconciling=True))), Waiting)
    assert await restored(FakeCloud(back)) == InSync()


async def test_a_former_account_that_does_not_come_up_any_more_is_told() -> None:
    failed = replace(ROLLED_OUT, service_account=OLD, ready=False, ready_message="no such secret")
    cloud = FakeCloud(failed)
    assert await restored(cloud) == InSync()
    assert "no such secret" in cloud.warnings[0]

    cloud = FakeCloud(replace(failed, service_account=""))
    assert await restored(cloud, "") == InSync()
    assert "moved back to the default account and does not come up" in cloud.warnings[0]


async def test_what_somebody_else_set_since_is_left() -> None:
    cloud = FakeCloud(replace(ROLLED_OUT, service_account="other@x"))
    assert await restored(cloud) == InSync()
    assert cloud.written == []
    assert "other@x" in cloud.warnings[0]


async def test_an_account_that_no_guardrail_admits_any_more_is_not_put_back() -> None:
    cloud = FakeCloud(ROLLED_OUT)
    outcome = await restored(cloud, accounts=())
    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.DENIED_BY_GUARDRAIL
    assert "Abandon" in outcome.message
    assert cloud.written == []

    foreign_default = "99-compute@developer.gserviceaccount.com"
    assert isinstance(await restored(cloud, foreign_default), Refused)


async def test_nothing_is_put_back_in_another_project_than_it_was_moved_in() -> None:
    cloud = FakeCloud(ROLLED_OUT)
    elsewhere = replace(ROLLED_OUT, workload=replace(ROLLED_OUT.workload, project_id="former-1234"))
    outcome = await restored(cloud, moved=elsewhere)
    assert isinstance(outcome, Refused)
    assert "spec.projectRef: payments-prod was project former-1234" in outcome.message
    assert "Abandon" in outcome.message

    assert await restored(cloud, moved=elsewhere, cluster=Ending) == InSync()
    assert cloud.written == []


@pytest.mark.parametrize(
    ("unreadable", "reason"),
    [(set(), Reason.DEPENDENCY_NOT_FOUND), ({project_key("payments-prod")}, Reason.DEPENDENCY_NOT_READY)],
    ids=["gone", "unreadable"],
)
async def test_without_its_project_nothing_is_put_back(unreadable: set[ObjectKey], reason: Reason) -> None:
    cloud: Any = FakeCloud(ROLLED_OUT)
    records, cluster = attachment_records(), FakeWorld()
    cluster.invalid = unreadable
    await records.moving(RESTORED, replace(ROLLED_OUT, service_account=OLD), EMAIL)
    outcome = await Restoration(cloud, cloud, records, cloud, lambda step: None).restore(RESTORED, cluster)
    assert isinstance(outcome, Waiting)
    assert outcome.reason is reason
    assert outcome.message.startswith("spec.projectRef: ")
    assert outcome.message.endswith("set spec.deletionPolicy to Abandon to leave the workload as it is")
    assert cloud.written == []


async def test_in_a_namespace_that_ends_it_is_left_and_told() -> None:
    cloud = FakeCloud(ROLLED_OUT)
    assert await restored(cloud, accounts=(), cluster=Ending) == InSync()
    assert "is left as it is" in cloud.warnings[0]


async def test_a_deploy_at_the_same_moment_is_not_overwritten() -> None:
    outcome = await restored(FakeCloud(ROLLED_OUT, Fault.ABORTED))
    assert isinstance(outcome, Failing)
    assert outcome.after is None
