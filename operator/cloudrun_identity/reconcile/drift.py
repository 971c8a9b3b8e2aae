"""Drift: changes that another actor made to managed resources. A reconcile finds it, the status counts it."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from cloudrun_identity.api import ConditionStatus, ConditionType, Drift, GrantState, ReconciledResource
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.policy.results import GrantSyncResult

from .attribution import (
    ADDED,
    REMOVED,
    Attribution,
    attributed,
    attributions,
    cause_for_status,
    causes_of,
    with_repair,
)
from .change_log import Causes
from .outcomes import InSync, Outcome
from .steps import Change

_NO_ATTRIBUTION: Mapping[str, Attribution] = {}


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
        return tuple(f"{grant} {REMOVED}" for grant in sync_result.drifted)
    return (
        *(str(change) for change in changes if not change.due),
        *(f"{grant} {REMOVED}" for grant in dict.fromkeys(lost)),
        *(f"{grant} {ADDED}" for grant in dict.fromkeys(others)),
    )


def attributions_of(
    causes: Causes, changes: Iterable[Change], resource: str, sync_result: GrantSyncResult
) -> Mapping[str, Attribution]:
    """Return the known causes of the drift that `drift_of` returns. `resource` is what the changes are of."""
    return attributions(
        causes,
        removed=(*sync_result.drifted, *_missing(sync_result)),
        added=(*sync_result.removed_unmanaged, *sync_result.unmanaged),
        changes=changes,
        resource=resource,
    )


def was_ready(obj: ReconciledResource) -> bool:
    """Return whether the object was Ready at its current generation after the last reconcile."""
    ready = obj.status.condition(ConditionType.READY)
    return (
        ready is not None
        and ready.status is ConditionStatus.TRUE
        and ready.observed_generation == obj.metadata.generation
    )


def counted(
    before: Drift | None,
    found: tuple[str, ...],
    outcome: Outcome,
    now: datetime,
    known: Mapping[str, Attribution] = _NO_ATTRIBUTION,
) -> Drift | None:
    """Return the drift of the status after a reconcile that found more of it. `known` has its causes."""
    after, causes = before, tuple(cause.time for cause in before.causes) if before else ()
    if found:
        caused = causes_of(found, known)
        causes = tuple(cause.time for cause in caused)
        after = Drift(
            count=(before.count if before else 0) + len(found),
            last_detected_time=now,
            last_repaired_time=before.last_repaired_time if before else None,
            changes=attributed(found, known),
            causes=tuple(map(cause_for_status, caused)),
        )
    if after and isinstance(outcome, InSync) and (found or not is_repaired(after)):
        repaired = {"last_repaired_time": now, "changes": with_repair(after.changes, causes, now)}
        return Drift.model_validate({**dict(after), **repaired})
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
