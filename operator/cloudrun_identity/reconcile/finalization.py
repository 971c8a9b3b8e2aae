"""Undo what was done for a deleted object, and remove its finalizer once nothing is left."""

from functools import partial
from typing import Generic

from cloudrun_identity.api import FINALIZER, ProjectScopedResource, Reason
from cloudrun_identity.gcp.errors import GoogleError
from cloudrun_identity.kube.resources import Object
from cloudrun_identity.policy.desired_grants import RETAIN_ALL

from .cluster_state import ObjectKey, ledger_owner
from .dependencies import Dependencies
from .executor import Executor
from .expirations import release_over
from .finish import Finisher
from .grants.release import Releaser
from .interfaces import A, ExternalResource, GrantSource, Obj, Seen, Want
from .outcomes import InSync, Outcome, Paused, ledger_invalid, outcome_of_undoing
from .preconditions import (
    DELETION_WAITS,
    halted_elsewhere,
    is_suspended,
    observes,
    project_of,
    suspended_by,
)
from .progress import carry_out
from .refusals import with_remedy
from .requeue import NoRequeue, Requeue
from .status import Report, nothing_unresolved, what


class Finalizer(Generic[Obj, Want, Seen, A]):
    """Finalize the objects of one kind."""

    def __init__(
        self,
        deps: Dependencies,
        executor: Executor,
        finisher: Finisher,
        releaser: Releaser,
        *,
        resource: ExternalResource[Obj, Want, Seen, A] | None,
        grants: GrantSource[Obj, Want] | None,
    ) -> None:
        """`resource` and `grants` are the kind, where it implements these interfaces."""
        self._deps = deps
        self._executor = executor
        self._finisher = finisher
        self._releaser = releaser
        self._resource = resource
        self._grants = grants

    async def finalize(self, obj: Obj, raw: Object, *, is_removed: bool = False) -> tuple[Requeue, str]:
        """Undo what was done for a deleted object, and remove its finalizer once nothing is left.

        `is_removed` is True if the API server has already removed the object.
        """
        try:
            return await self._finalize(obj, raw, is_removed=is_removed)
        finally:
            self._deps.syncers.end_upcoming_release(ledger_owner(obj))

    async def _finalize(self, obj: Obj, raw: Object, *, is_removed: bool) -> tuple[Requeue, str]:
        syncers, owner = self._deps.syncers, ledger_owner(obj)
        if FINALIZER not in obj.metadata.finalizers:
            syncers.forget(owner)
            return NoRequeue(), "gone"
        uninstalled = await self._deps.kube.is_uninstalled(obj.kind)
        outcome = self._held_up(obj)
        if outcome is not None and isinstance(obj, ProjectScopedResource):
            await release_over(self._deps, obj)
        if outcome is None or uninstalled:  # an uninstalled kind is not held up: nothing is undone for it
            outcome = await self._undo(obj, uninstalled=uninstalled)
        if not isinstance(outcome, InSync):
            shown, _ = with_remedy(outcome)
            report = Report(shown, unresolved=nothing_unresolved(obj))
            return await self._finisher.finish(obj, raw, report)
        syncers.forget(owner)
        self._finisher.forget(ObjectKey.of(obj))
        if is_removed:
            self._deps.store.drop(raw)
        else:
            await self._deps.kube.remove_finalizer(self._finisher.newest(obj, raw))
        return NoRequeue(), "deleted"

    def _held_up(self, obj: Obj) -> Outcome | None:
        """Return why nothing may be undone now: a suspended object or project, or an invalid ledger."""
        syncers, store, owner = self._deps.syncers, self._deps.store, ledger_owner(obj)
        project = project_of(obj, store)
        if is_suspended(obj, project):
            syncers.retain_all(owner)
            return Paused(Reason.SUSPENDED, f"{suspended_by(obj, project)}: {DELETION_WAITS}")
        syncers.retain(owner)
        if invalid := store.invalid_ledger_of(owner.owner_key):
            return ledger_invalid(invalid)
        return halted_elsewhere(syncers.held_by(owner), store)

    async def _undo(self, obj: Obj, *, uninstalled: bool) -> Outcome:
        store = self._deps.store
        # A ManagedProject has nothing to undo, and what it suspends stays suspended until it is deleted.
        observed = isinstance(obj, ProjectScopedResource) and observes(obj, project_of(obj, store))
        if not uninstalled:
            self._deps.syncers.check_complete()
        abandon = observed or uninstalled  # whatever the object says: nothing is written for it
        release = partial(self.release, obj, leave_all=abandon)
        try:
            if self._resource is None:
                return await release()
            want = self._resource.resolve_deletion(obj, store, abandon=abandon)
            if want is None:
                return await release()
            seen = await self._resource.observe(want, 0.0)
            progress = await carry_out(
                self._resource, self._executor, obj, want, seen, release=release, now=self._deps.wall_clock
            )
            return progress.outcome
        except GoogleError as error:
            return outcome_of_undoing(error, what(obj))

    async def release(
        self, obj: Obj, *, abandon: bool = False, leave_all: bool = False, ends: str = ""
    ) -> Outcome:
        """Release the grants of the object.

        `abandon`, as the deletion policy, leaves those that the spec declares now. `leave_all` leaves all.
        The account of the member `ends` is deleted next.
        """
        if self._grants is None or not isinstance(obj, ProjectScopedResource):
            return InSync()
        if leave_all:
            return await self._releaser.release(obj, declared=(RETAIN_ALL,), abandon=True)
        declared = self._grants.declared_grants(obj, self._deps.store)
        return await self._releaser.release(
            obj, declared=declared, abandon=abandon or self._grants.abandons(obj), ends=ends
        )
