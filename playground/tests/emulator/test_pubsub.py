"""Delivery of messages: leases, redelivery, retention, streams and refusals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc.aio
import pytest
from google.api_core import exceptions
from google.pubsub_v1 import types as pubsub

from cloudrun_identity_playground.emulator import Emulator
from tests.time_budget import HUNG_AFTER

from .clients import Clock
from .feeds import SUBSCRIPTION, TOPIC, Feed, eventually, feeding


@pytest.fixture
async def feed(emulator: Emulator) -> AsyncIterator[Feed]:
    async with feeding(emulator) as running:
        yield running


async def publish(feed: Feed, *texts: bytes) -> None:
    feed.emulator.cloud.pubsub.publish(TOPIC, [(text, {}) for text in texts])


async def test_unacknowledged_message_is_delivered_again_after_deadline(feed: Feed, clock: Clock) -> None:
    await publish(feed, b"one")
    [first] = await feed.pull()
    assert await feed.pull() == []
    clock.advance(11)
    [second] = await feed.pull()
    assert second.message.message_id == first.message.message_id
    assert second.ack_id != first.ack_id


async def test_acknowledged_message_is_not_delivered_again(feed: Feed, clock: Clock) -> None:
    await publish(feed, b"one", b"two")
    received = await feed.pull()
    await feed.subscriber.acknowledge(subscription=SUBSCRIPTION, ack_ids=[received[0].ack_id, "unknown"])
    clock.advance(11)
    assert [each.message.data for each in await feed.pull()] == [received[1].message.data]


async def test_modified_deadline_keeps_a_message_leased(feed: Feed, clock: Clock) -> None:
    await publish(feed, b"one")
    [received] = await feed.pull()
    await feed.subscriber.modify_ack_deadline(
        subscription=SUBSCRIPTION, ack_ids=[received.ack_id], ack_deadline_seconds=60
    )
    clock.advance(59)
    assert await feed.pull() == []
    await feed.subscriber.modify_ack_deadline(
        subscription=SUBSCRIPTION, ack_ids=[received.ack_id], ack_deadline_seconds=0
    )
    assert len(await feed.pull()) == 1


async def test_message_is_dropped_after_retention(feed: Feed, clock: Clock) -> None:
    await publish(feed, b"old")
    clock.advance(7 * 24 * 3600 + 1)
    await publish(feed, b"new")
    assert [each.message.data for each in await feed.pull()] == [b"new"]


async def test_pull_waits_for_a_message(feed: Feed) -> None:
    request = pubsub.PullRequest(subscription=SUBSCRIPTION, max_messages=10)
    pull = asyncio.create_task(feed.subscriber.pull(request, timeout=HUNG_AFTER))
    queue = feed.emulator.cloud.pubsub.subscription(SUBSCRIPTION).queue
    await eventually(lambda: queue.has_waiters)
    await publish(feed, b"late")
    assert [each.message.data for each in (await pull).received_messages] == [b"late"]


async def test_stream_delivers_and_acknowledges(feed: Feed, clock: Clock) -> None:
    requests: asyncio.Queue[pubsub.StreamingPullRequest] = asyncio.Queue()
    requests.put_nowait(
        pubsub.StreamingPullRequest(subscription=SUBSCRIPTION, stream_ack_deadline_seconds=10)
    )

    async def sent() -> AsyncIterator[pubsub.StreamingPullRequest]:
        while True:
            yield await requests.get()

    stream = await feed.subscriber.streaming_pull(requests=sent(), timeout=HUNG_AFTER)
    await publish(feed, b"one")
    first = await anext(aiter(stream))
    assert [each.message.data for each in first.received_messages] == [b"one"]
    requests.put_nowait(
        pubsub.StreamingPullRequest(ack_ids=[each.ack_id for each in first.received_messages])
    )
    queue = feed.emulator.cloud.pubsub.subscription(SUBSCRIPTION).queue
    await eventually(lambda: not len(queue))
    clock.advance(11)
    assert await feed.pull() == []


async def test_pull_of_a_deleted_subscription_is_not_found(feed: Feed) -> None:
    name = f"//pubsub.googleapis.com/{SUBSCRIPTION}"
    feed.edit({"resource": name, "delete": True})
    with pytest.raises(exceptions.NotFound, match=rf"Resource not found \(resource={SUBSCRIPTION}\)"):
        await feed.pull()


async def test_stream_of_a_deleted_subscription_ends_as_not_found(feed: Feed) -> None:
    async def sent() -> AsyncIterator[pubsub.StreamingPullRequest]:
        yield pubsub.StreamingPullRequest(subscription=SUBSCRIPTION, stream_ack_deadline_seconds=10)
        await asyncio.Event().wait()

    stream = await feed.subscriber.streaming_pull(requests=sent(), timeout=HUNG_AFTER)
    await publish(feed, b"one")
    messages = aiter(stream)
    await anext(messages)
    feed.edit({"resource": f"//pubsub.googleapis.com/{SUBSCRIPTION}", "delete": True})
    with pytest.raises((exceptions.NotFound, grpc.aio.AioRpcError), match="not found"):
        await anext(messages)


async def test_stream_ends_when_the_permission_is_revoked(feed: Feed) -> None:
    dana = "user:dana@example.com"
    name = f"//pubsub.googleapis.com/{SUBSCRIPTION}"
    granted = {"role": "roles/pubsub.subscriber", "member": dana}
    feed.edit({"policy": name, "add": [granted]})

    async def sent() -> AsyncIterator[pubsub.StreamingPullRequest]:
        yield pubsub.StreamingPullRequest(subscription=SUBSCRIPTION, stream_ack_deadline_seconds=10)
        await asyncio.Event().wait()

    stream = await feed.subscriber.streaming_pull(
        requests=sent(), timeout=HUNG_AFTER, metadata=[("authorization", f"Bearer {dana}")]
    )
    await publish(feed, b"one")
    messages = aiter(stream)
    await anext(messages)
    feed.edit({"policy": name, "remove": [granted]})
    await publish(feed, b"two")
    with pytest.raises((exceptions.Forbidden, grpc.aio.AioRpcError), match=r"pubsub\.subscriptions\.consume"):
        await anext(messages)


async def test_recreated_subscription_has_no_topic_and_no_messages(feed: Feed) -> None:
    await publish(feed, b"one")
    feed.edit({"resource": f"//pubsub.googleapis.com/{SUBSCRIPTION}", "recreate": True})
    await publish(feed, b"two")
    assert await feed.pull() == []
    found = await feed.subscriber.get_subscription(subscription=SUBSCRIPTION)
    assert found.topic == "_deleted-topic_"


async def test_pull_needs_the_permission_to_consume(feed: Feed) -> None:
    dana = "user:dana@example.com"
    body = {"maxMessages": 1, "returnImmediately": True}
    refused = await feed.request("POST", f"/v1/{SUBSCRIPTION}:pull", body, token=dana)
    assert refused["error"]["status"] == "PERMISSION_DENIED"
    granted = {"role": "roles/pubsub.subscriber", "member": dana}
    feed.edit({"policy": f"//pubsub.googleapis.com/{SUBSCRIPTION}", "add": [granted]})
    assert "error" not in await feed.request("POST", f"/v1/{SUBSCRIPTION}:pull", body, token=dana)


async def test_rest_publishes_and_pulls(feed: Feed) -> None:
    body = {"messages": [{"data": "aGVsbG8=", "attributes": {"color": "red"}}]}
    published = await feed.request("POST", f"/v1/{TOPIC}:publish", body)
    pulled = await feed.request(
        "POST", f"/v1/{SUBSCRIPTION}:pull", {"maxMessages": 5, "returnImmediately": True}
    )
    [received] = pulled["receivedMessages"]
    assert received["message"]["messageId"] == published["messageIds"][0]
    assert received["message"]["data"] == "aGVsbG8="
    assert received["message"]["attributes"] == {"color": "red"}


async def test_sought_subscription_has_only_later_messages(feed: Feed, clock: Clock) -> None:
    await publish(feed, b"old")
    clock.advance(60)
    await feed.subscriber.seek({"subscription": SUBSCRIPTION, "time": {"seconds": int(clock.now)}})
    await publish(feed, b"new")
    assert [each.message.data for each in await feed.pull()] == [b"new"]
