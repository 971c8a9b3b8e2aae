"""Periodic resyncs on a fake clock: their times, and the objects that they enqueue."""

import asyncio
from collections.abc import AsyncIterator, Iterable

import pytest

from cloudrun_identity.api import ManagedProject
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.ratelimit import Priority, call_priority
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.manager.resync import Resync
from cloudrun_identity.reconcile.cluster_state import ObjectKey, project_key

pytestmark = pytest.mark.looptime(start=0)

PROJECT = project_key("payments-prod")
UNCHANGED, DIFFERENT = (ObjectKey("IAMBinding", "payments", name) for name in ("unchanged", "different"))


class Harness:
    """Every dependency of a resync."""

    def __init__(self) -> None:
        self.projects: dict[str, ManagedProject] = {}
        self.declare()
        self.resyncs: list[tuple[float, str]] = []
        self.drifted: set[Owner] = set()
        self.ages: list[float] = []
        self.referring = [UNCHANGED, DIFFERENT]
        self.compared: list[ObjectKey] = []
        self.different: set[ObjectKey] = {DIFFERENT}
        self.faults: set[ObjectKey] = set()
        self.enqueued: list[ObjectKey] = []
        self.error: Exception | None = None
        self.operated_elsewhere = False
        self.resyncer = Resync(self, self, self, self.enqueue)

    def declare(self, **spec: object) -> None:
        self.projects["payments-prod"] = ManagedProject.model_validate(
            {"metadata": {"name": "payments-prod"}, "spec": {"driftInterval": "100s", **spec}}
        )

    @property
    def times(self) -> list[float]:
        return [time for time, _ in self.resyncs]

    def project(self, name: str) -> ManagedProject | None:
        return self.projects.get(name)

    def operates(self, project: ManagedProject) -> bool:
        return not self.operated_elsewhere

    def referrers(self, key: ObjectKey) -> Iterable[ObjectKey]:
        assert key == PROJECT
        return self.referring

    async def resync(self, project_id: str) -> frozenset[Owner]:
        self.resyncs.append((asyncio.get_running_loop().time(), project_id))
        assert call_priority.get() is Priority.RESYNC
        if self.error:
            raise self.error
        await asyncio.sleep(1)
        return frozenset(self.drifted)

    async def differs(self, key: ObjectKey, *, max_age: float) -> bool:
        self.ages.append(max_age)
        self.compared.append(key)
        if key in self.faults:
            raise GoogleError(Fault.UNAVAILABLE, "google.Service/Method", "no")
        return key in self.different

    def enqueue(self, key: ObjectKey, priority: Priority) -> None:
        assert priority is Priority.RESYNC
        self.enqueued.append(key)


@pytest.fixture
async def harness() -> AsyncIterator[Harness]:
    harness = Harness()
    yield harness
    await harness.resyncer.close()


async def test_project_is_resynced_once_per_interval_with_jitter(harness: Harness) -> None:
    harness.resyncer.follow("payments-prod")
    await asyncio.sleep(1000)
    gaps = [after - before for before, after in zip([0.0, *harness.times], harness.times, strict=False)]
    assert len(gaps) >= 9
    assert all(70 <= gap <= 102 for gap in gaps)
    assert len(set(gaps)) > 1
    assert {project_id for _, project_id in harness.resyncs} == {"payments-prod"}


async def test_only_differing_objects_and_the_project_are_enqueued(harness: Harness) -> None:
    harness.resyncer.follow("payments-prod")
    await asyncio.sleep(105)
    assert harness.enqueued == [PROJECT, DIFFERENT]


async def test_objects_with_drifted_grants_are_enqueued(harness: Harness) -> None:
    harness.drifted = {Owner(UNCHANGED.kind, UNCHANGED.namespace, UNCHANGED.name, "uid")}
    harness.resyncer.follow("payments-prod")
    await asyncio.sleep(105)
    assert set(harness.enqueued) == {PROJECT, UNCHANGED, DIFFERENT}


async def test_object_whose_comparison_fails_is_enqueued(harness: Harness) -> None:
    harness.faults = {UNCHANGED}
    harness.resyncer.follow("payments-prod")
    await asyncio.sleep(105)
    assert UNCHANGED in harness.enqueued


async def test_comparison_reads_nothing_older_than_the_resync(harness: Harness) -> None:
    harness.resyncer.follow("payments-prod")
    await asyncio.sleep(105)
    assert harness.ages == pytest.approx([1.0, 1.0])


async def test_identities_are_compared_first(harness: Harness) -> None:
    identity = ObjectKey("CloudRunIdentity", "payments", "checkout")
    harness.referring = [UNCHANGED, identity, DIFFERENT]
    harness.resyncer.follow("payments-prod")
    await asyncio.sleep(105)
    assert harness.compared == [identity, UNCHANGED, DIFFERENT]


async def test_suspended_project_is_not_resynced(harness: Harness) -> None:
    harness.declare(suspend=True)
    harness.resyncer.follow("payments-prod")
    await asyncio.sleep(300)
    assert harness.resyncs == []
    assert harness.enqueued == []


async def test_project_of_another_operator_is_only_enqueued(harness: Harness) -> None:
    harness.operated_elsewhere = True
    harness.resyncer.follow("payments-prod")
    await asyncio.sleep(105)
    assert harness.resyncs == []
    assert harness.enqueued == [PROJECT]


async def test_failed_resync_is_followed_by_the_next(harness: Harness) -> None:
    harness.error = RuntimeError("no")
    harness.resyncer.follow("payments-prod")
    await asyncio.sleep(105)
    assert len(harness.resyncs) == 1
    harness.error = None
    await asyncio.sleep(105)
    assert DIFFERENT in harness.enqueued


async def test_changed_interval_applies_immediately(harness: Harness) -> None:
    harness.resyncer.follow("payments-prod")
    await asyncio.sleep(10)
    harness.declare(driftInterval="10s")
    harness.resyncer.follow("payments-prod")
    await asyncio.sleep(50)
    assert len(harness.resyncs) >= 4


async def test_unchanged_interval_does_not_restart_the_resync(harness: Harness) -> None:
    harness.resyncer.follow("payments-prod")
    for _ in range(30):
        await asyncio.sleep(10)
        harness.resyncer.follow("payments-prod")
    assert 2 <= len(harness.resyncs) <= 4


async def test_deleted_project_is_not_resynced(harness: Harness) -> None:
    harness.resyncer.follow("payments-prod")
    harness.projects.clear()
    harness.resyncer.follow("payments-prod")
    await asyncio.sleep(300)
    assert harness.resyncs == []
    harness.resyncer.follow("never-known")


async def test_close_stops_every_resync(harness: Harness) -> None:
    harness.resyncer.follow("payments-prod")
    await harness.resyncer.close()
    await asyncio.sleep(300)
    assert harness.resyncs == []
