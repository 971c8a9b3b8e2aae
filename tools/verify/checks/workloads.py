"""Beliefs about updates of Cloud Run workloads."""

import dataclasses
from collections.abc import AsyncIterator

from cloudrun_identity.api import WorkloadKind
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.workloads import WorkloadState
from tools.verify.beliefs import Belief, Cost, Observation, described, judged, refuted
from tools.verify.sandbox import LAGGING, Sandbox
from tools.verify.workloads import differences, settled, workload

_UPDATE_REFUSALS = frozenset({Fault.INVALID_ARGUMENT, Fault.FAILED_PRECONDITION, Fault.UNIMPLEMENTED})


async def _update_masks(sandbox: Sandbox) -> AsyncIterator[Observation]:
    for kind in (WorkloadKind.SERVICE, WorkloadKind.WORKER_POOL):
        before = await workload(sandbox, kind)
        # The request also changes a field that its mask does not name.
        message = type(before.message)()
        message.CopyFrom(before.message)
        message.description = "outside the mask"
        yield await _updated(sandbox, before, dataclasses.replace(before, message=message))


async def _update_job(sandbox: Sandbox) -> AsyncIterator[Observation]:
    before = await workload(sandbox, WorkloadKind.JOB)
    yield await _updated(sandbox, before, before)


async def _updated(sandbox: Sandbox, before: WorkloadState, sent: WorkloadState) -> Observation:
    """Set another account as the operator does, and compare the workload before and after."""
    target = before.workload
    email = (await sandbox.account("successor")).email

    async def updated() -> bool:
        await sandbox.run.set_service_account(sent, email)
        return True

    try:
        await sandbox.until(updated, LAGGING - _UPDATE_REFUSALS)
    except GoogleError as error:
        if error.fault not in _UPDATE_REFUSALS:
            raise
        return refuted(f"update of {target}", described(error))
    after = await settled(sandbox, target)
    changed = differences(before, after)
    if after.service_account != email:
        return refuted(f"update of {target}", "the service account is unchanged")
    if changed:
        return refuted(f"update of {target}", f"also changed: {', '.join(changed)}")
    if after.template_revision:
        return refuted(f"update of {target}", f"template.revision is still {after.template_revision}")
    pinned = " and template.revision" if before.template_revision else ""
    return judged(True, f"update of {target}", f"changed the service account{pinned}, and nothing else")


UPDATE_MASKS = Belief(
    id="update-masks",
    statement="UpdateService and UpdateWorkerPool accept the nested paths `template.service_account` and "
    "`template.revision` in the update mask, and change no other field.",
    breaks="Attachments to services and worker pools fail, or revert changes of other deployers.",
    modules=("gcp/run.py", "gcp/workloads.py"),
    cost=Cost.FAST,
    check=_update_masks,
)

UPDATE_JOB = Belief(
    id="update-job",
    statement="UpdateJob, which has no update mask, keeps every field of a job that is sent back as it was "
    "read, and executes nothing.",
    breaks="An attachment to a job loses settings of the job, or executes it.",
    modules=("gcp/run.py", "gcp/workloads.py"),
    cost=Cost.FAST,
    check=_update_job,
)
