"""The end of an object: what was done for it is undone before it may go."""

from typing import Any

from cloudrun_identity.api import FINALIZER, ProjectScopedResource, Reason, ReconciledResource
from cloudrun_identity.controllers.gate import (
    DELETION_WAITS,
    halted_elsewhere,
    is_suspended,
    observes,
    project_of,
    suspended_by,
)
from cloudrun_identity.controllers.outcomes import InSync, Outcome, Paused, outcome_of_undoing
from cloudrun_identity.controllers.world import Key, claimant
from cloudrun_identity.gcp.errors import GoogleError
from cloudrun_identity.kube.resources import Object

from .conclusion import Conclusion
from .controller import Controller
from .following import Next, Rest
from .report import Report, nothing_unresolved, what
from .tools import Tools


class Finalization:
    """Undoes what was done for objects that are being deleted, as far as brakes allow it now."""

    def __init__(self, tools: Tools, conclusion: Conclusion) -> None:
        self._tools = tools
        self._conclusion = conclusion

    async def finalize(
        self, controller: Controller[Any, Any, Any], obj: ReconciledResource, raw: Object
    ) -> tuple[Next, str]:
        """One step of it; the object goes once nothing is left to undo."""
        lanes = self._tools.lanes
        if FINALIZER not in obj.metadata.finalizers:
            lanes.forget(claimant(obj))
            return Rest(), "gone"
        leaving = await self._tools.kube.kind_is_leaving(obj.kind)
        outcome = self._braked(obj)
        if outcome is None or leaving:  # a kind that is uninstalled waits for no brake: nothing is undone
            outcome = await self._undo(controller, obj, leaving=leaving)
        if not isinstance(outcome, InSync):
            report = Report(outcome, unresolved=nothing_unresolved(obj))
            return await self._conclusion.conclude(obj, raw, report)
        lanes.forget(claimant(obj))
        self._conclusion.forget(Key.of(obj))
        await self._tools.kube.remove_finalizer(raw)
        return Rest(), "deleted"

    def _braked(self, obj: ReconciledResource) -> Outcome | None:
        """Why nothing may be undone now: by its own brake, its project's, or that of another one."""
        lanes, store = self._tools.lanes, self._tools.store
        project = project_of(obj, store)
        if is_suspended(obj, project):
            lanes.freeze(claimant(obj))
            return Paused(Reason.SUSPENDED, f"{suspended_by(obj, project)}: {DELETION_WAITS}")
        lanes.hold(claimant(obj))
        return halted_elsewhere(lanes.held_by(claimant(obj)), store)

    async def _undo(
        self, controller: Controller[Any, Any, Any], obj: ReconciledResource, *, leaving: bool
    ) -> Outcome:
        store = self._tools.store
        # Nothing is ever undone for a project; and the brake that it is holds until the last of its objects
        # has gone.
        braked = isinstance(obj, ProjectScopedResource) and observes(obj, project_of(obj, store))
        if not leaving:
            self._tools.lanes.check_complete()
        try:
            return await controller.delete(obj, store, abandon=braked or leaving)
        except GoogleError as error:
            return outcome_of_undoing(error, what(obj))
