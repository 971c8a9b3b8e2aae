"""Interfaces to the parts that the reconciler depends on."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from cloudrun_identity.kube.resources import Object
from cloudrun_identity.policy.syncers import PolicySyncers

from .change_log import Causes, NoCauses
from .cluster_state import ClusterState, ObjectKey, StoredObject
from .events import EventReporter
from .grants.resolver import GrantResolver


class ObjectStore(ClusterState, Protocol):
    """The cache: the state of the cluster, with the objects themselves."""

    def stored(self, key: ObjectKey) -> StoredObject | None:
        """Return the object as last seen; None if it does not exist."""
        ...

    def absorb(self, raw: Object) -> None:
        """Store the reply of a write of the operator."""
        ...

    def drop(self, raw: Object) -> None:
        """Remove an object that a write found deleted."""
        ...


class KubePort(Protocol):
    """Writes of a reconcile to Kubernetes."""

    async def add_finalizer(self, raw: Object) -> Object | None:
        """Add the finalizer; return the object, or None if it is deleted."""
        ...

    async def remove_finalizer(self, raw: Object) -> None:
        """Remove the finalizer, so that Kubernetes deletes the object."""
        ...

    async def write_status(self, raw: Object, status: Object) -> Object | None:
        """Write the status; return the object, the newest one after a conflict, or None if it is deleted."""
        ...

    async def is_uninstalled(self, kind: str) -> bool:
        """Return whether the CRD itself is being deleted, which is no reason to delete cloud resources."""
        ...


@dataclass(frozen=True, slots=True)
class Dependencies:
    """Parts that the reconciler depends on."""

    store: ObjectStore
    kube: KubePort
    syncers: PolicySyncers
    resolver: GrantResolver
    event_reporter: EventReporter
    wall_clock: Callable[[], datetime]
    """Return the time, in UTC."""
    causes: Causes = field(default_factory=NoCauses)
    """Calls that caused differences, as the change feed reported them."""
