"""Pub/Sub: `google.pubsub.v1.Publisher`."""

from __future__ import annotations

from typing import Any

from google.protobuf import empty_pb2
from google.pubsub_v1 import types as pubsub

from cloudrun_identity_playground.emulator.apis.paging import page, page_size
from cloudrun_identity_playground.emulator.apis.rpc import serves
from cloudrun_identity_playground.emulator.errors import invalid

from .store import PubSub

_UPDATABLE = frozenset({"labels", "message_retention_duration", "kms_key_name", "message_storage_policy"})


class Publisher:
    """Topics. Schemas and ingestion are kept and have no effect."""

    def __init__(self, store: PubSub) -> None:
        self._store = store

    @serves("google.pubsub.v1.Publisher/CreateTopic")
    def create(self, request: Any) -> Any:
        """Create a topic."""
        return self._store.create_topic(request)

    @serves("google.pubsub.v1.Publisher/GetTopic")
    def get(self, request: Any) -> Any:
        """Return a topic."""
        return self._store.topic(request.topic)

    @serves("google.pubsub.v1.Publisher/UpdateTopic")
    def update(self, request: Any) -> Any:
        """Change settings of a topic."""
        topic = self._store.topic(request.topic.name)
        for path in request.update_mask.paths:
            if path.partition(".")[0] not in _UPDATABLE:
                raise invalid(f"Invalid update_mask provided in the UpdateTopicRequest: '{path}'.")
            setattr(topic, path, getattr(request.topic, path))
        return topic

    @serves("google.pubsub.v1.Publisher/ListTopics")
    def list(self, request: Any) -> Any:
        """List the topics of a project."""
        found = self._store.topics(request.project)
        topics, token = page(found, request.page_token, page_size(request.page_size, 100, 1000))
        return pubsub.ListTopicsResponse(topics=topics, next_page_token=token)

    @serves("google.pubsub.v1.Publisher/ListTopicSubscriptions")
    def list_subscriptions(self, request: Any) -> Any:
        """List the names of the subscriptions of a topic."""
        topic = self._store.topic(request.topic).name
        found = {each.message.name: each.message.name for each in self._store.subscriptions_of(topic)}
        names, token = page(found, request.page_token, page_size(request.page_size, 100, 1000))
        return pubsub.ListTopicSubscriptionsResponse(subscriptions=names, next_page_token=token)

    @serves("google.pubsub.v1.Publisher/DeleteTopic")
    def delete(self, request: Any) -> empty_pb2.Empty:
        """Delete a topic."""
        self._store.delete_topic(request.topic)
        return empty_pb2.Empty()

    @serves("google.pubsub.v1.Publisher/Publish")
    def publish(self, request: Any) -> Any:
        """Publish messages."""
        if not request.messages:
            raise invalid("The value for message_count is too small. You passed 0 in the request.")
        for message in request.messages:
            if not message.data and not message.attributes:
                raise invalid("One or more messages in the publish request is empty.")
        contents = [(message.data, dict(message.attributes)) for message in request.messages]
        return pubsub.PublishResponse(message_ids=self._store.publish(request.topic, contents))
