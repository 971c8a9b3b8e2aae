"""The lease on API servers."""

import asyncio

import pytest

from cloudrun_identity.kube.client import KubeClient
from cloudrun_identity.kube.lease import NAME, Lease, LeaseLost
from cloudrun_identity.kube.resources import LEASES, Object

DURATION = 1.0
TAKEN_WITHIN = 30.0
"""Seconds; the duration and a fifth is usual."""


def lease(client: KubeClient, namespace: str, identity: str, duration: float = DURATION) -> Lease:
    return Lease(client, namespace, identity=identity, duration=duration)


async def spec(client: KubeClient, namespace: str) -> Object:
    stored: Object = (await client.get(LEASES, NAME, namespace))["spec"]
    return stored


async def test_a_released_lease_goes_to_the_standby(client: KubeClient, namespace: str) -> None:
    first, second = (lease(client, namespace, name, duration=15.0) for name in ("first", "second"))
    await first.acquire()
    await first.release()
    await second.acquire()
    assert second.is_holder
    assert not first.is_holder
    stored = await spec(client, namespace)
    assert (stored["holderIdentity"], stored["leaseTransitions"]) == ("second", 1)


async def test_a_dead_holder_is_followed(client: KubeClient, namespace: str) -> None:
    await lease(client, namespace, "dead").acquire()
    heir = lease(client, namespace, "heir")
    async with asyncio.timeout(TAKEN_WITHIN):
        await heir.acquire()
    assert (await spec(client, namespace))["holderIdentity"] == "heir"


async def test_of_many_contenders_one_gets_it(client: KubeClient, namespace: str) -> None:
    contenders = [lease(client, namespace, str(number), duration=15.0) for number in range(4)]
    tasks = [asyncio.create_task(contender.acquire()) for contender in contenders]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    (holder,) = [contender for contender in contenders if contender.is_holder]
    assert (await spec(client, namespace))["holderIdentity"] == str(contenders.index(holder))


async def test_a_holder_renews_and_notices_when_it_is_robbed(client: KubeClient, namespace: str) -> None:
    first = lease(client, namespace, "first", duration=3.0)
    await first.acquire()
    begun = (await spec(client, namespace))["renewTime"]
    entry = asyncio.create_task(first.hold())
    async with asyncio.timeout(TAKEN_WITHIN):
        while (await spec(client, namespace))["renewTime"] == begun:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await client.patch(LEASES, NAME, namespace, {"spec": {"holderIdentity": "thief"}})
    with pytest.raises(LeaseLost, match="thief"):
        await entry
