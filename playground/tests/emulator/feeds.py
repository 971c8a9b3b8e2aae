"""An emulator with a sink, a topic and a subscription, over Google's client of Pub/Sub and over REST."""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import grpc.aio
from google.pubsub_v1 import types as pubsub
from google.pubsub_v1.services.subscriber import SubscriberAsyncClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport

from cloudrun_identity_playground.emulator import Emulator
from tests.time_budget import HUNG_AFTER, TimeBudget

ACTIVITY = 'log_id("cloudaudit.googleapis.com/activity")'
TOPIC = "projects/ops/topics/changes"
SUBSCRIPTION = "projects/ops/subscriptions/changes"
SINK = "projects/shop/sinks/changes"
GCLOUD = "google-cloud-sdk gcloud/549.0.0 command/gcloud.projects.add-iam-policy-binding"


@dataclass
class Feed:
    """A subscription to the audit log of the project `shop`."""

    emulator: Emulator
    subscriber: SubscriberAsyncClient
    http: aiohttp.ClientSession

    async def request(
        self, verb: str, path: str, body: Any = None, *, token: str = "admin", **headers: str
    ) -> Any:
        """Return the JSON of a REST call; the status is in `status` of an error."""
        sent = {"Authorization": f"Bearer {token}", **headers}
        url = self.emulator.rest_url + path
        async with self.http.request(verb, url, json=body, headers=sent) as answer:
            return await answer.json()

    async def pull(self, count: int = 100) -> list[Any]:
        """Return the messages that are available."""
        request = pubsub.PullRequest(subscription=SUBSCRIPTION, max_messages=count, return_immediately=True)
        with warnings.catch_warnings():  # the library advises against `return_immediately`
            warnings.simplefilter("ignore", DeprecationWarning)
            response = await self.subscriber.pull(request, timeout=HUNG_AFTER)
        return list(response.received_messages)

    async def entries(self) -> list[Any]:
        """Return the entries in the messages that are available, and acknowledge them."""
        received = await self.pull()
        if received:
            await self.subscriber.acknowledge(
                subscription=SUBSCRIPTION, ack_ids=[each.ack_id for each in received]
            )
        return [json.loads(each.message.data) for each in received]

    async def entry(self) -> Any:
        """Return the only entry that is available."""
        [entry] = await self.entries()
        return entry

    def edit(self, change: dict[str, Any]) -> None:
        """Make a change as another user."""
        self.emulator.edit(change)

    def grant(self, member: str, **author: str) -> None:
        """Grant roles/viewer on the project as another user."""
        added = {"role": "roles/viewer", "member": member}
        name = "//cloudresourcemanager.googleapis.com/projects/shop"
        self.edit({"policy": name, "add": [added], **author})


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    budget = TimeBudget()
    while not condition():
        assert not budget.is_spent(), "the condition never held"
        await asyncio.sleep(0.01)


@asynccontextmanager
async def feeding(emulator: Emulator, filter_: str = ACTIVITY) -> AsyncIterator[Feed]:
    """Yield a feed of a running emulator with REST."""
    async with (
        grpc.aio.insecure_channel(emulator.grpc_address) as channel,
        aiohttp.ClientSession() as http,
    ):
        transport = SubscriberGrpcAsyncIOTransport(channel=channel)
        feed = Feed(emulator, SubscriberAsyncClient(transport=transport), http)
        await feed.request("PUT", f"/v1/{TOPIC}", {})
        await feed.request("PUT", f"/v1/{SUBSCRIPTION}", {"topic": TOPIC})
        sink = await feed.request(
            "POST",
            "/v2/projects/shop/sinks?uniqueWriterIdentity=true",
            {"name": "changes", "destination": f"pubsub.googleapis.com/{TOPIC}", "filter": filter_},
        )
        publisher = {"role": "roles/pubsub.publisher", "members": [sink["writerIdentity"]]}
        await feed.request("POST", f"/v1/{TOPIC}:setIamPolicy", {"policy": {"bindings": [publisher]}})
        yield feed
