"""Leader election on a fake clock."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.kube.lease import (
    NAME,
    RELEASES_WITHIN,
    Lease,
    LeaseLost,
    micro_time,
)
from cloudrun_identity.kube.resources import LEASES, Object
from tests.unit.kube.fake_api import FakeApi

pytestmark = pytest.mark.looptime

DURATION = 15.0
NAMESPACE = "cloudrun-identity"
OUTAGE = KubeError(0, "Unreachable", "no route")


def lease(api: FakeApi, identity: str, duration: float = DURATION) -> Lease:
    return Lease(api, NAMESPACE, identity=identity, duration=duration, now=fake_now)


def fake_now() -> datetime:
    return datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=clock())


def clock() -> float:
    return asyncio.get_running_loop().time()


def record(api: FakeApi) -> Object:
    spec: Object = api.objects[LEASES.plural, NAMESPACE, NAME]["spec"]
    return spec


@asynccontextmanager
async def running(work: Awaitable[Any]) -> AsyncIterator[asyncio.Future[Any]]:
    task = asyncio.ensure_future(work)
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_first_candidate_creates_the_lease(api: FakeApi) -> None:
    first = lease(api, "first")
    assert not first.is_holder
    await first.acquire()
    assert first.is_holder
    assert record(api) == {
        "holderIdentity": "first",
        "leaseDurationSeconds": 15,
        "acquireTime": "2030-01-01T00:00:00.000001Z",
        "renewTime": "2030-01-01T00:00:00.000001Z",
        "leaseTransitions": 0,
    }


async def test_duration_in_the_record_is_rounded_up(api: FakeApi) -> None:
    await lease(api, "first", duration=0.5).acquire()
    assert record(api)["leaseDurationSeconds"] == 1


async def test_standby_waits_while_the_holder_renews(api: FakeApi) -> None:
    first, second = lease(api, "first"), lease(api, "second")
    await first.acquire()
    async with running(first.hold()), running(second.acquire()) as waiting:
        await asyncio.sleep(20 * DURATION)
        assert first.is_holder
        assert not second.is_holder
        assert not waiting.done()
    assert record(api)["leaseTransitions"] == 0
    assert record(api)["acquireTime"] < record(api)["renewTime"]


async def test_standby_takes_over_after_the_duration_and_not_earlier(api: FakeApi) -> None:
    await lease(api, "first").acquire()
    await asyncio.sleep(7.0)
    second, started = lease(api, "second"), clock()
    await second.acquire()
    assert clock() - started == pytest.approx(DURATION)
    assert record(api)["holderIdentity"] == "second"
    assert record(api)["leaseTransitions"] == 1


async def test_clocks_of_machines_are_not_compared(api: FakeApi) -> None:
    """A renewTime in the past proves nothing: the clock of its writer may be wrong."""
    first = Lease(
        api, NAMESPACE, identity="first", duration=DURATION, now=lambda: fake_now() - timedelta(days=365)
    )
    await first.acquire()
    async with running(first.hold()), running(lease(api, "second").acquire()) as waiting:
        await asyncio.sleep(5 * DURATION)
        assert not waiting.done()


async def test_standby_waits_for_the_duration_in_the_record(api: FakeApi) -> None:
    await lease(api, "slow", duration=60.0).acquire()
    started = clock()
    await lease(api, "quick", duration=2.0).acquire()
    assert clock() - started >= 60.0


async def test_released_lease_is_acquired_at_once(api: FakeApi) -> None:
    first, second = lease(api, "first"), lease(api, "second")
    await first.acquire()
    async with running(second.acquire()) as waiting:
        await asyncio.sleep(1.0)
        await first.release()
        assert not first.is_holder
        assert record(api)["holderIdentity"] == ""
        async with asyncio.timeout(DURATION / 5):
            await waiting
    assert second.is_holder


async def test_release_by_a_standby_changes_nothing(api: FakeApi) -> None:
    await lease(api, "first").acquire()
    await lease(api, "second").release()
    assert record(api)["holderIdentity"] == "first"


async def test_release_during_an_outage_is_no_error(api: FakeApi) -> None:
    first = lease(api, "first")
    await first.acquire()
    api.outage = OUTAGE
    await first.release()
    assert not first.is_holder


async def test_holder_survives_a_short_outage(api: FakeApi) -> None:
    first = lease(api, "first")
    await first.acquire()
    async with running(first.hold()) as renewal:
        await asyncio.sleep(DURATION)
        api.outage = OUTAGE
        await asyncio.sleep(DURATION / 2)
        api.outage = None
        await asyncio.sleep(5 * DURATION)
        assert not renewal.done()
        assert first.is_holder


async def test_holder_loses_the_lease_in_a_long_outage(api: FakeApi) -> None:
    first = lease(api, "first")
    await first.acquire()
    api.outage, started = OUTAGE, clock()
    with pytest.raises(LeaseLost, match=r"cloudrun-identity/cloudrun-identity could not be renewed for 15s"):
        await first.hold()
    assert clock() - started == pytest.approx(DURATION)
    assert not first.is_holder


async def test_hanging_request_does_not_outlive_the_lease(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = lease(api, "first")
    await first.acquire()
    monkeypatch.setattr(api, "replace", _hang)
    started = clock()
    with pytest.raises(LeaseLost):
        await first.hold()
    assert clock() - started == pytest.approx(DURATION)


async def test_renewal_that_hangs_is_tried_again_within_the_lease(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One dead connection is no outage."""
    first = lease(api, "first")
    await first.acquire()

    monkeypatch.setattr(api, "replace", _hanging_once(api.replace))
    api.requests.clear()
    async with running(first.hold()) as renewal:
        await asyncio.sleep(5 * DURATION)
        assert not renewal.done()
        assert first.is_holder
    assert [verb for verb, _ in api.requests[:3]] == ["get", "replace", "replace"], "the write may be stored"


async def test_standby_whose_request_hangs_tries_again(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "get", _hanging_once(api.get))
    await lease(api, "first").acquire()
    assert clock() <= DURATION


async def test_holder_with_a_problem_gives_up_the_lease(api: FakeApi) -> None:
    first = lease(api, "first")
    await first.acquire()
    problems = ["", "", "no worker has become free for 300s"]
    with pytest.raises(LeaseLost, match=r"gave up lease .*: no worker has become free"):
        await first.hold(lambda: problems.pop(0))
    assert first.is_holder  # so that it can release the lease
    await first.release()
    assert record(api)["holderIdentity"] == ""


async def test_release_does_not_wait_for_a_hanging_api_server(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = lease(api, "first")
    await first.acquire()
    monkeypatch.setattr(api, "get", _hang)
    started = clock()
    await first.release()
    assert clock() - started <= RELEASES_WITHIN


async def test_lease_of_an_earlier_process_of_the_pod_is_taken_at_once(api: FakeApi) -> None:
    await lease(api, "operator-0_uid_a1").acquire()
    second = Lease(
        api,
        NAMESPACE,
        identity="operator-0_uid_b2",
        duration=DURATION,
        predecessors="operator-0_uid_",
        now=fake_now,
    )
    started = clock()
    await second.acquire()
    assert clock() == started
    assert record(api)["leaseTransitions"] == 1


async def test_writes_of_the_lease_are_reported(api: FakeApi) -> None:
    written: list[Object] = []
    first = Lease(api, NAMESPACE, identity="first", duration=DURATION, now=fake_now, on_write=written.append)
    await first.acquire()
    async with running(first.hold()):
        await asyncio.sleep(DURATION)
    versions = [int(each["metadata"]["resourceVersion"]) for each in written]
    assert len(versions) >= 3
    assert versions == sorted(versions)


async def test_paused_holder_does_not_renew_an_expired_lease(api: FakeApi) -> None:
    first = lease(api, "first")
    await first.acquire()
    await asyncio.sleep(DURATION + 1)
    assert not first.is_holder
    with pytest.raises(LeaseLost):
        await first.hold()
    assert record(api)["renewTime"] == record(api)["acquireTime"]


async def test_lease_taken_by_another_process_is_lost(api: FakeApi) -> None:
    first = lease(api, "first")
    await first.acquire()
    stored = api.objects[LEASES.plural, NAMESPACE, NAME]
    api.put(LEASES, {**stored, "spec": {**stored["spec"], "holderIdentity": "other"}})
    with pytest.raises(LeaseLost, match="was taken by other"):
        await first.hold()
    assert not first.is_holder


async def test_deleted_lease_is_created_again(api: FakeApi) -> None:
    first = lease(api, "first")
    await first.acquire()
    api.drop(LEASES, NAME, NAMESPACE)
    async with running(first.hold()):
        await asyncio.sleep(DURATION)
        assert record(api)["holderIdentity"] == "first"


async def test_renewal_is_one_request(api: FakeApi) -> None:
    first = lease(api, "first")
    await first.acquire()
    api.requests.clear()
    async with running(first.hold()):
        await asyncio.sleep(2 * DURATION)
    assert api.requests
    assert {verb for verb, _ in api.requests} == {"replace"}


async def test_renewal_with_a_lost_answer_keeps_the_lease(api: FakeApi) -> None:
    def renew_without_answer() -> None:
        stored = api.objects[LEASES.plural, NAMESPACE, NAME]
        api.put(LEASES, {**stored, "spec": {**stored["spec"], "renewTime": "2030-01-01T00:00:05.000000Z"}})

    first = lease(api, "first")
    await first.acquire()
    api.interferences = [renew_without_answer]
    async with running(first.hold()) as renewal:
        await asyncio.sleep(2 * DURATION)
        assert not renewal.done()
        assert first.is_holder


async def test_one_of_several_concurrent_candidates_acquires(api: FakeApi) -> None:
    candidates = [lease(api, identity) for identity in ("first", "second", "third")]
    async with running(asyncio.gather(*(candidate.acquire() for candidate in candidates))):
        await asyncio.sleep(DURATION / 2)
        assert [candidate.is_holder for candidate in candidates].count(True) == 1


async def test_standby_acquires_after_an_outage(api: FakeApi) -> None:
    api.outage = OUTAGE
    first = lease(api, "first")
    async with running(first.acquire()) as waiting:
        await asyncio.sleep(10 * DURATION)
        assert not waiting.done()
        api.outage = None
        await waiting
    assert first.is_holder


def test_micro_time_is_utc_with_nonzero_microseconds() -> None:
    east = timezone(timedelta(hours=2))
    assert micro_time(datetime(2030, 1, 1, 2, 0, 0, tzinfo=east)) == "2030-01-01T00:00:00.000001Z"
    assert micro_time(datetime(2030, 1, 1, 0, 0, 0, 250_000, tzinfo=UTC)) == "2030-01-01T00:00:00.250000Z"


async def _hang(*_: object) -> Object:
    await asyncio.sleep(3600)
    raise AssertionError


def _hanging_once(request: Callable[..., Awaitable[Object]]) -> Callable[..., Awaitable[Object]]:
    """Return a function that hangs once, and then does what `request` does."""
    hangs = iter([True])

    async def call(*arguments: Any) -> Object:
        if next(hangs, False):
            await _hang()
        return await request(*arguments)

    return call
