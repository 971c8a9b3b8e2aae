"""Detect grants of an object that count as unmanaged though the object desires them.

After a ledger was deleted, or restored from an old backup, the operator cannot know which grants it made.
After a crash during a write it cannot know it either, if another writer changed the policy too. Such grants
stay in place, also when the object is deleted. An Event reports that.
"""

from collections.abc import Collection, Iterable

from cloudrun_identity.api import ProjectScopedResource
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.iam.wording import some
from cloudrun_identity.policy.desired_grants import DesiredGrant

from .cluster_state import ClusterState
from .drift import was_ready

NOT_RECORDED = "NotRecorded"
"""Reason of the Event."""


def unrecorded(
    obj: ProjectScopedResource, desired_grants: Iterable[DesiredGrant], cluster: ClusterState
) -> tuple[Grant, ...]:
    """Return the grants that are about to enter a ledger although the object was Ready before."""
    if not was_ready(obj):
        return ()
    return tuple(
        desired_grant.grant
        for desired_grant in desired_grants
        if desired_grant.grant not in cluster.ledger(desired_grant.grant.target).entries
    )


def recorded_as_unmanaged(grants: Iterable[Grant], cluster: ClusterState) -> str:
    """Return the message about the grants that were present before they entered; empty if none were."""
    unmanaged = [
        str(grant)
        for grant in grants
        if (held := cluster.ledger(grant.target).entries.get(grant)) and held.present_before
    ]
    if not unmanaged:
        return ""
    return (
        f"No PolicyLedger records who made {some(sorted(unmanaged))}: the ledger was lost, or the policy was "
        f"not managed before. {_CONSEQUENCE}"
    )


def made_by_others(grants: Collection[Grant]) -> str:
    """Return the message about grants that another writer made, or may have made, before the operator did."""
    added = some(sorted(map(str, grants)))
    return (
        f"Another writer changed the policy while the operator was adding {added}, and "
        f"made these grants or may have made them. {_CONSEQUENCE}"
    )


_CONSEQUENCE = (
    "These grants count as unmanaged and stay when this object is deleted; set spec.existingGrants to Claim "
    "to manage them"
)
