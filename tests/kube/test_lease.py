"""Leader election on API servers."""

import asyncio

import pytest

from cloudrun_identity.kube.client import KubeClient
from cloudrun_identity.kube.lease import NAME, Lease, LeaseLost
from cloudrun_identity.kube.resources import LEASES, Object
from tests.time_budget import time_budget

DURATION = 1.0


def lease(client: KubeClient, namespace: str, identity: str, duration: float = DURATION) -> Lease:
    return Lease(client, namespace, identity=identity, duration=duration)


async def spec(client: KubeClient, namespace: str) -> Object:
    stored: Object = (await client.get(LEASES, NAME, namespace))["spec"]
    return stored


async def test_standby_acquires_a_released_lease(client: KubeClient, namespace: str) -> None:
    first, second = (lease(client, namespace, name, duration=15.0) for name in ("first", "second"))
    await first.acquire()
    await first.release()
    await second.acquire()
    assert second.is_holder
    assert not first.is_holder
    stored = await spec(client, namespace)
    assert (stored["holderIdentity"], stored["leaseTransitions"]) == ("second", 1)


async def test_standby_acquires_an_expired_lease(client: KubeClient, namespace: str) -> None:
    await lease(client, namespace, "stopped").acquire()
    standby = lease(client, namespace, "standby")
    async with time_budget():
        await standby.acquire()
    assert (await spec(client, namespace))["holderIdentity"] == "standby"


async def test_one_of_many_candidates_acquires_the_lease(client: KubeClient, namespace: str) -> None:
    candidates = [lease(client, namespace, str(number), duration=15.0) for number in range(4)]
    tasks = [asyncio.create_task(candidate.acquire()) for candidate in candidates]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    (holder,) = [candidate for candidate in candidates if candidate.is_holder]
    assert (await spec(client, namespace))["holderIdentity"] == str(candidates.index(holder))


async def test_holder_renews_until_another_takes_the_lease(client: KubeClient, namespace: str) -> None:
    first = lease(client, namespace, "first", duration=6.0)
    await first.acquire()
    started = (await spec(client, namespace))["renewTime"]
    renewal = asyncio.create_task(first.hold())
    async with time_budget():
        while (await spec(client, namespace))["renewTime"] == started:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await client.patch(LEASES, NAME, namespace, {"spec": {"holderIdentity": "other"}})
    with pytest.raises(LeaseLost, match="other"):
        await renewal
