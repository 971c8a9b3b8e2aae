"""Claims projects for this operator before its first write for them, and keeps off those of another one."""

import logging
from collections.abc import Callable
from typing import Final, Protocol, assert_never

from cloudrun_identity.api import ManagedProject, ProjectOperator
from cloudrun_identity.kube.lease_observer import LeaseObserver
from cloudrun_identity.kube.resources import Object
from cloudrun_identity.ledger.store import Ledgers
from cloudrun_identity.reconcile.cluster_state import ObjectKey, StoredObject, project_key
from cloudrun_identity.reconcile.dependencies import KubePort
from cloudrun_identity.reconcile.invalid_objects import project_id_said_by, project_named_by
from cloudrun_identity.reconcile.project_operator import (
    Claims,
    Decision,
    OperatedElsewhere,
    Operates,
    decide,
    operator_of,
    recorded_operator,
)
from cloudrun_identity.reconcile.requeue import NoRequeue, Requeue, RequeueAfter

RECHECK_INTERVAL: Final = 5.0
"""Seconds between two looks at a project of another operator."""

ABANDONED_BY_OPERATOR: Final = "OperatorEnded"
"""Reason of the Event for a project that this operator cannot take over after the other one ended."""

_log = logging.getLogger(__name__)


class Objects(Protocol):
    """The cache of objects, as far as projects need it: `manager.cache.Cache`."""

    def stored(self, key: ObjectKey) -> StoredObject | None:
        """Return the object as last seen; None if it does not exist."""
        ...

    def absorb(self, raw: Object) -> None:
        """Store the reply of a write of the operator."""
        ...

    def drop(self, raw: Object) -> None:
        """Remove an object that a write found deleted."""
        ...


class ProjectOperators:
    """The operators of all projects. Implements `reconcile.project_operator.OperatorGate`."""

    def __init__(
        self,
        own: ProjectOperator,
        *,
        objects: Objects,
        ledgers: Ledgers,
        leases: LeaseObserver,
        kube: KubePort,
        warn: Callable[[Object, str, str], None],
        count: Callable[[int], None],
    ) -> None:
        """`own` is this operator. `warn` records an Event, and `count` receives the projects of others."""
        self._own = own
        self._objects = objects
        self._ledgers = ledgers
        self._leases = leases
        self._kube = kube
        self._warn = warn
        self._count = count
        self._elsewhere: dict[str, OperatedElsewhere] = {}
        self._logged: set[tuple[ProjectOperator, bool]] = set()
        count(0)  # of a manager before this one

    async def admit(self, key: ObjectKey, raw: Object) -> Requeue | None:
        """Return None if this operator acts on the object, otherwise when to ask again."""
        project = self._project_of(key, raw)
        if project is None:
            return RequeueAfter(RECHECK_INTERVAL) if self._is_recorded_elsewhere(key) else None
        known = self._elsewhere.get(project["metadata"]["name"])
        if key.namespace and known and recorded_operator(project) in (None, known.by):
            return NoRequeue()  # the reconciles of the ManagedProject decide again
        decision = await self._decide(project)
        match decision:
            case Operates():
                self._note(project, None)
                return None
            case Claims(predecessor=predecessor):
                if await self._claim(project, predecessor):
                    self._note(project, None)
                    return None
                return RequeueAfter(RECHECK_INTERVAL)
            case OperatedElsewhere():
                self._note(project, decision)
                # A takeover changes the status of the project, which wakes the objects that refer to it.
                return NoRequeue() if key.namespace else RequeueAfter(RECHECK_INTERVAL)
            case _:
                assert_never(decision)

    def operates(self, key: ObjectKey, raw: Object) -> bool:
        """Return whether this operator acts on the object, as far as the cache shows."""
        project = self._project_of(key, raw)
        if project is None:
            return not self._is_recorded_elsewhere(key)
        return recorded_operator(project) == self._own

    def forget(self, key: ObjectKey) -> None:
        """Drop what is remembered of a deleted ManagedProject."""
        if key.kind == ManagedProject.__name__ and key.name in self._elsewhere:
            del self._elsewhere[key.name]
            self._count(len(self._elsewhere))

    async def _decide(self, project: Object) -> Decision:
        recorded = recorded_operator(project)
        if recorded == self._own:
            return Operates()
        ledgers = self._ledgers.of_project(project_id_said_by(project))
        other = operator_of(self._own, recorded, ledgers)
        lease = None if other == self._own else await self._leases.observe(other.namespace, other.lease)
        return decide(self._own, recorded, ledgers, lease)

    async def _claim(self, project: Object, predecessor: ProjectOperator | None) -> bool:
        """Write this operator into the status. The resourceVersion decides between two operators."""
        name, status = project["metadata"]["name"], project.get("status") or {}
        stored = await self._kube.write_status(project, {**status, "operator": self._own.to_dict()})
        if stored is None:
            self._objects.drop(project)
            return False
        self._objects.absorb(stored)
        if recorded_operator(stored) != self._own:
            return False
        if predecessor is not None:
            _log.warning(
                "took over ManagedProject %s from the operator in namespace %s, which no longer renews Lease "
                "%s/%s",
                name,
                predecessor.namespace,
                predecessor.namespace,
                predecessor.lease,
            )
        return True

    def _note(self, project: Object, elsewhere: OperatedElsewhere | None) -> None:
        """Report a project that changes hands: one line per other operator, and the number of projects."""
        name = project["metadata"]["name"]
        before = self._elsewhere.get(name)
        if elsewhere is None:
            self._elsewhere.pop(name, None)
        else:
            self._elsewhere[name] = elsewhere
        if (before is None) != (elsewhere is None):
            self._count(len(self._elsewhere))
        if elsewhere is None or (before and before.at_work == elsewhere.at_work):
            return
        if not elsewhere.at_work:
            self._warn(project, ABANDONED_BY_OPERATOR, _sentence(elsewhere.message))
        if (line := (elsewhere.by, elsewhere.at_work)) not in self._logged:
            self._logged.add(line)
            _log.warning(
                "this operator acts on no object of ManagedProject %s, nor of others whose status.operator "
                "is the same: %s",
                name,
                elsewhere.message,
            )

    def _project_of(self, key: ObjectKey, raw: Object) -> Object | None:
        """Return the ManagedProject of an object as last seen, valid or not."""
        name = key.name if key.kind == ManagedProject.__name__ else project_named_by(raw)
        stored = self._objects.stored(project_key(name))
        return stored.raw if stored else None

    def _is_recorded_elsewhere(self, key: ObjectKey) -> bool:
        """Return whether only ledgers of another operator record an object of a deleted project."""
        return bool(key.namespace) and self._ledgers.only_elsewhere("/".join(key))


def _sentence(message: str) -> str:
    return message[0].upper() + message[1:]
