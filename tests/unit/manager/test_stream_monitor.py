"""The monitor of the watches on a fake clock: lists, the Lease, and a restored API server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import pytest

from cloudrun_identity.kube.errors import KubeError, OlderVersion
from cloudrun_identity.kube.resources import NAMESPACES, Listing, Object, Resource
from cloudrun_identity.manager.stream_monitor import (
    CHECK_INTERVAL,
    DELIVERS_WITHIN,
    GRACE,
    SILENT_AFTER,
    StreamMonitor,
)
from cloudrun_identity.manager.watched_versions import WatchedVersions
from cloudrun_identity.manager.watches import Progress, WatchLost

pytestmark = pytest.mark.looptime(start=0)

LEASE_DURATION = 15.0

Form = TypeVar("Form")


class Server:
    """The objects that a list shows."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self.lists: list[float] = []
        self.outage: KubeError | None = None
        self.before_reply: Callable[[], None] = lambda: None

    def put(self, name: str, version: int, uid: str = "uid") -> Object:
        raw: Object = {"metadata": {"name": name, "uid": f"{name}-{uid}", "resourceVersion": str(version)}}
        self.objects[name] = raw
        return raw

    async def list_metadata(self, resource: Resource, form: Callable[[Object], Form]) -> list[Form]:
        assert resource is NAMESPACES
        self.lists.append(clock())
        if self.outage:
            raise self.outage
        self.before_reply()
        return list(map(form, self.objects.values()))


def clock() -> float:
    return asyncio.get_running_loop().time()


def lease(version: int) -> Object:
    return {"metadata": {"name": "cloudrun-identity", "resourceVersion": str(version)}}


class Harness:
    def __init__(self) -> None:
        self.server = Server()
        self.monitor = StreamMonitor(
            self.server, {NAMESPACES: WatchedVersions(Listing([], "1"))}, lease_duration=LEASE_DURATION
        )

    def deliver(self, raw: Object, *, deleted: bool = False) -> None:
        self.monitor.delivered(NAMESPACES, raw, deleted=deleted)

    def progress(self, progress: Progress) -> None:
        self.monitor.progressed(NAMESPACES, progress)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["asyncio.Task[None]"]:
        task: asyncio.Task[None] = asyncio.create_task(self.monitor.run())
        yield task
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def lost(self) -> str:
        """Return why a watch is lost."""
        async with asyncio.timeout(3600):
            with pytest.raises(WatchLost) as raised:
                await self.monitor.run()
        return str(raised.value)


@pytest.fixture
async def harness() -> Harness:
    return Harness()


async def test_silence_without_changes_is_accepted(harness: Harness) -> None:
    harness.deliver(harness.server.put("payments", 1))
    async with harness.running() as monitor:
        await asyncio.sleep(10 * DELIVERS_WITHIN)
        assert not monitor.done()
    assert len(harness.server.lists) >= 10


async def test_watch_with_bookmarks_is_rarely_compared_with_a_list(harness: Harness) -> None:
    harness.deliver(harness.server.put("payments", 1))
    async with harness.running() as monitor:
        for _ in range(59):
            await asyncio.sleep(60.0)
            harness.progress(Progress.CURRENT)
        assert not monitor.done()
    assert harness.server.lists == [number * CHECK_INTERVAL for number in range(1, 6)]


async def test_missed_change_of_a_watch_with_bookmarks_is_noticed(harness: Harness) -> None:
    harness.deliver(harness.server.put("payments", 1))
    others = asyncio.create_task(_repeated(lambda: harness.progress(Progress.CURRENT)))
    harness.server.put("payments", 2)  # the cache of the API server is behind etcd
    assert "silent about changes of payments" in await harness.lost()
    others.cancel()
    assert clock() <= CHECK_INTERVAL + GRACE


async def test_deletion_that_a_new_list_hides_is_noticed_at_once(harness: Harness) -> None:
    harness.deliver(harness.server.put("payments", 1))
    harness.server.objects.clear()
    harness.deliver(harness.server.put("shop", 2))
    harness.progress(Progress.LISTED)
    assert "silent about changes of payments" in await harness.lost()
    assert clock() <= GRACE


async def test_change_that_a_lost_connection_hides_is_noticed_in_time(harness: Harness) -> None:
    harness.deliver(harness.server.put("payments", 9))
    harness.server.put("shop", 5)  # the API server was restored from a backup, and has not reached 9 yet
    harness.progress(Progress.RESUMED)
    others = asyncio.create_task(_repeated(lambda: harness.progress(Progress.CURRENT)))
    assert "silent about changes of shop" in await harness.lost()
    others.cancel()
    assert clock() <= DELIVERS_WITHIN


async def test_connection_that_is_lost_again_and_again_is_compared_rarely(harness: Harness) -> None:
    async with harness.running():
        for _ in range(60):
            harness.progress(Progress.RESUMED)
            await asyncio.sleep(10.0)
    assert len(harness.server.lists) <= 600.0 / SILENT_AFTER


async def test_comparison_that_failed_is_repeated(harness: Harness) -> None:
    harness.deliver(harness.server.put("payments", 1))
    harness.server.put("payments", 2)
    harness.server.outage = KubeError(503, "ServiceUnavailable", "starting")
    harness.progress(Progress.LISTED)
    others = asyncio.create_task(_repeated(lambda: harness.progress(Progress.CURRENT)))
    async with harness.running():
        await asyncio.sleep(1.0)
    harness.server.outage = None
    harness.progress(Progress.CURRENT)
    assert "silent about changes of payments" in await harness.lost()
    others.cancel()
    assert clock() <= 2 * DELIVERS_WITHIN


async def test_each_new_list_is_compared(harness: Harness) -> None:
    async with harness.running():
        for _ in range(3):
            harness.progress(Progress.LISTED)
            await asyncio.sleep(1.0)
    assert len(harness.server.lists) == 3


async def test_missed_deletion_of_a_busy_watch_is_noticed(harness: Harness) -> None:
    harness.deliver(harness.server.put("payments", 1))
    versions = iter(range(2, 10_000))
    others = asyncio.create_task(
        _repeated(lambda: harness.deliver(harness.server.put("shop", next(versions))))
    )
    harness.server.objects.clear()
    assert "silent about changes of payments" in await harness.lost()
    others.cancel()
    assert clock() <= CHECK_INTERVAL + GRACE


async def _repeated(action: Callable[[], None]) -> None:
    while True:
        action()
        await asyncio.sleep(1.0)


@pytest.mark.parametrize("change", ["new", "changed", "deleted", "recreated"])
async def test_undelivered_change_is_noticed_in_time(harness: Harness, change: str) -> None:
    harness.deliver(harness.server.put("payments", 1))
    match change:
        case "new":
            harness.server.put("shop", 2)
        case "changed":
            harness.server.put("payments", 2)
        case "recreated":
            harness.server.put("payments", 3, uid="other")
        case _:
            harness.server.objects.clear()

    assert "the watch of namespaces is silent about changes of" in await harness.lost()

    assert clock() <= DELIVERS_WITHIN


async def test_change_that_is_delivered_after_the_list_is_accepted(harness: Harness) -> None:
    harness.deliver(harness.server.put("payments", 1))
    harness.deliver(harness.server.put("shop", 2))
    changed = harness.server.put("payments", 3)
    gone = harness.server.objects.pop("shop")
    async with harness.running() as monitor:
        await asyncio.sleep(SILENT_AFTER + 2)
        harness.deliver(changed)
        harness.deliver(gone, deleted=True)
        await asyncio.sleep(3 * DELIVERS_WITHIN)
        assert not monitor.done()


async def test_event_that_overtakes_the_list_is_accepted(harness: Harness) -> None:
    harness.deliver(harness.server.put("payments", 1))
    newer: Object = {"metadata": {"name": "payments", "uid": "payments-uid", "resourceVersion": "2"}}
    harness.server.before_reply = lambda: harness.deliver(newer)
    async with harness.running() as monitor:
        await asyncio.sleep(SILENT_AFTER + 2)
        assert not monitor.done()


async def test_outage_of_the_api_server_is_no_lost_watch(harness: Harness) -> None:
    harness.server.outage = KubeError(0, "Unreachable", "no route")
    async with harness.running() as monitor:
        await asyncio.sleep(5 * DELIVERS_WITHIN)
        assert not monitor.done()


async def test_older_version_in_a_list_shows_a_restored_backup(harness: Harness) -> None:
    harness.deliver(harness.server.put("payments", 9))
    harness.server.put("payments", 5)
    assert "namespaces payments in an older version than before" in await harness.lost()


async def test_renewal_that_does_not_come_back_is_noticed(harness: Harness) -> None:
    harness.monitor.lease_delivered(lease(1))
    harness.monitor.lease_written(lease(2))
    assert "a renewal of the Lease is missing" in await harness.lost()
    assert clock() <= LEASE_DURATION + 2


async def test_renewals_that_come_back_are_accepted(harness: Harness) -> None:
    async with harness.running() as monitor:
        for version in range(1, 60):
            harness.monitor.lease_written(lease(version))
            await asyncio.sleep(LEASE_DURATION / 3)
            harness.monitor.lease_delivered(lease(version))
        assert not monitor.done()


async def test_lease_that_may_not_be_watched_is_no_lost_watch(harness: Harness) -> None:
    async with harness.running() as monitor:
        for version in range(1, 30):
            harness.monitor.lease_written(lease(version))
            await asyncio.sleep(LEASE_DURATION / 3)
        assert not monitor.done()


async def test_lower_version_of_the_lease_shows_a_restored_backup(harness: Harness) -> None:
    harness.monitor.lease_written(lease(9))
    harness.monitor.lease_written(lease(5))
    assert "the Lease in an older version than before" in await harness.lost()
    assert clock() <= 1.0


async def test_older_version_in_a_new_list_shows_a_restored_backup(harness: Harness) -> None:
    harness.deliver(harness.server.put("payments", 9))
    harness.deliver(harness.server.put("payments", 5))  # as after `etcdutl snapshot restore --bump-revision`
    assert "namespaces payments in an older version than before" in await harness.lost()
    assert clock() <= 1.0


async def test_older_version_in_a_read_shows_a_restored_backup(harness: Harness) -> None:
    harness.monitor.older_version_read(OlderVersion("namespaces payments"))
    assert "namespaces payments in an older version than before" in await harness.lost()
    assert clock() <= 1.0


async def test_object_that_was_created_again_shows_no_restored_backup(harness: Harness) -> None:
    harness.deliver(harness.server.put("payments", 9))
    harness.deliver(harness.server.put("payments", 5, uid="another"))
    async with harness.running() as monitor:
        await asyncio.sleep(DELIVERS_WITHIN)
        assert not monitor.done()
