"""Pub/Sub: `google.pubsub.v1.Subscriber`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, Final

from google.protobuf import empty_pb2
from google.pubsub_v1 import types as pubsub

from cloudrun_identity_playground.emulator.apis.paging import page, page_size
from cloudrun_identity_playground.emulator.apis.rpc import serves
from cloudrun_identity_playground.emulator.errors import invalid, not_found

from .store import PubSub, StoredSubscription
from .subscription import Delivery

PULL_SECONDS: Final = 10.0
"""Time for which a pull waits for a message. Google's is bounded and not documented."""
_MAX_DEADLINE: Final = 600
_LARGEST_BATCH: Final = 1000
_UPDATABLE: Final = frozenset(
    {"labels", "ack_deadline_seconds", "message_retention_duration", "retain_acked_messages"}
    | {"expiration_policy", "retry_policy", "dead_letter_policy", "enable_exactly_once_delivery"}
)


class Subscriber:
    """Subscriptions and the delivery of their messages.

    Filters, retry policies, dead-letter topics and exactly-once delivery are kept and have no effect.
    `before_delivery` is called before each look for messages.
    """

    def __init__(self, store: PubSub, before_delivery: Callable[[], None]) -> None:
        self._store = store
        self._before_delivery = before_delivery

    @serves("google.pubsub.v1.Subscriber/CreateSubscription")
    def create(self, request: Any) -> Any:
        """Create a subscription."""
        return self._store.create_subscription(request)

    @serves("google.pubsub.v1.Subscriber/GetSubscription")
    def get(self, request: Any) -> Any:
        """Return a subscription."""
        return self._store.subscription(request.subscription).message

    @serves("google.pubsub.v1.Subscriber/UpdateSubscription")
    def update(self, request: Any) -> Any:
        """Change settings of a subscription."""
        stored = self._store.subscription(request.subscription.name)
        for path in request.update_mask.paths:
            if path not in _UPDATABLE:
                raise invalid(f"Invalid update_mask provided in the UpdateSubscriptionRequest: '{path}'.")
            setattr(stored.message, path, getattr(request.subscription, path))
        stored.queue.ack_seconds = stored.message.ack_deadline_seconds
        stored.queue.retention = stored.message.message_retention_duration.total_seconds()
        return stored.message

    @serves("google.pubsub.v1.Subscriber/ListSubscriptions")
    def list(self, request: Any) -> Any:
        """List the subscriptions of a project."""
        found = {name: stored.message for name, stored in self._store.subscriptions(request.project).items()}
        shown, token = page(found, request.page_token, page_size(request.page_size, 100, 1000))
        return pubsub.ListSubscriptionsResponse(subscriptions=shown, next_page_token=token)

    @serves("google.pubsub.v1.Subscriber/DeleteSubscription")
    def delete(self, request: Any) -> empty_pb2.Empty:
        """Delete a subscription."""
        self._store.delete_subscription(request.subscription)
        return empty_pb2.Empty()

    @serves("google.pubsub.v1.Subscriber/Pull")
    def pull(self, request: Any) -> Coroutine[Any, Any, Any]:
        """Deliver messages; wait a while for the first one, unless `return_immediately` is set."""
        stored = self._store.subscription(request.subscription)
        if request.max_messages <= 0:
            raise invalid("A non-positive value for max_messages was passed to PullRequest.")
        seconds = 0.0 if request.return_immediately else PULL_SECONDS
        return self._pull(stored, min(request.max_messages, _LARGEST_BATCH), seconds)

    @serves("google.pubsub.v1.Subscriber/Acknowledge")
    def acknowledge(self, request: Any) -> empty_pb2.Empty:
        """Acknowledge messages."""
        if not request.ack_ids:
            raise invalid("No ack ids specified.")
        self._store.subscription(request.subscription).queue.acknowledge(request.ack_ids)
        return empty_pb2.Empty()

    @serves("google.pubsub.v1.Subscriber/ModifyAckDeadline")
    def modify_deadline(self, request: Any) -> empty_pb2.Empty:
        """Extend the deadlines of messages; 0 seconds makes them available again."""
        seconds = request.ack_deadline_seconds
        if not 0 <= seconds <= _MAX_DEADLINE:
            raise invalid(f"Invalid ack deadline given: {seconds} seconds. It must be in 0..600.")
        self._store.subscription(request.subscription).queue.extend(request.ack_ids, seconds)
        return empty_pb2.Empty()

    @serves("google.pubsub.v1.Subscriber/Seek")
    def seek(self, request: Any) -> Any:
        """Acknowledge all messages before a time. Acknowledged ones do not come back."""
        if request.snapshot:
            raise invalid("The emulator has no snapshots.")
        queue = self._store.subscription(request.subscription).queue
        queue.forget_before(request.time.timestamp())
        return pubsub.SeekResponse()

    def stream(self, first: Any, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """Deliver messages as they come; `requests` acknowledge them and extend their deadlines."""
        stored = self._store.subscription(first.subscription)
        if not 10 <= first.stream_ack_deadline_seconds <= _MAX_DEADLINE:
            raise invalid("Invalid stream_ack_deadline_seconds; it must be in 10..600.")
        return self._stream(stored, first, requests)

    async def _pull(self, stored: StoredSubscription, count: int, seconds: float) -> Any:
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while True:
            if taken := self._take(stored, count):
                return pubsub.PullResponse(received_messages=[_received(each) for each in taken])
            if loop.time() >= until:
                return pubsub.PullResponse()
            await stored.queue.wait()

    async def _stream(
        self, stored: StoredSubscription, first: Any, requests: AsyncIterator[Any]
    ) -> AsyncIterator[Any]:
        limit = first.max_outstanding_messages or _LARGEST_BATCH
        _apply(stored, first)
        reading = asyncio.create_task(_read(stored, requests))
        try:
            while not reading.done():
                room = limit - stored.queue.leased
                taken = self._take(stored, min(room, _LARGEST_BATCH), first.stream_ack_deadline_seconds)
                if taken:
                    yield pubsub.StreamingPullResponse(received_messages=[_received(each) for each in taken])
                else:
                    await stored.queue.wait()
        finally:
            reading.cancel()

    def _take(
        self, stored: StoredSubscription, count: int, ack_seconds: float | None = None
    ) -> Sequence[Delivery]:
        """Return messages of a subscription that still exists.

        Raises GoogleError: NOT_FOUND: it was deleted.
        """
        self._before_delivery()
        if self._store.subscription(stored.message.name) is not stored:
            raise not_found(f"Resource not found (resource={stored.message.name}).")
        return stored.queue.take(count, ack_seconds)


async def _read(stored: StoredSubscription, requests: AsyncIterator[Any]) -> None:
    async for request in requests:
        _apply(stored, request)


def _apply(stored: StoredSubscription, request: Any) -> None:
    """Apply the acknowledgments and the deadlines in a request of a stream."""
    stored.queue.acknowledge(request.ack_ids)
    pairs = zip(request.modify_deadline_ack_ids, request.modify_deadline_seconds, strict=False)
    for ack_id, seconds in pairs:
        stored.queue.extend([ack_id], seconds)


def _received(delivery: Delivery) -> Any:
    message = delivery.message
    return pubsub.ReceivedMessage(
        ack_id=delivery.ack_id,
        message=pubsub.PubsubMessage(
            data=message.data,
            attributes=message.attributes,
            message_id=message.id,
            publish_time={
                "seconds": int(message.published_at),
                "nanos": int(message.published_at % 1 * 1e9),
            },
        ),
    )
