"""Grants that were an object's own and are in no ledger: nobody can tell any more who made them.

A ledger that was deleted, or restored from an old backup, makes them foreign: they stay where they are, also
when the object goes. Whoever looks after the object has to hear of that.
"""

from collections.abc import Iterable

from cloudrun_identity.api import ProjectScopedResource
from cloudrun_identity.controllers.world import World
from cloudrun_identity.iam.claims import Claim
from cloudrun_identity.iam.grants import Grant

from .drift import was_ready

NOT_RECORDED = "NotRecorded"
"""The reason of the Event that tells of it."""

_NAMED = 3


def unrecorded(obj: ProjectScopedResource, claims: Iterable[Claim], world: World) -> tuple[Grant, ...]:
    """The claims that are about to enter a ledger though the object was as declared before."""
    if not was_ready(obj):
        return ()
    return tuple(
        claim.grant for claim in claims if claim.grant not in world.ledger(claim.grant.target).holdings
    )


def taken_for_foreign(grants: Iterable[Grant], world: World) -> str:
    """What to tell of those that stood already as they entered it; empty if none did."""
    foreign = [
        str(grant)
        for grant in grants
        if (held := world.ledger(grant.target).holdings.get(grant)) and held.foreign_before
    ]
    if not foreign:
        return ""
    more = f" and {len(foreign) - _NAMED} more" if len(foreign) > _NAMED else ""
    return (
        f"no PolicyLedger says who made {', '.join(sorted(foreign)[:_NAMED])}{more}, because it was lost or "
        "nothing was managed here so far: taken for somebody else's, to stay when this object goes; "
        "spec.existingGrants: Claim makes them its own"
    )
