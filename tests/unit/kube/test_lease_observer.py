"""Leases of other processes, judged by the observer's own clock."""

import pytest

from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.kube.lease_observer import (
    DEFAULT_DURATION,
    GRACE,
    READ_INTERVAL,
    LeaseObserver,
    LeaseState,
)
from cloudrun_identity.kube.resources import LEASES, Object

from .fake_api import FakeApi


class Harness:
    """An observer of the Lease `first/cloudrun-identity`, with a clock that the test sets."""

    def __init__(self) -> None:
        self.api = FakeApi()
        self.now = 0.0
        self.observer = LeaseObserver(self.api, lambda: self.now)

    def renew(self, time: str, holder: str = "pod-a", **spec: object) -> None:
        lease: Object = {
            "metadata": {"name": "cloudrun-identity", "namespace": "first"},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": 10, "renewTime": time, **spec},
        }
        self.api.put(LEASES, lease)

    async def state(self, after: float = 0.0) -> LeaseState:
        self.now += after
        return (await self.observer.observe("first", "cloudrun-identity")).state


@pytest.fixture
def harness() -> Harness:
    return Harness()


async def test_old_renew_time_alone_does_not_end_a_lease(harness: Harness) -> None:
    harness.renew("2020-01-01T00:00:00.000001Z")
    assert await harness.state() is LeaseState.RENEWED


async def test_lease_does_not_end_before_a_standby_has_taken_over(harness: Harness) -> None:
    """A standby acquires the Lease of a dead leader about a second after it has expired."""
    harness.renew("1")
    await harness.state()
    assert await harness.state(after=10.5) is LeaseState.RENEWED
    harness.renew("2", holder="pod-b")
    assert await harness.state(after=10) is LeaseState.RENEWED


async def test_lease_ends_when_it_has_not_changed_for_two_durations(harness: Harness) -> None:
    harness.renew("1")
    assert await harness.state() is LeaseState.RENEWED
    assert await harness.state(after=19.9) is LeaseState.RENEWED
    assert await harness.state(after=READ_INTERVAL) is LeaseState.ENDED


async def test_lease_that_is_renewed_late_does_not_end_between_two_reads(harness: Harness) -> None:
    harness.renew("1")
    await harness.state()
    assert await harness.state(after=19.5) is LeaseState.RENEWED
    harness.renew("2")
    assert await harness.state(after=1) is LeaseState.RENEWED
    assert await harness.state(after=1) is LeaseState.RENEWED


async def test_renewal_starts_the_duration_again(harness: Harness) -> None:
    harness.renew("1")
    await harness.state()
    harness.renew("2")
    assert await harness.state(after=19) is LeaseState.RENEWED
    assert await harness.state(after=19) is LeaseState.RENEWED
    assert await harness.state(after=2) is LeaseState.ENDED


async def test_released_lease_ends_after_two_durations(harness: Harness) -> None:
    """A rolling update releases the Lease, and its next holder must have time to start."""
    harness.renew("1", holder="")
    assert await harness.state() is LeaseState.RENEWED
    assert await harness.state(after=21) is LeaseState.ENDED


async def test_absent_lease_ends_after_two_default_durations(harness: Harness) -> None:
    assert await harness.state() is LeaseState.RENEWED
    assert await harness.state(after=GRACE * DEFAULT_DURATION) is LeaseState.ENDED
    harness.renew("1")
    assert await harness.state(after=READ_INTERVAL) is LeaseState.RENEWED


async def test_unreadable_lease_is_unknown_however_long(harness: Harness) -> None:
    harness.api.outage = KubeError(403, "Forbidden", "leases is forbidden")
    assert await harness.state() is LeaseState.UNKNOWN
    assert await harness.state(after=1000) is LeaseState.UNKNOWN
    observed = await harness.observer.observe("first", "cloudrun-identity")
    assert "forbidden" in observed.problem


async def test_lease_is_read_once_for_many_projects(harness: Harness) -> None:
    harness.renew("1")
    for _ in range(5):
        await harness.state()
    assert len(harness.api.requests) == 1
