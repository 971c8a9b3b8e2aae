"""States of workloads without a change in progress."""

from dataclasses import replace
from typing import Any

from cloudrun_identity.gcp.workloads import Workload, WorkloadState


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
    )
    return replace(state, **fields)
