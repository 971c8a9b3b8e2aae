from dataclasses import replace

import pytest

from cloudrun_identity.api import IdentityAttachment, Reason, WorkloadKind
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.gcp.workloads import WorkloadState, workload_template
from cloudrun_identity.reconcile.cluster_state import ObjectKey, project_key
from cloudrun_identity.reconcile.outcomes import Failing, InSync, Outcome, Waiting
from cloudrun_identity.reconcile.status import with_fields
from tests.unit.controllers.attachments import ELSEWHERE, OLD, ROLLED_OUT, attachment
from tests.unit.controllers.carry_out import Recorder, carried_out
from tests.unit.controllers.cluster_state import EMAIL, FakeClusterState, admitted, identity, project, record
from tests.unit.controllers.identity_attachment.fake_cloud import NOW, FakeCloud
from tests.unit.gcp.workload_states import settled

DEFAULT = "417203958816-compute@developer.gserviceaccount.com"
REASSIGNMENT = {"serviceAccount": EMAIL, "generation": 1, "time": "2026-01-01T00:00:00Z"}
RESTORED = attachment(deletionPolicy="Restore")


class Deletion:
    """Result of the deletion of an attachment."""

    def __init__(
        self, cloud: FakeCloud, outcome: Outcome, recorder: Recorder, obj: IdentityAttachment
    ) -> None:
        self.outcome = outcome
        self.warnings = recorder.messages
        self.reassigned_to = cloud.reassigned_to
        self.is_recorded = cloud.of(obj) is not None


async def deleted(
    cloud: FakeCloud,
    before: str | None = OLD,
    *,
    obj: IdentityAttachment = RESTORED,
    reassigned: WorkloadState = ROLLED_OUT,
    accounts: tuple[str, ...] = (OLD,),
    cluster: FakeClusterState | None = None,
    restore_to_default: bool = True,
    abandon: bool = False,
) -> Deletion:
    """Delete the attachment of a workload that ran as `before`; None: it was never reassigned."""
    guardrails = {
        "workloads": [{"names": ["checkout"], "namespaces": ["*"]}],
        "accounts": admitted(accounts),
        "restoreToDefaultAccount": restore_to_default,
    }
    cluster = cluster or FakeClusterState(project(guardrails=guardrails), identity(), accounts=[record()])
    if before is not None:
        await cloud.records.reassigning(obj, replace(reassigned, service_account=before), EMAIL)
    kind, recorder = cloud.controller(), Recorder()
    deletion = kind.resolve_deletion(obj, cluster, abandon=abandon)
    if deletion is None:
        return Deletion(cloud, InSync(), recorder, obj)
    progress = await carried_out(kind, deletion, now=NOW, recorder=recorder)
    return Deletion(cloud, progress.outcome, recorder, obj)


@pytest.mark.parametrize("before", [OLD, "", DEFAULT])
async def test_the_account_from_before_the_attachment_is_restored(before: str) -> None:
    cloud = FakeCloud(ROLLED_OUT)
    deletion = await deleted(cloud, before)
    assert isinstance(deletion.outcome, Waiting)
    assert deletion.outcome.reason is Reason.DELETING
    assert deletion.outcome.message.endswith(f"is being reassigned to {before or 'the default account'}")
    assert deletion.outcome.after
    assert deletion.reassigned_to == [before]
    assert cloud.calls == ["get", f"reassign to {before}", "invalidate"]
    assert deletion.is_recorded, "until the rollout is over"


async def test_a_restored_workload_is_forgotten_once_it_is_rolled_out() -> None:
    deletion = await deleted(FakeCloud(replace(ROLLED_OUT, service_account=OLD)))
    assert (deletion.outcome, deletion.reassigned_to, deletion.is_recorded) == (InSync(), [], False)


@pytest.mark.parametrize(
    ("before", "reassigned"),
    [(None, ROLLED_OUT), (OLD, replace(ROLLED_OUT, uid="another"))],
    ids=["never reassigned", "created again"],
)
async def test_a_workload_that_was_not_reassigned_is_not_restored(
    before: str | None, reassigned: WorkloadState
) -> None:
    deletion = await deleted(FakeCloud(ROLLED_OUT), before, reassigned=reassigned)
    assert (deletion.outcome, deletion.reassigned_to, deletion.warnings) == (InSync(), [], [])


@pytest.mark.parametrize("how", ["policy", "observed"])
async def test_an_abandoned_workload_is_neither_read_nor_restored(how: str) -> None:
    cloud = FakeCloud(ROLLED_OUT)
    obj = attachment(deletionPolicy="Abandon" if how == "policy" else "Restore")
    deletion = await deleted(cloud, obj=obj, abandon=how == "observed")
    left = f"Service europe-west1/checkout is left as it is: the attachment made it run as {EMAIL}"
    assert (deletion.outcome, deletion.warnings, deletion.is_recorded) == (InSync(), [left], False)
    assert cloud.calls == []


async def test_a_status_without_a_record_restores_nothing() -> None:
    claimed = {"workloadUID": "w-1", "previousServiceAccount": DEFAULT, "lastReassignment": REASSIGNMENT}
    obj = attachment(claimed, deletionPolicy="Restore")
    cloud = FakeCloud(ROLLED_OUT)
    deletion = await deleted(cloud, None, obj=obj)
    assert (deletion.outcome, deletion.reassigned_to) == (InSync(), [])
    assert deletion.warnings == [
        "Service europe-west1/checkout is left as it is: only its status says what ran before"
    ]
    assert cloud.calls == ["record"]
    assert (await deleted(cloud, OLD, obj=obj)).reassigned_to == [OLD]


async def test_deletion_that_is_planned_again_does_not_warn_again() -> None:
    """The finalizer could not be removed after the record was: another client edited the object."""
    cloud, status = FakeCloud(ROLLED_OUT), {"workloadUID": "w-1", "lastReassignment": REASSIGNMENT}
    obj = attachment(status, deletionPolicy="Restore")
    assert len((await deleted(cloud, obj=obj, accounts=())).warnings) == 1

    stored = obj.model_copy(update={"status": with_fields(obj.status, cloud.recorded)})
    again = await deleted(cloud, None, obj=stored, accounts=())
    assert (again.outcome, again.warnings) == (InSync(), [])


async def test_record_is_kept_while_the_status_cannot_be_written() -> None:
    cloud, status = FakeCloud(ROLLED_OUT), {"workloadUID": "w-1", "lastReassignment": REASSIGNMENT}
    cloud.recordable = False
    deletion = await deleted(cloud, obj=attachment(status, deletionPolicy="Restore"), accounts=())
    assert isinstance(deletion.outcome, Waiting)
    assert (deletion.is_recorded, deletion.warnings) == (True, [])


async def test_a_deleted_workload_needs_no_restoration() -> None:
    deletion = await deleted(FakeCloud(None))
    assert (deletion.outcome, deletion.is_recorded) == (InSync(), False)


async def test_the_rollout_of_the_former_account_is_waited_for() -> None:
    back = replace(ROLLED_OUT, service_account=OLD, reconciling=True)
    assert isinstance((await deleted(FakeCloud(back))).outcome, Waiting)


async def test_a_former_account_that_does_not_start_is_reported() -> None:
    failed = replace(ROLLED_OUT, service_account=OLD, ready=False, ready_message="no such secret")
    deletion = await deleted(FakeCloud(failed))
    assert deletion.outcome == InSync()
    assert "no such secret" in deletion.warnings[0]

    deletion = await deleted(FakeCloud(replace(failed, service_account="")), "")
    assert deletion.outcome == InSync()
    assert "reassigned to the default account and does not start" in deletion.warnings[0]


@pytest.mark.parametrize("since", [{"service_account": "other@x"}, {"managed_by": "cloudfunctions"}], ids=str)
async def test_a_workload_that_another_user_deployed_is_left(since: dict[str, str]) -> None:
    deletion = await deleted(FakeCloud(replace(ROLLED_OUT, **since)))
    assert (deletion.outcome, deletion.reassigned_to) == (InSync(), [])
    assert since.get("service_account", EMAIL) in deletion.warnings[0]


async def test_an_account_that_the_guardrails_deny_now_is_not_restored() -> None:
    deletion = await deleted(FakeCloud(ROLLED_OUT), accounts=())
    assert (deletion.outcome, deletion.reassigned_to, deletion.is_recorded) == (InSync(), [], False)
    assert "is left as it is: " in deletion.warnings[0]
    assert "guardrails.accounts" in deletion.warnings[0]

    other_default = "99-compute@developer.gserviceaccount.com"
    deletion = await deleted(FakeCloud(ROLLED_OUT), other_default)
    assert (deletion.outcome, deletion.reassigned_to) == (InSync(), [])
    assert other_default in deletion.warnings[0]


@pytest.mark.parametrize("before", ["", DEFAULT])
async def test_default_account_is_not_restored_without_its_guardrail(before: str) -> None:
    deletion = await deleted(FakeCloud(ROLLED_OUT), before, restore_to_default=False)
    assert (deletion.outcome, deletion.reassigned_to, deletion.is_recorded) == (InSync(), [], False)
    assert "guardrails.restoreToDefaultAccount of ManagedProject payments-prod" in deletion.warnings[0]


@pytest.mark.parametrize("kind", list(WorkloadKind))
@pytest.mark.parametrize("before", ["", OLD])
async def test_former_account_is_not_restored_to_another_template(kind: WorkloadKind, before: str) -> None:
    workload = replace(ROLLED_OUT.workload, kind=kind)
    reassigned = replace(settled(workload, EMAIL, uid="w-1"), generation=2, observed_generation=2)
    redeployed = replace(reassigned, message=type(reassigned.message)())
    workload_template(kind, redeployed.message).containers.add(image="gcr.io/mallory/tool")
    obj = attachment(
        deletionPolicy="Restore", workload={"kind": kind, "location": "europe-west1", "name": "checkout"}
    )

    deletion = await deleted(FakeCloud(redeployed), before, obj=obj, reassigned=reassigned)
    assert (deletion.outcome, deletion.reassigned_to, deletion.is_recorded) == (InSync(), [], False)
    assert "its template was changed since it ran as " in deletion.warnings[0]
    assert (await deleted(FakeCloud(reassigned), before, obj=obj, reassigned=reassigned)).reassigned_to == [
        before
    ]


async def test_repair_after_another_deployment_keeps_the_first_template() -> None:
    cloud = FakeCloud(ROLLED_OUT)
    await cloud.records.reassigning(RESTORED, ELSEWHERE, EMAIL)
    redeployed = replace(ELSEWHERE, message=type(ELSEWHERE.message)())
    redeployed.message.template.containers.add(image="gcr.io/mallory/tool")
    await cloud.records.reassigning(RESTORED, redeployed, EMAIL)
    recorded = cloud.of(RESTORED)
    assert recorded is not None
    assert recorded.template_digest == ELSEWHERE.template_digest


async def test_record_without_a_template_restores_nothing() -> None:
    cloud = FakeCloud(ROLLED_OUT)
    await cloud.records.reassigning(RESTORED, ELSEWHERE, EMAIL)
    recorded = cloud.of(RESTORED)
    assert recorded is not None
    await cloud.records.not_reassigned(ELSEWHERE, recorded.model_copy(update={"template_digest": ""}))
    assert (await deleted(cloud, None)).reassigned_to == []


async def test_nothing_is_restored_after_the_project_id_changed() -> None:
    cloud = FakeCloud(ROLLED_OUT)
    elsewhere = replace(ROLLED_OUT, workload=replace(ROLLED_OUT.workload, project_id="former-1234"))
    deletion = await deleted(cloud, reassigned=elsewhere)
    assert (deletion.outcome, deletion.reassigned_to, cloud.calls) == (InSync(), [], [])
    assert "spec.projectRef: payments-prod was project former-1234" in deletion.warnings[0]


@pytest.mark.parametrize(
    ("invalid", "reason"),
    [(set(), Reason.DEPENDENCY_NOT_FOUND), ({project_key("payments-prod")}, Reason.DEPENDENCY_NOT_READY)],
    ids=["deleted", "invalid"],
)
async def test_nothing_is_restored_without_a_project(invalid: set[ObjectKey], reason: Reason) -> None:
    cloud, cluster = FakeCloud(ROLLED_OUT), FakeClusterState()
    cluster.invalid = invalid
    outcome = (await deleted(cloud, cluster=cluster)).outcome
    assert isinstance(outcome, Waiting)
    assert outcome.reason is reason
    assert outcome.message.startswith("spec.projectRef: ")
    assert outcome.message.endswith("set spec.deletionPolicy to Abandon to leave the workload as it is")
    assert cloud.calls == []


async def test_a_deploy_during_the_restoration_is_not_overwritten() -> None:
    outcome = (await deleted(FakeCloud(ROLLED_OUT, Fault.ABORTED))).outcome
    assert isinstance(outcome, Failing)
    assert outcome.after is None
