"""Topics and subscriptions that exist, and what is published to them.

The existence and the policies of both are those of the target kinds (`apis.target_resources`). One that the
seed or the control API created has the default settings.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from google.pubsub_v1 import types as pubsub

from cloudrun_identity.api import TARGET_KINDS, TargetKind
from cloudrun_identity_playground.emulator.apis.target_names import TargetName
from cloudrun_identity_playground.emulator.apis.target_resources import TargetResources
from cloudrun_identity_playground.emulator.errors import GoogleError, already_exists, invalid, not_found

from .subscription import Message, Subscription

DELETED_TOPIC: Final = "_deleted-topic_"
"""`Subscription.topic` of a subscription without a topic (google/pubsub/v1/pubsub.proto)."""
_ACK_SECONDS: Final = 10
_RETENTION: Final = 7 * 24 * 3600
_TOPIC: Final = TARGET_KINDS[TargetKind.PUB_SUB_TOPIC]
_SUBSCRIPTION: Final = TARGET_KINDS[TargetKind.PUB_SUB_SUBSCRIPTION]


@dataclass
class _Topic:
    created: int
    message: Any
    next_id: Iterator[int] = field(default_factory=lambda: itertools.count(1))


@dataclass
class StoredSubscription:
    """A subscription with its settings and its messages."""

    created: int
    """Creation time, which distinguishes it from a later one with the same name."""
    message: Any
    """The resource as the API shows it."""
    queue: Subscription
    """Its messages."""


class PubSub:
    """All topics and subscriptions. `clock` returns seconds since the epoch."""

    def __init__(self, resources: TargetResources, clock: Callable[[], float]) -> None:
        self._resources = resources
        self._clock = clock
        self._topics: dict[str, _Topic] = {}
        self._subscriptions: dict[str, StoredSubscription] = {}

    def create_topic(self, wanted: Any) -> Any:
        """Create a topic and return it.

        Raises GoogleError: ALREADY_EXISTS, INVALID_ARGUMENT.
        """
        name = self._create(_name(wanted.name, topic=True))
        created = self._resources.created(name)
        stored = _Topic(created or 0, pubsub.Topic(wanted, name=name.resource))
        self._topics[name.resource] = stored
        return stored.message

    def create_subscription(self, wanted: Any) -> Any:
        """Create a subscription of an existing topic and return it.

        Raises GoogleError: ALREADY_EXISTS, INVALID_ARGUMENT; NOT_FOUND: the topic does not exist.
        """
        if wanted.push_config.push_endpoint:
            raise invalid("The emulator serves pull subscriptions only.")
        topic = self.topic(wanted.topic)
        name = self._create(_name(wanted.name, topic=False))
        message = pubsub.Subscription(wanted, name=name.resource, topic=topic.name)
        return self._store(name, message).message

    def topic(self, name: str) -> Any:
        """Return a topic.

        Raises GoogleError: NOT_FOUND, INVALID_ARGUMENT.
        """
        return self._topic(name).message

    def subscription(self, name: str) -> StoredSubscription:
        """Return a subscription.

        Raises GoogleError: NOT_FOUND, INVALID_ARGUMENT.
        """
        found = self._existing(_name(name, topic=False))
        stored = self._subscriptions.get(found.resource)
        if stored is None or stored.created != self._resources.created(found):
            stored = self._store(found, pubsub.Subscription(name=found.resource, topic=DELETED_TOPIC))
        return stored

    def topics(self, project: str) -> Mapping[str, Any]:
        """Return the topics of a project by name."""
        return {name: self.topic(name) for name in self._names_in(project, "topics")}

    def subscriptions(self, project: str) -> Mapping[str, StoredSubscription]:
        """Return the subscriptions of a project by name."""
        return {name: self.subscription(name) for name in self._names_in(project, "subscriptions")}

    def subscriptions_of(self, topic: str) -> Iterator[StoredSubscription]:
        """Yield the subscriptions of a topic, in any project."""
        for name, stored in list(self._subscriptions.items()):
            if (
                stored.message.topic == topic
                and self._resources.created(_name(name, topic=False)) == stored.created
            ):
                yield stored

    def backlog(self) -> dict[str, int]:
        """Return the number of messages that are not acknowledged, by subscription."""
        return {name: len(stored.queue) for name, stored in self._subscriptions.items()}

    def delete_topic(self, name: str) -> None:
        """Delete a topic. Its subscriptions remain without one.

        Raises GoogleError: NOT_FOUND, INVALID_ARGUMENT.
        """
        found = self._existing(_name(name, topic=True))
        for stored in self.subscriptions_of(found.resource):
            stored.message.topic = DELETED_TOPIC
        self._topics.pop(found.resource, None)
        self._resources.delete(found)

    def delete_subscription(self, name: str) -> None:
        """Delete a subscription with its messages.

        Raises GoogleError: NOT_FOUND, INVALID_ARGUMENT.
        """
        found = self._existing(_name(name, topic=False))
        self._subscriptions.pop(found.resource, None)
        self._resources.delete(found)

    def publish(self, topic: str, contents: Iterable[tuple[bytes, Mapping[str, str]]]) -> list[str]:
        """Publish payloads with attributes to all subscriptions of a topic; return the message IDs.

        Raises GoogleError: NOT_FOUND, INVALID_ARGUMENT.
        """
        stored = self._topic(topic)
        now = self._clock()
        messages = [
            Message(f"{next(stored.next_id)}", data, attributes, now) for data, attributes in contents
        ]
        for subscription in self.subscriptions_of(stored.message.name):
            subscription.queue.add(messages)
        return [message.id for message in messages]

    def _topic(self, name: str) -> _Topic:
        found = self._existing(_name(name, topic=True))
        created = self._resources.created(found) or 0
        stored = self._topics.get(found.resource)
        if stored is None or stored.created != created:
            stored = _Topic(created, pubsub.Topic(name=found.resource))
            self._topics[found.resource] = stored
        return stored

    def _store(self, name: TargetName, message: Any) -> StoredSubscription:
        message.ack_deadline_seconds = message.ack_deadline_seconds or _ACK_SECONDS
        retention = message.message_retention_duration.total_seconds() or _RETENTION
        message.message_retention_duration = {"seconds": int(retention)}
        if "expiration_policy" not in message:
            message.expiration_policy = {"ttl": {"seconds": 31 * 24 * 3600}}
        message.state = pubsub.Subscription.State.ACTIVE
        queue = Subscription(self._clock, message.ack_deadline_seconds, retention)
        stored = StoredSubscription(self._resources.created(name) or 0, message, queue)
        self._subscriptions[name.resource] = stored
        return stored

    def _create(self, name: TargetName) -> TargetName:
        if self._resources.created(name) is not None:
            raise already_exists(f"Resource already exists in the project (resource={name.name}).")
        home = self._resources.home(name)
        if home is None:
            raise _missing(name)
        self._resources.add(home, name.descriptor, name.name)
        return TargetName(name.descriptor, name.name, home.id)

    def _existing(self, name: TargetName) -> TargetName:
        if self._resources.created(name) is None:
            raise _missing(name)
        home = self._resources.home(name)
        return TargetName(name.descriptor, name.name, home.id if home else name.project_id)

    def _names_in(self, project: str, collection: str) -> list[str]:
        home = self._resources.home(TargetName(_TOPIC, "-", project.removeprefix("projects/")))
        prefix = f"projects/{home.id if home else project}/{collection}/"
        return [name for name in self._resources if name.startswith(prefix)]


def _name(name: str, *, topic: bool) -> TargetName:
    descriptor = _TOPIC if topic else _SUBSCRIPTION
    parts = descriptor.parts_of(name)
    if not parts:
        # The text: https://github.com/gofr-dev/gofr/issues/1257
        raise invalid(
            f"Invalid resource name given (name={name}). Refer to "
            "https://cloud.google.com/pubsub/docs/pubsub-basics#resource_names for more information."
        )
    return TargetName(descriptor, **parts)


def _missing(name: TargetName) -> GoogleError:
    """Return NOT_FOUND. It has the full name of a subscription, and the short name of a topic.

    https://github.com/GoogleCloudPlatform/spring-cloud-gcp/issues/2606,
    https://github.com/ScaleSec/project_lockdown/issues/57
    """
    shown = name.resource if name.descriptor is _SUBSCRIPTION else name.name
    return not_found(f"Resource not found (resource={shown}).")
