"""Reconcile any object by its key: parsed once, handed to the reconciler of its kind, within a deadline."""

import asyncio
import contextlib
import logging
from collections.abc import Collection, Mapping
from typing import Protocol

from cloudrun_identity.api import ConditionStatus, ConditionType, Reason, ReconciledResource
from cloudrun_identity.gcp.requests import request_reason
from cloudrun_identity.ledger.owners import Owner

from .cluster_state import ClusterState, ObjectKey, StoredObject
from .deadline import Deadline, DeadlineExceeded
from .dependencies import Dependencies
from .finish import Finisher
from .invalid_objects import InvalidObjects
from .outcomes import Failing, Outcome
from .preconditions import Allowed
from .project_operator import OperatorGate
from .requeue import NoRequeue, Requeue, RequeueAfter

_log = logging.getLogger(__name__)

REPORT_DEADLINE = 30.0
"""Seconds in which the status of a failed reconcile must be written."""


class AnyKindReconciler(Protocol):
    """A `KindReconciler`, whatever its kind."""

    @property
    def model(self) -> type[ReconciledResource]:
        """The pydantic model of the kind."""
        ...

    def references(self, obj: ReconciledResource) -> frozenset[ObjectKey]:
        """Return the objects that this one names."""
        ...

    def declares(self, obj: ReconciledResource) -> str:
        """Return what only one object may declare in Google Cloud; empty if several objects may."""
        ...

    def refuses(self, obj: ReconciledResource, allowed: Allowed, cluster: ClusterState) -> bool:
        """Return whether what the object declares is refused, for example by the guardrails."""
        ...

    async def reconcile(self, stored: StoredObject, *, max_age: float) -> tuple[Requeue, str]:
        """Do what is left to do for an object."""
        ...

    async def fail(self, stored: StoredObject, outcome: Outcome) -> None:
        """Report that a reconcile ended for a reason that is not the object's own."""
        ...

    def is_compared(self, stored: StoredObject) -> bool:
        """Return whether each resync must compare the object itself."""
        ...

    async def differs(self, stored: StoredObject, *, max_age: float) -> bool:
        """Return whether there is something for a reconcile to do."""
        ...


class Reconciler:
    """Dispatch objects to the reconcilers of their kinds."""

    def __init__(
        self,
        kinds: Mapping[str, AnyKindReconciler],
        deps: Dependencies,
        finisher: Finisher,
        deadline: Deadline,
        operators: OperatorGate | None,
    ) -> None:
        """`operators` decides whether this operator acts on an object; None in a dry run: it acts on all."""
        self._kinds = kinds
        self._deps = deps
        self._finisher = finisher
        self._deadline = deadline
        self._operators = operators
        self._invalid = InvalidObjects(deps, finisher)

    async def reconcile(self, key: ObjectKey, *, max_age: float) -> tuple[Requeue, str]:
        """Do what is left to do for one object; return when to reconcile again, and a word for the metrics.

        `max_age` is how old, in seconds, a read may be to give a reason to act; 0 for an edit.
        """
        stored = self._deps.store.stored(key)
        if stored is None:  # its finalizer was removed by a user, or the object is forgotten already
            owner = Owner(key.kind, key.namespace, key.name, uid="")
            if held := self._deps.syncers.held_by(owner):
                _log.warning(
                    "%s was deleted without its finalizer and leaves grants on %s: see status.orphans of the "
                    "ManagedProject",
                    key,
                    ", ".join(sorted(target.full_name for target in held)),
                )
            self._deps.syncers.forget(owner)
            self._finisher.forget(key)
            if self._operators:
                self._operators.forget(key)
            return NoRequeue(), "gone"
        generation = stored.raw["metadata"].get("generation", 0)
        request_reason.set(_request_reason(key, generation))
        try:
            async with self._deadline.limit():
                requeue = await self._operators.admit(key, stored.raw) if self._operators else None
                if requeue is not None:
                    self._retain_all(key, stored)
                    return requeue, "elsewhere"
                stored = self._deps.store.stored(key) or stored  # the claim may have written its status
                if stored.obj is None:
                    return await self._invalid.reconcile(key, stored.raw)
                return await self._kinds[key.kind].reconcile(stored, max_age=max_age)
        except DeadlineExceeded:
            self.retain(key)
            await self._report(key, self._timed_out())
            return RequeueAfter(), "deadline"

    def retain(self, key: ObjectKey) -> None:
        """Retain the grants of an object that cannot be reconciled, without holding up other objects."""
        stored = self._deps.store.stored(key)
        if stored is not None and key.namespace:
            uid = stored.raw["metadata"]["uid"]
            self._deps.syncers.retain(Owner(key.kind, key.namespace, key.name, uid))

    def _retain_all(self, key: ObjectKey, stored: StoredObject) -> None:
        """Retain the grants of an object of another operator, whatever it declared before."""
        if key.namespace:
            uid = stored.raw["metadata"]["uid"]
            self._deps.syncers.retain_all(Owner(key.kind, key.namespace, key.name, uid))

    async def fail(self, key: ObjectKey, outcome: Outcome) -> None:
        """Report in the object's status that its reconcile failed for a reason that is not its own."""
        await self._report(key, outcome)

    def is_compared(self, key: ObjectKey) -> bool:
        """Return whether each resync must compare the object itself, and not only its policies."""
        stored = self._deps.store.stored(key)
        if stored is None:
            return False
        return stored.obj is None or self._kinds[key.kind].is_compared(stored)

    def may_fail_with_project(self, key: ObjectKey) -> bool:
        """Return whether the object fails in a way that may have its cause in the Google Cloud project."""
        stored = self._deps.store.stored(key)
        ready = stored.obj.status.condition(ConditionType.READY) if stored and stored.obj else None
        return ready is not None and ready.status is not ConditionStatus.TRUE and ready.reason in _OF_PROJECT

    async def differs(self, key: ObjectKey, *, max_age: float) -> bool:
        """Return whether a read at most `max_age` seconds old shows something for a reconcile to do.

        Raises DeadlineExceeded.
        """
        stored = self._deps.store.stored(key)
        if stored is None or not self._operates(key, stored):
            return False
        if stored.obj is None:
            return True  # the reconcile reports what is wrong with it
        async with self._deadline.limit():
            return await self._kinds[key.kind].differs(stored, max_age=max_age)

    async def _report(self, key: ObjectKey, outcome: Outcome) -> None:
        stored = self._deps.store.stored(key)
        if stored is None or not self._operates(key, stored):
            return
        if stored.obj is not None:
            # The log has the reason too; the worker must become free.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REPORT_DEADLINE):
                    await self._kinds[key.kind].fail(stored, outcome)

    def _operates(self, key: ObjectKey, stored: StoredObject) -> bool:
        """Return whether this operator acts on an object, as far as the cache shows."""
        return self._operators is None or self._operators.operates(key, stored.raw)

    def _timed_out(self) -> Outcome:
        message = (
            f"The reconcile did not end within {self._deadline.seconds:g} s, because an API did not answer; "
            "it is retried with backoff"
        )
        return Failing(Reason.API_UNAVAILABLE, message)


_OF_PROJECT: Collection[str] = frozenset(
    {
        Reason.PERMISSION_DENIED,
        Reason.DEPENDENCY_NOT_FOUND,
        Reason.API_DISABLED,
        Reason.PERIMETER_VIOLATION,
    }
)
"""Reasons of Ready whose cause may be the state of the project, or what the operator may do in it."""


def _request_reason(key: ObjectKey, generation: int) -> str:
    """Return the object as Google's audit logs show it: `IAMBinding/payments/web@3`."""
    return f"{'/'.join(filter(None, key))}@{generation}"
