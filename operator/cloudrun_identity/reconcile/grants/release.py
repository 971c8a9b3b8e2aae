"""Release every grant that an object holds."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from cloudrun_identity.api import ProjectScopedResource, Reason
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.desired_grants import DesiredGrants, Retain
from cloudrun_identity.policy.syncers import PolicySyncers
from cloudrun_identity.reconcile.cluster_state import ledger_owner
from cloudrun_identity.reconcile.outcomes import InSync, Outcome, Waiting, outcome_of_undoing

from .resolver import owns_existing

SUSPENDED_RECHECK = 15.0
"""Seconds until a release in a suspended project is tried again."""

RELEASE_RECHECK = 1.0
"""Seconds until a release that has begun is checked."""


def waits_for_project(grant: Grant) -> str:
    """Return why a grant is not released now."""
    return f"Releasing {grant} waits: project {grant.target.project_id} is suspended"


class Releaser:
    """Release grants through the policy engine, without a worker's slot while it waits."""

    def __init__(
        self, syncers: PolicySyncers, slot_released: Callable[[], AbstractAsyncContextManager[None]]
    ) -> None:
        self._syncers = syncers
        self._slot_released = slot_released

    async def release(self, obj: ProjectScopedResource, *, abandoned: tuple[Retain, ...] = ()) -> Outcome:
        """Release the grants of an object; InSync once it holds none.

        The `abandoned` grants stay in place; the object is only removed from the ledger.
        """
        desired = DesiredGrants(
            ledger_owner(obj),
            abandon=bool(abandoned),
            abandoned=abandoned,
            owns_existing=owns_existing(obj),
            ending=True,
        )
        return await self._release(desired)

    async def release_all(self, owner: Owner, *, abandon: bool, owns_existing: bool) -> Outcome:
        """Release the grants of an object that is known by its name alone, or leave all in place."""
        return await self._release(
            DesiredGrants(owner, abandon=abandon, owns_existing=owns_existing, ending=True)
        )

    async def _release(self, desired: DesiredGrants) -> Outcome:
        owner = desired.owner
        self._syncers.declare(desired)
        async with self._slot_released():
            synced = await self._syncers.sync(owner)
        if synced.halted:
            return Waiting(Reason.DELETING, waits_for_project(synced.halted[0]), after=SUSPENDED_RECHECK)
        if synced.releasing:
            what = str(synced.releasing[0])
            for fault in synced.faults.values():
                return outcome_of_undoing(fault, f"releasing {what}")
            return Waiting(Reason.DELETING, f"Releasing {what}", after=RELEASE_RECHECK)
        return InSync()
