"""The interface between the process and the watches, which kopf runs (`handlers`)."""

from collections.abc import Iterable
from typing import Protocol

from cloudrun_identity.kube.connection import ClusterAccess
from cloudrun_identity.kube.resources import Object


class WatchLost(Exception):
    """A watch ended or delivers nothing. The message is one line."""


class EventSink(Protocol):
    """The receiver of watch events: `manager.leadership.MonitoredSink`."""

    def observe(self, raw: Object, *, deleted: bool) -> None:
        """Take in a new version of an object, or its deletion."""
        ...

    def observe_namespace(self, raw: Object, *, deleted: bool) -> None:
        """Take in a new version of a namespace, or its deletion."""
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
        self, sink: EventSink, connector: Connector, kinds: Iterable[str], lease_namespace: str, /
    ) -> Watches:
        """Watch the named kinds, all namespaces, and the operator's Lease in `lease_namespace`."""
        ...
