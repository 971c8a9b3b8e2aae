"""The messages of one subscription: leases, redelivery and retention.

Delivery is at least once, in no order (https://cloud.google.com/pubsub/docs/subscriber). A message whose
acknowledgment deadline passes is delivered again, with another acknowledgment ID
(https://cloud.google.com/pubsub/docs/lease-management). An acknowledgment after the deadline counts if the
message was not delivered again (`Subscriber.Acknowledge` in google/pubsub/v1/pubsub.proto).
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

_POLL_SECONDS = 0.1
"""Time between two checks of a waiting pull for expired leases."""


@dataclass(frozen=True, slots=True)
class Message:
    """A published message."""

    id: str
    """ID of the message, unique in the topic."""
    data: bytes
    """Payload."""
    attributes: Mapping[str, str]
    """Attributes."""
    published_at: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that was delivered, with the ID that acknowledges it."""

    ack_id: str
    message: Message


@dataclass(slots=True)
class _Lease:
    message: Message
    deadline: float


class Subscription:
    """The queue of a subscription. `clock` returns seconds since the epoch."""

    def __init__(self, clock: Callable[[], float], ack_seconds: float, retention: float) -> None:
        self.ack_seconds = ack_seconds
        """Acknowledgment deadline of a delivered message, in seconds."""
        self.retention = retention
        """Time for which a message is kept, in seconds."""
        self._clock = clock
        self._waiting: deque[Message] = deque()
        self._leases: dict[str, _Lease] = {}
        self._waiters: set[asyncio.Event] = set()

    def __len__(self) -> int:
        """Return the number of messages that are not acknowledged."""
        return len(self._waiting) + len(self._leases)

    @property
    def has_waiters(self) -> bool:
        """True if a pull waits for a message."""
        return bool(self._waiters)

    @property
    def leased(self) -> int:
        """Number of messages that are delivered and not acknowledged."""
        return len(self._leases)

    def add(self, messages: Iterable[Message]) -> None:
        """Add published messages."""
        self._waiting.extend(messages)
        self._notify()

    def take(self, count: int, ack_seconds: float | None = None) -> Sequence[Delivery]:
        """Deliver up to `count` messages."""
        now = self._clock()
        self._return_expired(now)
        while self._waiting and self._waiting[0].published_at + self.retention < now:
            self._waiting.popleft()
        deadline = now + (self.ack_seconds if ack_seconds is None else ack_seconds)
        taken: list[Delivery] = []
        while self._waiting and len(taken) < count:
            message = self._waiting.popleft()
            delivery = Delivery(f"{message.id}-{secrets.token_urlsafe(12)}", message)
            self._leases[delivery.ack_id] = _Lease(message, deadline)
            taken.append(delivery)
        return taken

    async def wait(self) -> None:
        """Return when a message may have become available, and otherwise after a short time."""
        arrived = asyncio.Event()
        self._waiters.add(arrived)
        try:
            await asyncio.wait_for(arrived.wait(), _POLL_SECONDS)
        except TimeoutError:
            return
        finally:
            self._waiters.discard(arrived)

    def acknowledge(self, ack_ids: Iterable[str]) -> None:
        """Remove delivered messages. IDs that are not valid any more are ignored, as by Google."""
        for ack_id in ack_ids:
            self._leases.pop(ack_id, None)

    def extend(self, ack_ids: Iterable[str], seconds: float) -> None:
        """Set new deadlines from now on; 0 seconds makes messages available again."""
        for ack_id in ack_ids:
            lease = self._leases.get(ack_id)
            if lease is None:
                continue
            if seconds:
                lease.deadline = self._clock() + seconds
            else:
                del self._leases[ack_id]
                self._waiting.append(lease.message)
        self._notify()

    def forget_before(self, moment: float) -> None:
        """Acknowledge all messages that were published before a time, as `Seek` does."""
        self._waiting = deque(each for each in self._waiting if each.published_at >= moment)
        self._leases = {
            ack_id: lease for ack_id, lease in self._leases.items() if lease.message.published_at >= moment
        }

    def _return_expired(self, now: float) -> None:
        expired = [ack_id for ack_id, lease in self._leases.items() if lease.deadline <= now]
        for ack_id in expired:
            self._waiting.append(self._leases.pop(ack_id).message)

    def _notify(self) -> None:
        for waiter in self._waiters:
            waiter.set()
