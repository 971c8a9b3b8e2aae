"""What the generic reconcile works with."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from cloudrun_identity.controllers.grants.wishes import Judge
from cloudrun_identity.controllers.world import Key, World
from cloudrun_identity.gcp.policy_engine.lanes import Lanes
from cloudrun_identity.kube.resources import Object

from .announcements import Announcer


class Store(World, Protocol):
    """The cache, with the raw objects in it."""

    def raw(self, key: Key) -> Object | None:
        """The object as the API server sent it last."""
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
class Tools:
    """What the reconcile works with. `parked` gives up the worker's slot while a pass waits for a lane."""

    store: Store
    kube: KubePort
    lanes: Lanes
    judge: Judge
    announcer: Announcer
    wall_clock: Callable[[], datetime]
    parked: Callable[[], AbstractAsyncContextManager[None]]
