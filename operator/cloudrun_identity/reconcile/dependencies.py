"""What the generic reconcile works with."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from cloudrun_identity.kube.resources import Object
from cloudrun_identity.policy.syncers import PolicySyncers

from .cluster_state import ClusterState, ObjectKey, StoredObject
from .events import EventReporter
from .grants.resolver import GrantResolver


class ObjectStore(ClusterState, Protocol):
    """The cache, with the raw objects in it."""

    def stored(self, key: ObjectKey) -> StoredObject | None:
        """Return the object as last seen; None if it does not exist."""
        ...

    def absorb(self, raw: Object) -> None:
        """Take in the reply of a write of ours."""
        ...

    def drop(self, raw: Object) -> None:
        """Forget an object that a write of ours found gone."""
        ...


class KubePort(Protocol):
    """What a pass writes to Kubernetes."""

    async def add_finalizer(self, raw: Object) -> Object | None:
        """The object with our finalizer; None if it is gone."""
        ...

    async def remove_finalizer(self, raw: Object) -> None:
        """Let the object go."""
        ...

    async def write_status(self, raw: Object, status: Object) -> Object | None:
        """The object with the status; the newest one where it moved on; None if it is gone."""
        ...

    async def kind_is_leaving(self, kind: str) -> bool:
        """Whether the kind itself is being uninstalled: no reason to delete anything in the cloud."""
        ...


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What the reconcile works with. `parked` gives up the worker's slot while a pass waits for a lane."""

    store: ObjectStore
    kube: KubePort
    syncers: PolicySyncers
    resolver: GrantResolver
    event_reporter: EventReporter
    wall_clock: Callable[[], datetime]
    slot_released: Callable[[], AbstractAsyncContextManager[None]]
