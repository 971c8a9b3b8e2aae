"""Records Events about objects, for `kubectl describe`, and writes them to the log.

The operator never reads them. The API server deletes them after an hour; the log keeps them.

Events are core/v1 Events with a count. The newer events.k8s.io API requires MicroTimes and a second object
per series, and kubectl shows the same.
"""

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from cloudrun_identity.api.schema import legible

from .errors import KubeError
from .resources import EVENTS, Object, ObjectClient

AGGREGATION_WINDOW = 600.0
"""Seconds during which an equal event increases the count of the first one."""

QUEUE_SIZE = 1_000
"""Maximum number of events that wait to be sent. Further events are dropped."""

BURST = 1_000
"""Normal events with limited reasons that are sent at once."""

PER_SECOND = 10.0
"""Normal events with limited reasons per second after the burst. While thousands of objects become Ready,
their events would be a third of all requests, and a load for the API server that no user needs."""

CACHE_SIZE = 1_024
"""Maximum number of sent events whose count can be increased. Each takes 600 bytes."""

DRAIN_TIMEOUT = 3.0
"""Seconds that `close` waits for queued events."""

MESSAGE_SIZE = 1_024
"""Maximum bytes of a message. This is the limit of the API server."""

CLUSTER_SCOPED_NAMESPACE = "default"
"""Namespace of Events about cluster-scoped objects. The API server accepts no other."""

TERMINATING = "because it is being terminated"
"""Part of the message with which the API server refuses to create an object in a terminating namespace."""

_log = logging.getLogger(__name__)


class EventType(StrEnum):
    """Event types of Kubernetes."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True)
class _EventKey:
    """Events with equal keys are counted up instead of sent again."""

    uid: str
    type: EventType
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class _Queued:
    """An event that waits to be sent."""

    reference: Object
    """Reference to the object."""
    key: _EventKey
    """Content of the event."""
    stand_in: Object | None = None
    """Reference to the object of the event if the namespace of the object accepts no events any more."""


@dataclass(slots=True)
class _SentEvent:
    name: str
    namespace: str
    since: float
    count: int = 1


@dataclass(slots=True)
class _Budget:
    """Tokens for Normal events with limited reasons."""

    tokens: float = BURST
    filled_at: float = 0.0

    def take(self) -> bool:
        """Return whether an event may be sent."""
        now = _monotonic()
        gained = (now - self.filled_at) * PER_SECOND
        self.tokens, self.filled_at = min(BURST, self.tokens + gained), now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class EventRecorder:
    """Queues events and sends them in a background task, from `start` to `close`."""

    def __init__(
        self,
        client: ObjectClient,
        *,
        component: str = "cloudrun-identity",
        instance: str = "",
        limited: Collection[str] = (),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Normal events whose reason is in `limited` are dropped while too many are sent."""
        self._client = client
        self._component = component
        self._instance = instance
        self._now = now
        self._stand_in: Callable[[Object], Object | None] = lambda _: None
        self._queue: asyncio.Queue[_Queued] = asyncio.Queue(QUEUE_SIZE)
        self._sent: OrderedDict[_EventKey, _SentEvent] = OrderedDict()
        self._sender: asyncio.Task[None] | None = None
        self._limited = limited
        self._budget = _Budget()

    def use_stand_ins(self, stand_in: Callable[[Object], Object | None]) -> None:
        """Record events about `stand_in(obj)` where the namespace of an object is terminating or deleted.

        The API server accepts no new event in such a namespace, and only there an event about the object.
        """
        self._stand_in = stand_in

    def start(self) -> None:
        """Start the background task in the running event loop."""
        self._sender = asyncio.create_task(self._send_all(), name="event-recorder")

    def record(self, obj: Object, event_type: EventType, reason: str, message: str) -> None:
        """Log and queue an event about the raw object, without waiting. `reason` is one CamelCase word.

        It is dropped while too many wait, and if it is a limited one, also while too many are sent.
        """
        legible_message = legible(message)
        _log.log(_LEVELS[event_type], "%s: %s: %s", _name(obj), reason, legible_message)
        if event_type is EventType.NORMAL and reason in self._limited and not self._budget.take():
            _log.debug("event dropped, too many are sent: %s", reason)
            return
        text = legible_message.encode()[:MESSAGE_SIZE].decode(errors="ignore")
        key = _EventKey(obj["metadata"]["uid"], event_type, reason, text)
        other = self._stand_in(obj)
        queued = _Queued(_reference(obj), key, _reference(other) if other else None)
        try:
            self._queue.put_nowait(queued)
        except asyncio.QueueFull:
            _log.debug("event dropped, the queue is full: %s %s", reason, text)

    async def close(self) -> None:
        """Send the queued events, for at most `DRAIN_TIMEOUT` seconds, and stop the background task."""
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
            queued = await self._queue.get()
            key = queued.key
            try:
                await self._send_or_stand_in(queued)
            except KubeError as error:  # such as missing permissions
                _log.debug("event not recorded: %s %s: %s", key.reason, key.message, error)
            except Exception:  # an unexpected error must not end the task
                _log.exception("event not recorded: %s %s", key.reason, key.message)
            finally:
                self._queue.task_done()

    async def _send_or_stand_in(self, queued: _Queued) -> None:
        try:
            await self._send(queued.reference, queued.key)
        except KubeError as error:
            is_closed = error.is_not_found or (error.is_forbidden and TERMINATING in error.message)
            if queued.stand_in is None or not is_closed:
                raise
            await self._send(queued.stand_in, _about(queued.reference, queued.stand_in, queued.key))

    async def _send(self, reference: Object, key: _EventKey) -> None:
        sent = self._sent.get(key)
        if sent is None or _monotonic() - sent.since > AGGREGATION_WINDOW or not await self._count_up(sent):
            self._cache(key, await self._post(reference, key))

    async def _count_up(self, sent: _SentEvent) -> bool:
        """Increase the count of a sent event. Return False if that event no longer exists."""
        patch = {"count": sent.count + 1, "lastTimestamp": self._timestamp()}
        try:
            await self._client.patch(EVENTS, sent.name, sent.namespace, patch)
        except KubeError as error:
            if error.is_not_found:  # the API server deletes Events after an hour
                return False
            raise
        sent.count += 1
        return True

    async def _post(self, reference: Object, key: _EventKey) -> _SentEvent:
        namespace = reference.get("namespace") or CLUSTER_SCOPED_NAMESPACE
        name = f"{reference['name'][:236]}.{secrets.token_hex(8)}"
        now = self._timestamp()
        event = {
            "apiVersion": EVENTS.api_version,
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": reference,
            "type": key.type.value,
            "reason": key.reason,
            "message": key.message,
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "reportingInstance": self._instance,
        }
        await self._client.create(EVENTS, event)
        return _SentEvent(name, namespace, since=_monotonic())

    def _cache(self, key: _EventKey, sent: _SentEvent) -> None:
        self._sent[key] = sent
        self._sent.move_to_end(key)
        if len(self._sent) > CACHE_SIZE:
            self._sent.popitem(last=False)

    def _timestamp(self) -> str:
        return self._now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _about(reference: Object, stand_in: Object, key: _EventKey) -> _EventKey:
    """Return the content of an event about another object, which names the object that it is about."""
    name = f"{reference['kind']} {reference.get('namespace', '')}/{reference['name']}"
    message = f"{name}: {key.message}".encode()[:MESSAGE_SIZE].decode(errors="ignore")
    return replace(key, uid=stand_in["uid"], message=message)


def _name(obj: Object) -> str:
    """Return the object as the log names it, such as `IAMBinding payments/web`."""
    metadata = obj["metadata"]
    return f"{obj['kind']} {'/'.join(filter(None, (metadata.get('namespace'), metadata['name'])))}"


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
    return {name: value for name, value in reference.items() if value}


def _monotonic() -> float:
    return asyncio.get_running_loop().time()


_LEVELS = {EventType.NORMAL: logging.INFO, EventType.WARNING: logging.WARNING}
