"""Letting go of every grant that an object holds."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from cloudrun_identity.api import ProjectScopedResource, Reason
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.desired_grants import DesiredGrants
from cloudrun_identity.policy.syncers import PolicySyncers
from cloudrun_identity.reconcile.cluster_state import ledger_owner
from cloudrun_identity.reconcile.outcomes import InSync, Outcome, Waiting, outcome_of_undoing

from .resolver import owns_existing

_HALTED = 15.0  # seconds; mostly the deletion of the object waits for the project before it comes this far


def waits_for_project(grant: Grant) -> str:
    """Why a grant is not let go of now."""
    return f"letting go of {grant} waits: project {grant.target.project_id} is suspended"


class Releaser:
    """Releases through the lanes, giving up the worker's slot while it waits."""

    def __init__(
        self, lanes: PolicySyncers, slot_released: Callable[[], AbstractAsyncContextManager[None]]
    ) -> None:
        self._syncers = lanes
        self._slot_released = slot_released

    async def release(self, obj: ProjectScopedResource, *, abandon: bool) -> Outcome:
        """InSync once the object holds nothing: its grants are gone, or with `abandon` left to nobody."""
        return await self.release_all(ledger_owner(obj), abandon=abandon, owns_existing=owns_existing(obj))

    async def release_all(self, holder: Owner, *, abandon: bool, owns_existing: bool) -> Outcome:
        """The same of an object by its name."""
        nothing = DesiredGrants(holder, abandon=abandon, owns_existing=owns_existing, ending=True)
        self._syncers.declare(nothing)
        async with self._slot_released():
            sync_result = await self._syncers.sync(holder)
        if sync_result.halted:
            return Waiting(Reason.DELETING, waits_for_project(sync_result.halted[0]), after=_HALTED)
        if sync_result.releasing:
            for fault in sync_result.faults.values():
                return outcome_of_undoing(fault, f"letting go of {sync_result.releasing[0]}")
            return Waiting(Reason.DELETING, f"letting go of {sync_result.releasing[0]}", after=1.0)
        return InSync()
