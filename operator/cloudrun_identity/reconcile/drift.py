"""Drift: changes that another actor made to managed resources. A reconcile finds it, the status counts it."""

from collections.abc import Iterable
from datetime import datetime

from cloudrun_identity.api import ConditionStatus, ConditionType, Drift, GrantState, ReconciledResource
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.policy.results import GrantSyncResult

from .outcomes import InSync, Outcome
from .steps import Change


def drift_of(
    obj: ReconciledResource, changes: Iterable[Change], sync_result: GrantSyncResult, *, observe: bool
) -> tuple[str, ...]:
    """Return the drift that a reconcile found, one sentence each.

    A difference from a declaration that was never met is not drift. The policy engine reports a lost grant
    only when it restores it; the lost grants of an object that is only observed are reported here.
    """
    lost, others = sync_result.drifted, sync_result.removed_unmanaged
    if observe:
        lost, others = (*lost, *_missing(sync_result)), (*others, *sync_result.unmanaged)
    if not was_ready(obj):
        return tuple(f"{grant} was missing" for grant in sync_result.drifted)
    return (
        *(str(change) for change in changes if not change.due),
        *(f"{grant} was missing" for grant in dict.fromkeys(lost)),
        *(f"{grant} was not declared" for grant in dict.fromkeys(others)),
    )


def was_ready(obj: ReconciledResource) -> bool:
    """Return whether the object was Ready at its current generation after the last reconcile."""
    ready = obj.status.condition(ConditionType.READY)
    return (
        ready is not None
        and ready.status is ConditionStatus.TRUE
        and ready.observed_generation == obj.metadata.generation
    )


def counted(before: Drift | None, found: tuple[str, ...], outcome: Outcome, now: datetime) -> Drift | None:
    """Return the drift of the status after a reconcile that found more of it."""
    after = before
    if found:
        after = Drift(
            count=(before.count if before else 0) + len(found),
            last_detected_time=now,
            last_repaired_time=before.last_repaired_time if before else None,
            changes=found,
        )
    if after and isinstance(outcome, InSync) and (found or not is_repaired(after)):
        return Drift.model_validate({**dict(after), "last_repaired_time": now})
    return after


def is_repaired(drift: Drift | None) -> bool:
    """Return whether the last drift is repaired."""
    if drift is None or drift.last_detected_time is None:
        return True
    return drift.last_repaired_time is not None and drift.last_repaired_time >= drift.last_detected_time


def _missing(sync_result: GrantSyncResult) -> Iterable[Grant]:
    """Return the grants that are absent from policies that could be read."""
    unknown = {*sync_result.missing, *sync_result.faults}
    for grant_result in sync_result.grant_results:
        is_met = grant_result.state in (GrantState.GRANTED, GrantState.EXPIRED)
        if not is_met and grant_result.grant.target not in unknown:
            yield grant_result.grant
