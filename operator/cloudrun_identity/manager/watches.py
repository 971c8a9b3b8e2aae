"""The interface between the process and the watches, which kopf runs (`handlers`)."""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Protocol

from cloudrun_identity.kube.connection import ClusterAccess
from cloudrun_identity.kube.resources import Object, Resource


class WatchLost(Exception):
    """A watch ended or delivers nothing. The message is one line."""


class Progress(Enum):
    """A report of a watch beside the changes of objects."""

    CURRENT = auto()
    """A bookmark: the watch has delivered every change so far."""
    LISTED = auto()
    """All objects were listed and delivered again, because the version to continue from had expired. What was
    deleted before was not delivered."""
    RESUMED = auto()
    """The watch delivers again after its connection was lost. If the API server was restored from a backup
    meanwhile, the first changes after it may not have been delivered."""


class EventSink(Protocol):
    """The receiver of watch events: `manager.leadership.MonitoredSink`."""

    def observe(self, raw: Object, *, deleted: bool) -> None:
        """Take in a new version of an object, or its deletion."""
        ...

    def observe_namespace(self, raw: Object, *, deleted: bool) -> None:
        """Take in a new version of a namespace, or its deletion."""
        ...

    def observe_progress(self, resource: Resource, progress: Progress) -> None:
        """Take in the progress of the watch of a resource. All events before it were taken in."""
        ...

    def observe_lease(self, raw: Object) -> None:
        """Take in a new version of the operator's Lease."""
        ...


class Connector(Protocol):
    """Access to the API server: `kube.client.KubeClient`."""

    async def access(self) -> ClusterAccess:
        """Return the connection with a current token."""
        ...


class Watches(Protocol):
    """Watches that run until `end`."""

    async def wait(self) -> None:
        """Wait until a watch is lost. Raises WatchLost."""
        ...

    def request_end(self) -> None:
        """Deliver no more events, and end soon. Returns at once."""
        ...

    async def end(self) -> None:
        """Deliver no more events, and wait for the end. Raises WatchesStuck if there is none in time."""
        ...


class Watch(Protocol):
    """Starts the watches: `handlers.watch`."""

    def __call__(
        self, sink: EventSink, connector: Connector, since: Mapping[Resource, str], lease_namespace: str, /
    ) -> Watches:
        """Watch each resource after its version, and the operator's Lease in `lease_namespace`."""
        ...
