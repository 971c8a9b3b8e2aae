"""The end of an object: what was done for it is undone before it may go."""

from typing import Any

from cloudrun_identity.api import FINALIZER, ProjectScopedResource, Reason, ReconciledResource
from cloudrun_identity.gcp.errors import GoogleError
from cloudrun_identity.kube.resources import Object

from .cluster_state import ObjectKey, ledger_owner
from .dependencies import Dependencies
from .finish import Finisher
from .interfaces import Controller
from .outcomes import InSync, Outcome, Paused, outcome_of_undoing
from .preconditions import DELETION_WAITS, halted_elsewhere, is_suspended, observes, project_of, suspended_by
from .requeue import Requeue, Rest
from .status import Report, nothing_unresolved, what


class Finalization:
    """Undoes what was done for objects that are being deleted, as far as brakes allow it now."""

    def __init__(self, deps: Dependencies, finisher: Finisher) -> None:
        self._deps = deps
        self._finisher = finisher

    async def finalize(
        self, controller: Controller[Any, Any, Any], obj: ReconciledResource, raw: Object
    ) -> tuple[Requeue, str]:
        """One step of it; the object goes once nothing is left to undo."""
        syncers = self._deps.syncers
        if FINALIZER not in obj.metadata.finalizers:
            syncers.forget(ledger_owner(obj))
            return Rest(), "gone"
        leaving = await self._deps.kube.kind_is_leaving(obj.kind)
        outcome = self._braked(obj)
        if outcome is None or leaving:  # a kind that is uninstalled waits for no brake: nothing is undone
            outcome = await self._undo(controller, obj, leaving=leaving)
        if not isinstance(outcome, InSync):
            report = Report(outcome, unresolved=nothing_unresolved(obj))
            return await self._finisher.finish(obj, raw, report)
        syncers.forget(ledger_owner(obj))
        self._finisher.forget(ObjectKey.of(obj))
        await self._deps.kube.remove_finalizer(raw)
        return Rest(), "deleted"

    def _braked(self, obj: ReconciledResource) -> Outcome | None:
        """Why nothing may be undone now: by its own brake, its project's, or that of another one."""
        syncers, store = self._deps.syncers, self._deps.store
        project = project_of(obj, store)
        if is_suspended(obj, project):
            syncers.retain_all(ledger_owner(obj))
            return Paused(Reason.SUSPENDED, f"{suspended_by(obj, project)}: {DELETION_WAITS}")
        syncers.retain(ledger_owner(obj))
        return halted_elsewhere(syncers.held_by(ledger_owner(obj)), store)

    async def _undo(
        self, controller: Controller[Any, Any, Any], obj: ReconciledResource, *, leaving: bool
    ) -> Outcome:
        store = self._deps.store
        # Nothing is ever undone for a project; and the brake that it is holds until the last of its objects
        # has gone.
        braked = isinstance(obj, ProjectScopedResource) and observes(obj, project_of(obj, store))
        if not leaving:
            self._deps.syncers.check_complete()
        try:
            return await controller.delete(obj, store, abandon=braked or leaving)
        except GoogleError as error:
            return outcome_of_undoing(error, what(obj))
