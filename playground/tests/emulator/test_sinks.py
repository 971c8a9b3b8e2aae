"""Sinks, their permission to publish, and the disturbances of their export."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator

import pytest

from cloudrun_identity_playground.emulator import Emulator, Seed

from .clients import Clock
from .feeds import SINK, SUBSCRIPTION, TOPIC, Feed, feeding
from .gcloud import Gclouds, needs_gcloud_sources

POLICY = "/v1/projects/shop:setIamPolicy"
EMPTY_POLICY = {"policy": {"bindings": []}}


@pytest.fixture
async def feed(emulator: Emulator) -> AsyncIterator[Feed]:
    async with feeding(emulator) as running:
        yield running


async def test_sink_exports_entries_that_match_its_filter(feed: Feed) -> None:
    await feed.request("PATCH", f"/v2/{SINK}?updateMask=filter", {"filter": 'protoPayload.methodName:"Key"'})
    await feed.entries()
    await feed.request("POST", "/v1/projects/shop/serviceAccounts", {"accountId": "checkout"})
    account = "/v1/projects/shop/serviceAccounts/checkout@shop.iam.gserviceaccount.com"
    await feed.request("POST", f"{account}/keys", {})
    entry = await feed.entry()
    assert entry["protoPayload"]["methodName"] == "google.iam.admin.v1.CreateServiceAccountKey"


async def test_message_has_the_time_of_the_entry_as_attribute(feed: Feed) -> None:
    feed.grant("user:eve@example.com")
    [received] = await feed.pull()
    assert received.message.attributes["logging.googleapis.com/timestamp"] == "2027-01-15T08:00:00.000000Z"


async def test_sink_exports_only_entries_of_its_project(feed: Feed) -> None:
    await feed.request("POST", "/v1/projects/elsewhere:setIamPolicy", EMPTY_POLICY)
    assert await feed.entries() == []


async def test_sink_of_a_folder_includes_projects_below(clock: Clock) -> None:
    seed = Seed.model_validate(
        {"projects": [{"projectID": "shop", "parent": "folders/1"}], "folders": [{"folderID": "1"}]}
    )
    async with Emulator(clock=clock, rest_port=0, seed=seed) as emulator, feeding(emulator) as feed:
        await feed.request("DELETE", f"/v2/{SINK}")
        body = {"name": "all", "destination": f"pubsub.googleapis.com/{TOPIC}", "includeChildren": True}
        sink = await feed.request("POST", "/v2/folders/1/sinks?uniqueWriterIdentity=true", body)
        assert sink["writerIdentity"].startswith("serviceAccount:service-folder-1@gcp-sa-logging")
        added = {"role": "roles/pubsub.publisher", "member": sink["writerIdentity"]}
        feed.edit({"policy": f"//pubsub.googleapis.com/{TOPIC}", "add": [added]})
        await feed.entries()
        feed.grant("user:eve@example.com")
        assert (await feed.entry())["protoPayload"]["resourceName"] == "projects/shop"


async def test_sink_without_permission_loses_entries(feed: Feed) -> None:
    await feed.request("POST", f"/v1/{TOPIC}:setIamPolicy", EMPTY_POLICY)
    feed.grant("user:eve@example.com")
    assert await feed.entries() == []
    counts = await feed.request("GET", "/control/feed")
    assert counts["refusals"][SINK].endswith(f"may not publish to {TOPIC}")


async def test_disabled_sink_exports_nothing(feed: Feed) -> None:
    await feed.request("PATCH", f"/v2/{SINK}?updateMask=disabled", {"disabled": True})
    await feed.entries()
    feed.grant("user:eve@example.com")
    assert await feed.entries() == []


async def test_invalid_filter_and_destination_are_refused(feed: Feed) -> None:
    for change in ({"filter": "a=("}, {"destination": "kafka.example.com/topic"}):
        body = {"name": "other", "destination": f"pubsub.googleapis.com/{TOPIC}", **change}
        answer = await feed.request("POST", "/v2/projects/shop/sinks", body)
        assert answer["error"]["status"] == "INVALID_ARGUMENT"


async def test_delayed_entry_arrives_after_the_delay(feed: Feed, clock: Clock) -> None:
    feed.emulator.switches.update({"sinkDelay": "60s"})
    feed.grant("user:eve@example.com")
    clock.advance(59)
    assert await feed.entries() == []
    clock.advance(2)
    assert len(await feed.entries()) == 1


async def test_duplicated_entries_have_the_same_insert_id(feed: Feed) -> None:
    feed.emulator.switches.update({"sinkDuplication": 1})
    feed.grant("user:eve@example.com")
    first, second = await feed.entries()
    assert first == second


async def test_lost_entries_do_not_arrive(feed: Feed) -> None:
    feed.emulator.switches.update({"sinkLoss": 1})
    feed.grant("user:eve@example.com")
    assert await feed.entries() == []
    assert (await feed.request("GET", "/control/feed"))["lost"] == 1


async def test_reordered_entries_change_their_order(feed: Feed, clock: Clock) -> None:
    feed.emulator.switches.update({"sinkReordering": "60s"})
    members = [f"user:eve{number}@example.com" for number in range(20)]
    for member in members:
        feed.grant(member)
    clock.advance(61)
    deltas = [
        entry["protoPayload"]["serviceData"]["policyDelta"]["bindingDeltas"][0]["member"]
        for entry in await feed.entries()
    ]
    assert sorted(deltas) == sorted(members)
    assert deltas != members


async def test_stopped_sinks_hold_entries_back(feed: Feed) -> None:
    feed.emulator.switches.update({"sinkStopped": True})
    feed.grant("user:eve@example.com")
    assert await feed.entries() == []
    assert (await feed.request("GET", "/control/feed"))["held"] == 1
    feed.emulator.switches.update({"sinkStopped": False})
    assert len(await feed.entries()) == 1


async def test_malformed_messages_and_a_backlog_can_be_injected(feed: Feed) -> None:
    await feed.request("POST", "/control/feed", {"malformed": 3, "backlog": 1500})
    assert (await feed.request("GET", "/control/feed"))["backlog"] == {SUBSCRIPTION: 1503}
    broken = [received.message.data for received in await feed.pull(3)]
    assert broken == [b"\xff\xfe", b"", b"no JSON"]
    ids = {entry["insertId"] for entry in await feed.entries()}
    assert len(ids) == 100


async def test_injected_entry_arrives_as_it_is(feed: Feed) -> None:
    entry = {"protoPayload": {"methodName": "later.v9.Method"}, "insertId": "one"}
    await feed.request("POST", "/control/feed", {"entry": entry, "times": 3})
    first, *others = await feed.entries()
    assert first == entry
    assert len({each["insertId"] for each in others} | {"one"}) == 3


async def test_call_is_not_rendered_without_a_sink(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("an entry was built")

    monkeypatch.setattr("cloudrun_identity_playground.emulator.audit_log.log.entry_of", never)
    added = {"role": "roles/viewer", "member": "user:eve@example.com"}
    emulator.edit({"policy": "//cloudresourcemanager.googleapis.com/projects/shop", "add": [added]})


async def test_log_keeps_fewer_entries_of_large_policies(emulator: Emulator) -> None:
    url = "//cloudresourcemanager.googleapis.com/projects/shop"
    members = [{"role": "roles/viewer", "member": f"user:eve{number}@example.com"} for number in range(1400)]
    emulator.edit({"policy": url, "add": members})
    for number in range(80):
        added = {"role": "roles/browser", "member": f"user:ann{number}@example.com"}
        emulator.edit({"policy": url, "add": [added]})
    assert 50 < len([*emulator.cloud.audit_log.entries()]) < 80


DESTINATION = f"pubsub.googleapis.com/{TOPIC}"
COMMANDS = f"""
pubsub topics create changes --project=ops
pubsub topics list --project=ops --format=value(name)
pubsub subscriptions create changes --project=ops --topic=changes --ack-deadline=30
pubsub subscriptions describe changes --project=ops
logging sinks create changes {DESTINATION} --log-filter=protoPayload.methodName:SetIam
logging sinks list
logging sinks update changes --log-filter=protoPayload.methodName:Set
logging sinks describe changes --format=value(writerIdentity) > writer
pubsub topics add-iam-policy-binding changes --project=ops --member=WRITER --role=roles/pubsub.publisher
projects add-iam-policy-binding shop --member=user:ann@example.com --role=roles/viewer
pubsub subscriptions pull changes --project=ops --limit=5 --format=json > pulled
pubsub subscriptions pull changes --project=ops --auto-ack
logging read protoPayload.methodName=SetIamPolicy --limit=1 --format=json > read
pubsub subscriptions seek changes --project=ops --time=2030-01-01T00:00:00Z
pubsub topics publish changes --project=ops --message=hello
logging sinks delete changes
pubsub subscriptions delete changes --project=ops
pubsub topics delete changes --project=ops
"""


@pytest.mark.slow
@needs_gcloud_sources
async def test_gcloud_sets_up_and_reads_a_feed(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("gcloud")
    async with (
        Emulator(rest_port=0, proxy_port=0) as emulator,
        Gclouds.started(emulator, directory) as gcloud,
    ):
        for command in COMMANDS.strip().splitlines():
            writer = (directory / "writer").read_text().strip() if "WRITER" in command else ""
            result = await gcloud(command.replace("WRITER", writer))
            assert result.code == 0, f"{command}\n{result.errors}"
    [pulled] = json.loads((directory / "pulled").read_text())
    [read] = json.loads((directory / "read").read_text())
    assert json.loads(base64.b64decode(pulled["message"]["data"])) == read
    assert "command/gcloud.projects" in read["protoPayload"]["requestMetadata"]["callerSuppliedUserAgent"]
