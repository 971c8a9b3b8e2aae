"""The pull of a subscription over the wire, and its agreement with the published messages."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from google.pubsub_v1 import types as published

from cloudrun_identity.gcp import pubsub
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.pubsub import Subscriber
from cloudrun_identity_playground.emulator.emulator import Emulator

PROJECT = "projects/shop-1234"
SUBSCRIPTION, TOPIC = f"{PROJECT}/subscriptions/audit", f"{PROJECT}/topics/audit"


@pytest.fixture
def subscriber(emulator: Emulator, clients: GoogleClients) -> Subscriber:
    store = emulator.cloud.pubsub
    store.create_topic(published.Topic(name=TOPIC))
    store.create_subscription(published.Subscription(name=SUBSCRIPTION, topic=TOPIC, ack_deadline_seconds=60))
    return Subscriber(clients, SUBSCRIPTION)


def publish(emulator: Emulator, *contents: bytes) -> None:
    emulator.cloud.pubsub.publish(TOPIC, [(content, {}) for content in contents])


async def test_messages_are_received_with_their_time(emulator: Emulator, subscriber: Subscriber) -> None:
    publish(emulator, b"one", b"\xff")
    received = await subscriber.pull(10)
    assert [each.data for each in received] == [b"one", b"\xff"]
    assert all(datetime.now(UTC) - each.published < timedelta(minutes=10) for each in received)
    await subscriber.acknowledge([each.ack_id for each in received])


async def test_no_more_messages_than_asked_for_are_received(
    emulator: Emulator, subscriber: Subscriber
) -> None:
    publish(emulator, *[b"entry"] * 30)
    assert 0 < len(await subscriber.pull(7)) <= 7


async def test_pull_waits_for_the_next_message(emulator: Emulator, subscriber: Subscriber) -> None:
    pull = asyncio.create_task(subscriber.pull(10))
    await asyncio.sleep(0.1)
    assert not pull.done()
    publish(emulator, b"late")
    assert [each.data for each in await pull] == [b"late"]


async def test_pull_without_messages_ends_with_its_time(subscriber: Subscriber) -> None:
    assert await subscriber.pull(10, 0.2) == ()


async def test_missing_subscription_is_not_found(clients: GoogleClients, emulator: Emulator) -> None:
    with pytest.raises(GoogleError) as raised:
        await Subscriber(clients, f"{PROJECT}/subscriptions/missing").pull(1)
    assert raised.value.fault is Fault.NOT_FOUND


def test_fields_are_those_of_the_published_messages() -> None:
    for name, fields in pubsub._MESSAGES.items():
        model = getattr(published, name, None)
        if model is None:  # Empty and Timestamp are not of Pub/Sub
            continue
        descriptor = model.pb().DESCRIPTOR
        for number, (field, _, repeated) in fields.items():
            found = descriptor.fields_by_number[number]
            assert (found.name, found.is_repeated) == (field, repeated)
