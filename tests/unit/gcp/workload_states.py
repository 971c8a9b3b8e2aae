"""States of workloads without a change in progress."""

from dataclasses import replace
from typing import Any

from google.cloud.run_v2 import types

from cloudrun_identity.api import WorkloadKind
from cloudrun_identity.gcp.workloads import Workload, WorkloadState

_MESSAGES = {
    WorkloadKind.SERVICE: types.Service,
    WorkloadKind.JOB: types.Job,
    WorkloadKind.WORKER_POOL: types.WorkerPool,
}


def settled(workload: Workload, account: str, **fields: Any) -> WorkloadState:
    """Return a workload that runs as the account, with `new` as its only revision, ready and serving."""
    state = WorkloadState(
        workload=workload,
        uid=workload.name,
        etag='"1"',
        service_account=account,
        generation=1,
        observed_generation=1,
        reconciling=False,
        ready=True,
        ready_message="",
        latest_created_revision="new",
        latest_ready_revision="new",
        template_revision="",
        serving_revisions=("new",),
        last_modifier="",
        managed_by="",
        invoker_iam_disabled=False,
        message=_MESSAGES[workload.kind].pb(_MESSAGES[workload.kind]()),
    )
    return replace(state, **fields)
