"""Pull subscriptions of Pub/Sub: receive messages and acknowledge them.

The methods are called with messages of their own, on the channels that all other calls use. So they have
the same credentials, rate limits, errors and metrics. The library google-cloud-pubsub is not needed: it would
add a second stack of threads and channels, and OpenTelemetry, to every process.

Pull waits on the side of Google until a message is available or some time has passed
(https://cloud.google.com/pubsub/docs/reference/rpc/google.pubsub.v1#pullrequest). Unlike a StreamingPull, it
never delivers more messages than the caller has asked for, however long the backlog is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from .clients import GoogleClients
from .errors import GoogleError
from .ratelimit import Api

PULL_TIMEOUT: Final = 90.0
"""Seconds for which a pull waits for messages."""

_SUBSCRIBER: Final = "google.pubsub.v1.Subscriber"
_EPOCH: Final = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Received:
    """A message that a pull delivered."""

    ack_id: str
    """Identifier of this delivery. A message that is not acknowledged is delivered again."""
    data: bytes
    """Content."""
    published: datetime
    """Time at which Pub/Sub received the message."""


@dataclass(frozen=True, slots=True)
class SubscriptionState:
    """Properties of a subscription that decide what can be pulled."""

    topic: str
    """Name of the topic, `projects/P/topics/T`; `_deleted-topic_` if it was deleted."""
    is_detached: bool
    """True if the subscription receives no messages any more."""


class Subscriber:
    """A subscription, pulled with one credential."""

    def __init__(self, clients: GoogleClients, subscription: str) -> None:
        """`subscription` is the name `projects/P/subscriptions/S`."""
        self._clients = clients
        self._subscription = subscription

    async def pull(self, max_messages: int, timeout: float | None = None) -> tuple[Received, ...]:
        """Return available messages; none after `timeout` (or `PULL_TIMEOUT`) seconds. Raises GoogleError."""
        types = _types()
        request = types["PullRequest"](subscription=self._subscription, max_messages=max_messages)
        try:
            reply = await self._call("Pull", request, types["PullResponse"], timeout or PULL_TIMEOUT)
        except GoogleError as error:
            if error.code == _DEADLINE_EXCEEDED:
                return ()
            raise
        return tuple(map(_received, reply.received_messages))

    async def acknowledge(self, ack_ids: Sequence[str]) -> None:
        """Acknowledge deliveries, so that the messages are not delivered again. Raises GoogleError."""
        types = _types()
        for chunk in _chunks(ack_ids):
            request = types["AcknowledgeRequest"](subscription=self._subscription, ack_ids=chunk)
            await self._call("Acknowledge", request, types["Empty"])

    async def state(self) -> SubscriptionState:
        """Return the properties of the subscription. Raises GoogleError."""
        types = _types()
        request = types["GetSubscriptionRequest"](subscription=self._subscription)
        reply = await self._call("GetSubscription", request, types["Subscription"])
        return SubscriptionState(reply.topic, reply.detached)

    async def _call(self, method: str, request: Any, response: type[Any], timeout: float = 30.0) -> Any:
        name = f"{_SUBSCRIBER}/{method}"
        return await self._clients.call(
            Api.PUB_SUB,
            name,
            self._clients.stub(Api.PUB_SUB, name, response),
            request,
            timeout=timeout,
            metadata=(("x-goog-request-params", f"subscription={self._subscription}"),),
            repeatable=True,
        )


def is_too_large(error: GoogleError) -> bool:
    """Return whether the messages of a pull exceed what gRPC accepts in one response.

    gRPC reports it with the status of an exhausted quota: "Received message larger than max (5 vs. 4)".
    """
    return error.code == "RESOURCE_EXHAUSTED" and "larger than max" in error.message


_DEADLINE_EXCEEDED: Final = "DEADLINE_EXCEEDED"
_ACKS: Final = 1000
"""Acknowledgements in one request. Google limits a request to 512 KiB
(https://cloud.google.com/pubsub/quotas#resource_limits), and an identifier has about 200 bytes."""


def _chunks(ack_ids: Sequence[str]) -> Iterable[Sequence[str]]:
    return (ack_ids[start : start + _ACKS] for start in range(0, len(ack_ids), _ACKS))


def _received(received: Any) -> Received:
    message = received.message
    published = _EPOCH + timedelta(
        seconds=message.publish_time.seconds, microseconds=message.publish_time.nanos // 1000
    )
    return Received(received.ack_id, message.data, published)


@cache
def _types() -> dict[str, type[Any]]:
    """Return the messages, with the fields of google/pubsub/v1/pubsub.proto that are used.

    They are in a pool of their own, because a process may also load the library with the same messages.
    """
    file = descriptor_pb2.FileDescriptorProto(name="subscriber.proto", package="pull", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, kind, repeated) in fields.items():
            label = _FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL
            if isinstance(kind, str):
                message.field.add(
                    name=field,
                    number=number,
                    type=_FIELD.TYPE_MESSAGE,
                    type_name=f".pull.{kind}",
                    label=label,
                )
            else:
                message.field.add(name=field, number=number, type=kind, label=label)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"pull.{name}"))
        for name in _MESSAGES
    }


_FIELD: Final = descriptor_pb2.FieldDescriptorProto
_MESSAGES: Final[dict[str, dict[int, tuple[str, Any, bool]]]] = {
    "Empty": {},
    "Timestamp": {1: ("seconds", _FIELD.TYPE_INT64, False), 2: ("nanos", _FIELD.TYPE_INT32, False)},
    "PubsubMessage": {1: ("data", _FIELD.TYPE_BYTES, False), 4: ("publish_time", "Timestamp", False)},
    "ReceivedMessage": {1: ("ack_id", _FIELD.TYPE_STRING, False), 2: ("message", "PubsubMessage", False)},
    "PullRequest": {
        1: ("subscription", _FIELD.TYPE_STRING, False),
        3: ("max_messages", _FIELD.TYPE_INT32, False),
    },
    "GetSubscriptionRequest": {1: ("subscription", _FIELD.TYPE_STRING, False)},
    "Subscription": {2: ("topic", _FIELD.TYPE_STRING, False), 15: ("detached", _FIELD.TYPE_BOOL, False)},
    "PullResponse": {1: ("received_messages", "ReceivedMessage", True)},
    "AcknowledgeRequest": {
        1: ("subscription", _FIELD.TYPE_STRING, False),
        2: ("ack_ids", _FIELD.TYPE_STRING, True),
    },
}
"""Fields by message and number: name, type (the name of a message, or a scalar), and whether it repeats."""
