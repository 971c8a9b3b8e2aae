"""Grants that were an object's own and are in no ledger: nobody can tell any more who made them.

A ledger that was deleted, or restored from an old backup, makes them foreign: they stay where they are, also
when the object goes. Whoever looks after the object has to hear of that.
"""

from collections.abc import Iterable

from cloudrun_identity.api import ProjectScopedResource
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.policy.desired_grants import DesiredGrant

from .cluster_state import ClusterState
from .drift import was_ready

NOT_RECORDED = "NotRecorded"
"""The reason of the Event that tells of it."""

_NAMED = 3


def unrecorded(
    obj: ProjectScopedResource, desired_grants: Iterable[DesiredGrant], cluster: ClusterState
) -> tuple[Grant, ...]:
    """The claims that are about to enter a ledger though the object was as declared before."""
    if not was_ready(obj):
        return ()
    return tuple(
        desired_grant.grant
        for desired_grant in desired_grants
        if desired_grant.grant not in cluster.ledger(desired_grant.grant.target).entries
    )


def recorded_as_unmanaged(grants: Iterable[Grant], cluster: ClusterState) -> str:
    """What to tell of those that stood already as they entered it; empty if none did."""
    foreign = [
        str(grant)
        for grant in grants
        if (held := cluster.ledger(grant.target).entries.get(grant)) and held.present_before
    ]
    if not foreign:
        return ""
    more = f" and {len(foreign) - _NAMED} more" if len(foreign) > _NAMED else ""
    return (
        f"no PolicyLedger says who made {', '.join(sorted(foreign)[:_NAMED])}{more}, because it was lost or "
        "nothing was managed here so far: taken for somebody else's, to stay when this object goes; "
        "spec.existingGrants: Claim makes them its own"
    )
