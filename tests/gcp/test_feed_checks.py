"""Checks of the change feed of a ManagedProject by `cloudrun-identity check`."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from cloudrun_identity.commands.check_results import Result, State
from cloudrun_identity.commands.project_checks import check_projects
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.token_file import TokenFile
from cloudrun_identity.kube.resources import Object
from cloudrun_identity_playground.emulator.emulator import Emulator
from cloudrun_identity_playground.emulator.seed import Binding, Project, Seed, ServiceAccount
from playground.tests.emulator.feeds import SINK, SUBSCRIPTION, TOPIC, Feed, feeding
from tests.gcp.conftest import Observer

OPERATOR = "serviceAccount:operator@ops.iam.gserviceaccount.com"
RECEIVED = "2026-01-01T12:00:00Z"
VIEWER = "user:v@x.org"
SEED = Seed(
    strict=True,
    without_token="admin",
    projects=(
        Project(project_id="ops", service_accounts=(ServiceAccount(account_id="operator"),)),
        Project(project_id="shop", policy=(Binding(role="roles/logging.viewer", members=(VIEWER,)),)),
    ),
)
CREATE = (
    "gcloud pubsub subscriptions create changes --project=ops --topic=changes --ack-deadline=60 "
    "--message-retention-duration=1h --expiration-period=never"
)
GRANT = (
    f"gcloud pubsub subscriptions add-iam-policy-binding changes --project=ops --member={OPERATOR} "
    "--role=roles/pubsub.subscriber"
)

Connect = Callable[..., AbstractAsyncContextManager[GoogleClients]]


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(seed=SEED, rest_port=0) as emulator:
        yield emulator


@pytest.fixture
async def feed(emulator: Emulator) -> AsyncIterator[Feed]:
    async with feeding(emulator) as feed:
        yield feed


@pytest.fixture
def connect(emulator: Emulator, observer: Observer, tmp_path: Path) -> Connect:
    """Return a function that opens read-only clients of a member, with or without REST."""

    @asynccontextmanager
    async def clients(member: str = "", *, rest: bool = True) -> AsyncIterator[GoogleClients]:
        token = tmp_path / "token"
        token.write_text(member)
        port = f"/{emulator.rest_url.rpartition(':')[2]}" if rest else ""
        tokens = TokenFile(token) if member else None
        opened = GoogleClients(f"{emulator.grpc_address}{port}", observer, tokens=tokens, read_only=True)
        try:
            yield opened
        finally:
            await opened.close()

    return clients


def managed(feed: dict[str, Any] | None = None, status: dict[str, Any] | None = None, **spec: Any) -> Object:
    declared = {"changeFeed": {"subscription": SUBSCRIPTION} if feed is None else feed}
    return {
        "apiVersion": "cloudrun-identity.dev/v1alpha1",
        "kind": "ManagedProject",
        "metadata": {"name": "shop", "uid": "1"},
        "spec": {"projectID": "shop", **declared, **spec},
        "status": status or {},
    }


async def checked(clients: GoogleClients, project: Object | None = None) -> tuple[Result, Result]:
    """Return the results for the subscription and for the sink."""
    results = await check_projects([project or managed()], clients, OPERATOR)
    named = {result.check: result for result in results}
    return named["ManagedProject shop: change feed"], named["ManagedProject shop: log sink"]


@pytest.mark.usefixtures("feed")
async def test_feed_with_a_subscription_and_a_sink_passes(connect: Connect) -> None:
    async with connect() as clients:
        subscription, sink = await checked(clients)
    assert (subscription.state, subscription.message) == (State.PASSED, f"{SUBSCRIPTION} can be pulled")
    assert (sink.state, sink.message) == (State.PASSED, f"changes exports entries to {TOPIC}")


async def test_missing_subscription_and_sink_come_with_their_commands(connect: Connect) -> None:
    async with connect() as clients:
        subscription, sink = await checked(clients)
    assert subscription.state is State.FAILED
    assert subscription.message == f"{SUBSCRIPTION} does not exist"
    assert subscription.remedy[:2] == (CREATE, GRANT)
    assert sink.state is State.FAILED
    assert "project shop has no log sink that exports to a Pub/Sub topic" in sink.message
    assert "cloudrun-identity permissions -f FILE" in sink.remedy[0]


async def test_deleted_sink_is_found_while_nothing_drifts(connect: Connect, feed: Feed) -> None:
    await feed.request("DELETE", f"/v2/{SINK}")
    async with connect() as clients:
        subscription, sink = await checked(clients)
    assert subscription.state is State.PASSED
    assert sink.state is State.FAILED
    assert sink.message == f"project shop has no log sink that exports to {TOPIC}"
    assert "gcloud logging sinks list --organization=ORGANIZATION" in sink.remedy[1]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"disabled": True}, "changes is disabled"),
        ({"destination": "pubsub.googleapis.com/projects/ops/topics/other"}, "has no log sink"),
        ({"destination": "storage.googleapis.com/archive"}, "has no log sink"),
    ],
    ids=["disabled", "another topic", "a bucket"],
)
async def test_sink_that_exports_nothing_to_the_topic_fails(
    connect: Connect, feed: Feed, change: dict[str, Any], found: str
) -> None:
    await feed.request("PATCH", f"/v2/{SINK}?updateMask={','.join(change)}", change)
    async with connect() as clients:
        _, sink = await checked(clients)
    assert sink.state is State.FAILED
    assert found in sink.message
    if "disabled" in change:
        assert sink.remedy == ("gcloud logging sinks update changes --project=shop --no-disabled",)


async def test_operator_with_the_documented_grant_passes_without_reading_more(
    connect: Connect, feed: Feed
) -> None:
    """roles/pubsub.subscriber has neither pubsub.subscriptions.get nor logging.sinks.list."""
    binding = {"role": "roles/pubsub.subscriber", "members": [OPERATOR]}
    await feed.request("POST", f"/v1/{SUBSCRIPTION}:setIamPolicy", {"policy": {"bindings": [binding]}})
    async with connect(OPERATOR) as clients:
        subscription, sink = await checked(clients)
    assert subscription.state is State.PASSED
    assert sink.state is State.SKIPPED
    assert "run `gcloud logging sinks describe cloudrun-identity --project=shop`" in sink.message


@pytest.mark.usefixtures("feed")
async def test_subscription_that_may_not_be_pulled_comes_with_the_grant(connect: Connect) -> None:
    async with connect(OPERATOR) as clients:
        subscription, _ = await checked(clients)
    assert subscription.state is State.FAILED
    assert subscription.message == f"{SUBSCRIPTION} does not exist, or these credentials may not pull it"
    assert subscription.remedy == (CREATE, GRANT)


@pytest.mark.usefixtures("feed")
async def test_user_who_lists_sinks_need_not_pull_and_fails_no_check(connect: Connect) -> None:
    """roles/logging.viewer has neither pubsub.subscriptions.consume nor pubsub.subscriptions.get."""
    async with connect(VIEWER) as clients:
        subscription, sink = await checked(clients)
    assert subscription.state is State.SKIPPED
    assert f"these credentials may not pull {SUBSCRIPTION}" in subscription.message
    assert "deployment/cloudrun-identity -- cloudrun-identity check" in subscription.message
    assert sink.state is State.SKIPPED
    assert f"the topic of {SUBSCRIPTION} cannot be read" in sink.message
    assert "pubsub.subscriptions.get" in sink.message


async def viewed(feed: Feed) -> None:
    """Let the user read the subscription."""
    binding = {"role": "roles/pubsub.viewer", "members": [VIEWER]}
    await feed.request("POST", f"/v1/{SUBSCRIPTION}:setIamPolicy", {"policy": {"bindings": [binding]}})


async def test_user_who_reads_the_subscription_checks_the_sink(connect: Connect, feed: Feed) -> None:
    await viewed(feed)
    async with connect(VIEWER) as clients:
        subscription, sink = await checked(clients)
    assert subscription.state is State.SKIPPED
    assert sink.state is State.PASSED


async def test_user_finds_a_subscription_without_its_topic(connect: Connect, feed: Feed) -> None:
    await viewed(feed)
    await feed.request("DELETE", f"/v1/{TOPIC}")
    async with connect(VIEWER) as clients:
        subscription, _ = await checked(clients)
    assert subscription.state is State.FAILED
    assert subscription.message == f"{SUBSCRIPTION} has no topic, because it was deleted"


async def test_sink_to_another_topic_does_not_pass_for_an_unknown_one(connect: Connect, feed: Feed) -> None:
    other = {"destination": "pubsub.googleapis.com/projects/ops/topics/other"}
    await feed.request("PATCH", f"/v2/{SINK}?updateMask=destination", other)
    async with connect(VIEWER) as clients:
        _, sink = await checked(clients)
    assert sink.state is State.SKIPPED


def feed_ready(status: str, reason: str) -> dict[str, Any]:
    """Return the condition ChangeFeedReady of a status."""
    ready = {"type": "ChangeFeedReady", "status": status, "reason": reason, "message": ""}
    return {"conditions": [ready | {"lastTransitionTime": RECEIVED}]}


def last_entry(subscription: str = SUBSCRIPTION) -> dict[str, Any]:
    """Return the state of the change feed of a status."""
    return {"changeFeed": {"subscription": subscription, "lastEntryTime": RECEIVED}}


@pytest.mark.parametrize(
    "status",
    [
        last_entry(),
        last_entry() | feed_ready("Unknown", "NoEntries"),
        last_entry() | feed_ready("False", "Lagging"),
        feed_ready("True", "Receiving"),
    ],
    ids=["an entry arrived", "before a restart", "late entries", "ready"],
)
async def test_feed_that_works_without_a_sink_of_the_project_does_not_fail(
    connect: Connect, feed: Feed, status: dict[str, Any]
) -> None:
    """A sink of the organization with includeChildren exports the entries of its projects."""
    await feed.request("DELETE", f"/v2/{SINK}")
    async with connect() as clients:
        _, sink = await checked(clients, managed(status=status))
    assert sink.state is State.SKIPPED
    assert f"project shop has no log sink that exports to {TOPIC}, but" in sink.message
    assert "gcloud logging sinks list --organization=ORGANIZATION" in sink.message


@pytest.mark.parametrize(
    "status",
    [
        last_entry() | feed_ready("False", "EntriesMissing"),
        last_entry("projects/ops/subscriptions/former"),
        {"changeFeed": {"subscription": SUBSCRIPTION}} | feed_ready("Unknown", "NoEntries"),
    ],
    ids=["missing entries", "former subscription", "no entry yet"],
)
async def test_feed_that_is_not_known_to_work_fails_without_a_sink(
    connect: Connect, feed: Feed, status: dict[str, Any]
) -> None:
    await feed.request("DELETE", f"/v2/{SINK}")
    async with connect() as clients:
        _, sink = await checked(clients, managed(status=status))
    assert sink.state is State.FAILED
    assert "gcloud logging sinks list --organization=ORGANIZATION" in sink.remedy[1]


async def test_subscription_without_its_topic_fails(connect: Connect, feed: Feed) -> None:
    await feed.request("DELETE", f"/v1/{TOPIC}")
    async with connect() as clients:
        subscription, _ = await checked(clients)
    assert subscription.state is State.FAILED
    assert subscription.message == f"{SUBSCRIPTION} has no topic, because it was deleted"


@pytest.mark.usefixtures("feed")
async def test_sink_is_not_checked_without_an_answer_of_the_api(connect: Connect, emulator: Emulator) -> None:
    emulator.faults.inject("google.pubsub.v1.Subscriber/GetSubscription", grpc.StatusCode.PERMISSION_DENIED)
    async with connect(rest=False) as clients:
        subscription, sink = await checked(clients)
    assert subscription.state is State.PASSED
    assert sink.state is State.SKIPPED


@pytest.mark.usefixtures("feed")
async def test_subscription_of_the_operator_is_known_from_the_status(connect: Connect) -> None:
    status = {"changeFeed": {"subscription": SUBSCRIPTION}}
    async with connect() as clients:
        subscription, _ = await checked(clients, managed({}, status))
        [unknown] = [
            each
            for each in await check_projects([managed({})], clients, OPERATOR)
            if each.check.endswith("change feed")
        ]
    assert subscription.state is State.PASSED
    assert unknown.state is State.SKIPPED


async def test_project_without_a_feed_or_suspended_has_no_such_check(connect: Connect) -> None:
    without = managed()
    del without["spec"]["changeFeed"]
    async with connect() as clients:
        for project in (without, managed(suspend=True)):
            results = await check_projects([project], clients, OPERATOR)
            assert not [each for each in results if "feed" in each.check or "sink" in each.check]
