"""Watches: events, versions, and the end of a watch."""

import asyncio

from playground.tests.kubeapi.http import TABLE
from playground.tests.kubeapi.widgets import Widgets, widget
from tests.time_budget import time_budget

ELSEWHERE = "/apis/contract.test/v1/namespaces/default/widgets"


async def latest(widgets: Widgets) -> str:
    return (await widgets.api.get(widgets.path)).version


async def test_watch_returns_changes_after_its_version(widgets: Widgets) -> None:
    await widgets.create("before")
    version = await latest(widgets)

    async with widgets.api.watch(widgets.path, resourceVersion=version) as watched:
        await widgets.create("a")
        await widgets.api.merge(widgets.at("a"), {"spec": {"size": 2}})
        await widgets.api.delete(widgets.at("a"))

        assert await watched.take(3) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]


async def test_watch_resumes_over_missed_events_in_order(widgets: Widgets) -> None:
    await widgets.create()
    version = await latest(widgets)
    for size in (2, 4, 5):
        await widgets.api.merge(widgets.at("a"), {"spec": {"size": size}})

    async with widgets.api.watch(widgets.path, resourceVersion=version) as watched:
        events = [await watched.next() for _ in range(3)]

    assert [event["object"]["spec"]["size"] for event in events if event is not None] == [2, 4, 5]


async def test_watch_without_version_starts_with_existing_objects(widgets: Widgets) -> None:
    await widgets.create("a")
    await widgets.create("b")

    async with widgets.api.watch(widgets.path) as watched:
        assert set(await watched.take(2)) == {("ADDED", "a"), ("ADDED", "b")}


async def test_deleted_event_has_the_version_of_the_deletion(widgets: Widgets) -> None:
    created = await widgets.create()

    async with widgets.api.watch(
        widgets.path, resourceVersion=created["metadata"]["resourceVersion"]
    ) as watched:
        await widgets.api.delete(widgets.at("a"))
        event = await watched.next()

    assert event is not None
    assert event["type"] == "DELETED"
    assert int(event["object"]["metadata"]["resourceVersion"]) > int(created["metadata"]["resourceVersion"])


async def test_leaving_and_entering_a_selection_is_delete_and_add(widgets: Widgets) -> None:
    await widgets.create("a", metadata={"labels": {"app": "x"}})
    await widgets.create("b")
    version = await latest(widgets)

    async with widgets.api.watch(widgets.path, resourceVersion=version, labelSelector="app=x") as watched:
        await widgets.api.merge(widgets.at("b"), {"spec": {"size": 2}})
        await widgets.api.merge(widgets.at("a"), {"metadata": {"labels": {"app": "y"}}})
        await widgets.api.merge(widgets.at("b"), {"metadata": {"labels": {"app": "x"}}})

        assert await watched.take(2) == [("DELETED", "a"), ("ADDED", "b")]


async def test_watch_of_a_namespace_returns_its_objects_only(widgets: Widgets) -> None:
    version = await latest(widgets)

    async with widgets.api.watch(widgets.path, resourceVersion=version) as watched:
        await widgets.api.post(ELSEWHERE, widget("foreign"))
        await widgets.create("own")

        assert await watched.take(1) == [("ADDED", "own")]

    await widgets.api.delete(f"{ELSEWHERE}/foreign")


async def test_watch_of_one_object_returns_its_changes(widgets: Widgets) -> None:
    version = await latest(widgets)

    async with widgets.api.watch(
        widgets.path, resourceVersion=version, fieldSelector="metadata.name=b"
    ) as watched:
        await widgets.create("a")
        await widgets.create("b")

        assert await watched.take(1) == [("ADDED", "b")]


async def test_watch_ends_after_its_timeout(widgets: Widgets) -> None:
    version = await latest(widgets)

    async with widgets.api.watch(widgets.path, resourceVersion=version, timeoutSeconds="1") as watched:
        assert await watched.next() is None


async def test_watch_ends_with_a_bookmark_if_allowed(widgets: Widgets) -> None:
    """A kube-apiserver sends only bookmarks that are newer than the version after which the watch began."""
    version = await latest(widgets)
    await widgets.api.post(ELSEWHERE, widget("foreign"))

    async with widgets.api.watch(
        widgets.path, resourceVersion=version, timeoutSeconds="4", allowWatchBookmarks="true"
    ) as watched:
        event = await watched.next()

    assert event is not None
    assert event["type"] == "BOOKMARK"
    assert event["object"]["kind"] == "Widget"
    assert int(event["object"]["metadata"]["resourceVersion"]) > int(version)
    await widgets.api.delete(f"{ELSEWHERE}/foreign")


async def test_table_watch_describes_its_columns_once(widgets: Widgets) -> None:
    version = await latest(widgets)

    async with widgets.api.watch(widgets.path, resourceVersion=version, accept=TABLE) as watched:
        await widgets.create("a")
        await widgets.create("b")
        first, second = await watched.next(), await watched.next()

    assert first is not None
    assert second is not None
    assert first["object"]["columnDefinitions"][0]["name"] == "Name"
    assert not second["object"].get("columnDefinitions")
    assert second["object"]["rows"][0]["cells"][0] == "b"


async def test_streaming_list_is_refused_without_required_options(widgets: Widgets) -> None:
    refused = await widgets.api.get(widgets.path, watch="true", sendInitialEvents="true")

    assert (refused.code, refused.reason) == (422, "Invalid")


async def test_many_watchers_see_every_event(widgets: Widgets) -> None:
    version = await latest(widgets)

    async def follow() -> list[tuple[str, str]]:
        async with widgets.api.watch(widgets.path, resourceVersion=version) as watched:
            return await watched.take(30)

    async with time_budget():
        followers = [asyncio.create_task(follow()) for _ in range(8)]
        for number in range(30):
            await widgets.create(f"w{number:02}")
        seen = await asyncio.gather(*followers)

    assert all(events == [("ADDED", f"w{number:02}") for number in range(30)] for events in seen)
