"""The lease on a fake clock: who acts when, and who stops in time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.kube.lease import NAME, Lease, LeaseLost, micro_time
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


async def test_the_first_one_creates_the_lease(api: FakeApi) -> None:
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


async def test_fractions_of_a_second_are_promised_as_whole_ones(api: FakeApi) -> None:
    await lease(api, "first", duration=0.5).acquire()
    assert record(api)["leaseDurationSeconds"] == 1


async def test_a_holder_stays_the_holder_and_a_standby_waits(api: FakeApi) -> None:
    first, second = lease(api, "first"), lease(api, "second")
    await first.acquire()
    async with running(first.hold()), running(second.acquire()) as waiting:
        await asyncio.sleep(20 * DURATION)
        assert first.is_holder
        assert not second.is_holder
        assert not waiting.done()
    assert record(api)["leaseTransitions"] == 0
    assert record(api)["acquireTime"] < record(api)["renewTime"]


async def test_a_dead_holder_is_followed_after_its_duration_and_not_before(api: FakeApi) -> None:
    await lease(api, "first").acquire()
    await asyncio.sleep(7.0)
    second, begun = lease(api, "second"), clock()
    await second.acquire()
    assert DURATION <= clock() - begun <= DURATION + DURATION / 5
    assert record(api)["holderIdentity"] == "second"
    assert record(api)["leaseTransitions"] == 1


async def test_clocks_of_machines_are_never_compared(api: FakeApi) -> None:
    """A renewTime of last year says nothing: its writer's clock may just be wrong."""
    first = Lease(
        api, NAMESPACE, identity="first", duration=DURATION, now=lambda: fake_now() - timedelta(days=365)
    )
    await first.acquire()
    async with running(first.hold()), running(lease(api, "second").acquire()) as waiting:
        await asyncio.sleep(5 * DURATION)
        assert not waiting.done()


async def test_a_standby_trusts_the_duration_that_the_holder_promised(api: FakeApi) -> None:
    await lease(api, "slow", duration=60.0).acquire()
    begun = clock()
    await lease(api, "quick", duration=2.0).acquire()
    assert clock() - begun >= 60.0


async def test_a_released_lease_is_taken_at_once(api: FakeApi) -> None:
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


async def test_releasing_what_another_holds_changes_nothing(api: FakeApi) -> None:
    await lease(api, "first").acquire()
    await lease(api, "second").release()
    assert record(api)["holderIdentity"] == "first"


async def test_a_release_during_an_outage_is_no_error(api: FakeApi) -> None:
    first = lease(api, "first")
    await first.acquire()
    api.outage = OUTAGE
    await first.release()
    assert not first.is_holder


async def test_a_short_outage_is_borne_with(api: FakeApi) -> None:
    first = lease(api, "first")
    await first.acquire()
    async with running(first.hold()) as entry:
        await asyncio.sleep(DURATION)
        api.outage = OUTAGE
        await asyncio.sleep(DURATION / 2)
        api.outage = None
        await asyncio.sleep(5 * DURATION)
        assert not entry.done()
        assert first.is_holder


async def test_a_long_outage_ends_it_when_the_duration_has_passed(api: FakeApi) -> None:
    first = lease(api, "first")
    await first.acquire()
    api.outage, begun = OUTAGE, clock()
    with pytest.raises(LeaseLost, match=r"cloudrun-identity/cloudrun-identity could not be renewed for 15s"):
        await first.hold()
    assert clock() - begun == pytest.approx(DURATION)
    assert not first.is_holder


async def test_a_request_that_hangs_does_not_outlive_the_lease(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: object) -> Object:
        await asyncio.sleep(3600)
        raise AssertionError

    first = lease(api, "first")
    await first.acquire()
    monkeypatch.setattr(api, "get", hang)
    begun = clock()
    with pytest.raises(LeaseLost):
        await first.hold()
    assert clock() - begun == pytest.approx(DURATION)


async def test_a_holder_that_was_frozen_does_not_renew_a_lease_that_ran_out(api: FakeApi) -> None:
    first = lease(api, "first")
    await first.acquire()
    await asyncio.sleep(DURATION + 1)
    assert not first.is_holder
    with pytest.raises(LeaseLost):
        await first.hold()
    assert record(api)["renewTime"] == record(api)["acquireTime"]


async def test_a_lease_that_another_took_is_lost_and_names_the_taker(api: FakeApi) -> None:
    first = lease(api, "first")
    await first.acquire()
    stored = api.objects[LEASES.plural, NAMESPACE, NAME]
    api.put(LEASES, {**stored, "spec": {**stored["spec"], "holderIdentity": "thief"}})
    with pytest.raises(LeaseLost, match="was taken by thief"):
        await first.hold()
    assert not first.is_holder


async def test_a_deleted_lease_is_created_anew(api: FakeApi) -> None:
    first = lease(api, "first")
    await first.acquire()
    api.drop(LEASES, NAME, NAMESPACE)
    async with running(first.hold()):
        await asyncio.sleep(DURATION)
        assert record(api)["holderIdentity"] == "first"


async def test_a_write_whose_answer_was_lost_is_no_loss(api: FakeApi) -> None:
    def renew_behind_our_back() -> None:
        stored = api.objects[LEASES.plural, NAMESPACE, NAME]
        api.put(LEASES, {**stored, "spec": {**stored["spec"], "renewTime": "2030-01-01T00:00:05.000000Z"}})

    first = lease(api, "first")
    await first.acquire()
    api.interferences = [renew_behind_our_back]
    async with running(first.hold()) as entry:
        await asyncio.sleep(2 * DURATION)
        assert not entry.done()
        assert first.is_holder


async def test_of_two_that_come_at_once_one_waits(api: FakeApi) -> None:
    contenders = [lease(api, identity) for identity in ("first", "second", "third")]
    async with running(asyncio.gather(*(contender.acquire() for contender in contenders))):
        await asyncio.sleep(DURATION / 2)
        assert [contender.is_holder for contender in contenders].count(True) == 1


async def test_a_standby_outlasts_an_outage(api: FakeApi) -> None:
    api.outage = OUTAGE
    first = lease(api, "first")
    async with running(first.acquire()) as waiting:
        await asyncio.sleep(10 * DURATION)
        assert not waiting.done()
        api.outage = None
        await waiting
    assert first.is_holder


def test_a_micro_time_is_utc_and_never_without_microseconds() -> None:
    east = timezone(timedelta(hours=2))
    assert micro_time(datetime(2030, 1, 1, 2, 0, 0, tzinfo=east)) == "2030-01-01T00:00:00.000001Z"
    assert micro_time(datetime(2030, 1, 1, 0, 0, 0, 250_000, tzinfo=UTC)) == "2030-01-01T00:00:00.250000Z"
