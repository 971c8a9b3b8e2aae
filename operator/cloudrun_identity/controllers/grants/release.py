"""Letting go of every grant that an object holds."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from cloudrun_identity.api import ProjectScopedResource, Reason
from cloudrun_identity.controllers.outcomes import InSync, Outcome, Waiting, outcome_of_undoing
from cloudrun_identity.controllers.world import claimant
from cloudrun_identity.gcp.policy_engine.lanes import Lanes
from cloudrun_identity.iam.claims import Claimant, Declaration
from cloudrun_identity.iam.grants import Grant

from .wishes import claims_existing

_HALTED = 15.0  # seconds; mostly the deletion of the object waits for the project before it comes this far


def waits_for_project(grant: Grant) -> str:
    """Why a grant is not let go of now."""
    return f"letting go of {grant} waits: project {grant.target.project_id} is suspended"


class Releaser:
    """Releases through the lanes, giving up the worker's slot while it waits."""

    def __init__(self, lanes: Lanes, parked: Callable[[], AbstractAsyncContextManager[None]]) -> None:
        self._lanes = lanes
        self._parked = parked

    async def release(self, obj: ProjectScopedResource, *, abandon: bool) -> Outcome:
        """InSync once the object holds nothing: its grants are gone, or with `abandon` left to nobody."""
        return await self.release_all(claimant(obj), abandon=abandon, claims_existing=claims_existing(obj))

    async def release_all(self, holder: Claimant, *, abandon: bool, claims_existing: bool) -> Outcome:
        """The same of an object by its name."""
        nothing = Declaration(holder, abandon=abandon, claims_existing=claims_existing, ending=True)
        self._lanes.declare(nothing)
        async with self._parked():
            convergence = await self._lanes.converge(holder)
        if convergence.halted:
            return Waiting(Reason.DELETING, waits_for_project(convergence.halted[0]), after=_HALTED)
        if convergence.releasing:
            for fault in convergence.faults.values():
                return outcome_of_undoing(fault, f"letting go of {convergence.releasing[0]}")
            return Waiting(Reason.DELETING, f"letting go of {convergence.releasing[0]}", after=1.0)
        return InSync()
