"""Events: what happened to an object, for `kubectl describe`; nothing depends on them.

They are core/v1 Events with a count. The newer events.k8s.io form wants MicroTimes and a second object per
series, and shows the same in kubectl.
"""

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from cloudrun_identity.api.schema import legible

from .errors import KubeError
from .resources import EVENTS, Object, Verbs

WINDOW = 600.0  # seconds in which the same event is counted up instead of posted anew
QUEUE_BOUND = 1_000  # events not yet sent; beyond it the newest are dropped
REMEMBERED_BOUND = 4_096  # events that can be counted up
DRAIN_TIMEOUT = 3.0  # seconds that `close` gives to what is still queued
MESSAGE_BOUND = 1_024  # bytes; the API server's own
CLUSTER_SCOPED_NAMESPACE = "default"  # the only one the API server takes for objects without a namespace

_log = logging.getLogger(__name__)


class EventType(StrEnum):
    """The two types that Kubernetes knows."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True)
class _Occurrence:
    """What makes two events the same."""

    uid: str
    type: EventType
    reason: str
    message: str


@dataclass(slots=True)
class _Posted:
    name: str
    namespace: str
    since: float
    count: int = 1


class EventRecorder:
    """Records events in a task of its own, from `start` to `close`; it never raises and never waits."""

    def __init__(
        self,
        client: Verbs,
        *,
        component: str = "cloudrun-identity",
        instance: str = "",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._component = component
        self._instance = instance
        self._now = now
        self._queue: asyncio.Queue[tuple[Object, _Occurrence]] = asyncio.Queue(QUEUE_BOUND)
        self._posted: OrderedDict[_Occurrence, _Posted] = OrderedDict()
        self._sender: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to send, in the running loop."""
        self._sender = asyncio.create_task(self._send_all(), name="event-recorder")

    def record(self, obj: Object, event_type: EventType, reason: str, message: str) -> None:
        """Put an event about the raw object in the queue; `reason` is one CamelCase word."""
        text = legible(message).encode()[:MESSAGE_BOUND].decode(errors="ignore")
        occurrence = _Occurrence(obj["metadata"]["uid"], event_type, reason, text)
        try:
            self._queue.put_nowait((_reference(obj), occurrence))
        except asyncio.QueueFull:
            _log.debug("event dropped, too many wait: %s %s", reason, text)

    async def close(self) -> None:
        """Send what is queued, for a few seconds at most, and stop."""
        if self._sender is None:
            return
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT):
                await self._queue.join()
        except TimeoutError:
            _log.debug("%d events were not sent", self._queue.qsize())
        self._sender.cancel()
        await asyncio.gather(self._sender, return_exceptions=True)
        self._sender = None

    async def _send_all(self) -> None:
        while True:
            reference, occurrence = await self._queue.get()
            try:
                await self._send(reference, occurrence)
            except KubeError as error:  # a terminating namespace, missing rights, an outage: an event is lost
                _log.debug("event not recorded: %s %s: %s", occurrence.reason, occurrence.message, error)
            except Exception:  # one event's bug must not end all that come after it
                _log.exception("event not recorded: %s %s", occurrence.reason, occurrence.message)
            finally:
                self._queue.task_done()

    async def _send(self, reference: Object, occurrence: _Occurrence) -> None:
        posted = self._posted.get(occurrence)
        if posted is None or _monotonic() - posted.since > WINDOW or not await self._count_up(posted):
            self._remember(occurrence, await self._post(reference, occurrence))

    async def _count_up(self, posted: _Posted) -> bool:
        """Count one more of the posted event; False if that one is no longer there."""
        patch = {"count": posted.count + 1, "lastTimestamp": self._timestamp()}
        try:
            await self._client.patch(EVENTS, posted.name, posted.namespace, patch)
        except KubeError as error:
            if error.is_not_found:  # events live an hour, or the namespace was emptied
                return False
            raise
        posted.count += 1
        return True

    async def _post(self, reference: Object, occurrence: _Occurrence) -> _Posted:
        namespace = reference.get("namespace") or CLUSTER_SCOPED_NAMESPACE
        name = f"{reference['name'][:236]}.{secrets.token_hex(8)}"
        now = self._timestamp()
        event = {
            "apiVersion": EVENTS.api_version,
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": reference,
            "type": occurrence.type.value,
            "reason": occurrence.reason,
            "message": occurrence.message,
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "reportingInstance": self._instance,
        }
        await self._client.create(EVENTS, event)
        return _Posted(name, namespace, since=_monotonic())

    def _remember(self, occurrence: _Occurrence, posted: _Posted) -> None:
        self._posted[occurrence] = posted
        self._posted.move_to_end(occurrence)
        if len(self._posted) > REMEMBERED_BOUND:
            self._posted.popitem(last=False)

    def _timestamp(self) -> str:
        return self._now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _reference(obj: Object) -> Object:
    metadata = obj["metadata"]
    reference = {
        "apiVersion": obj["apiVersion"],
        "kind": obj["kind"],
        "name": metadata["name"],
        "namespace": metadata.get("namespace", ""),
        "uid": metadata["uid"],
        "resourceVersion": metadata.get("resourceVersion", ""),
    }
    return {key: value for key, value in reference.items() if value}


def _monotonic() -> float:
    return asyncio.get_running_loop().time()
