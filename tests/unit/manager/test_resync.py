"""Periodic resyncs on a fake clock: their times, and the objects that they enqueue."""

import asyncio
from collections.abc import AsyncIterator, Iterable

import pytest

from cloudrun_identity.api import ManagedProject
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.ratelimit import Priority, call_priority
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.manager.resync import FULL_INTERVAL, Resync
from cloudrun_identity.manager.role_watch import RolesRead
from cloudrun_identity.policy.results import ResyncResult
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
        self.on_policies_alone: set[ObjectKey] = set()
        self.changed_roles = False
        self.roles_take = 0.0
        self.noted: list[RolesRead] = []
        self.failing_objects: set[ObjectKey] = set()
        self.comparison_takes = 0.0
        self.failing_policies = False
        self.priorities: dict[ObjectKey, Priority] = {}
        self.times_enqueued: dict[ObjectKey, float] = {}
        self.resyncer = Resync(self, self, self, self, self.enqueue)
        for key in self.referring:
            self.resyncer.observe(key)

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

    async def resync(self, project_id: str) -> ResyncResult:
        self.resyncs.append((asyncio.get_running_loop().time(), project_id))
        assert call_priority.get() is Priority.RESYNC
        if self.error:
            raise self.error
        await asyncio.sleep(1)
        return ResyncResult(frozenset(self.drifted), self.failing_policies)

    async def read(self, project_id: str, max_age: float) -> RolesRead:
        await asyncio.sleep(self.roles_take)
        return RolesRead(project_id, {}, self.changed_roles)

    def note_compared(self, read: RolesRead) -> None:
        self.noted.append(read)

    def is_compared(self, key: ObjectKey) -> bool:
        return key not in self.on_policies_alone

    def may_fail_with_project(self, key: ObjectKey) -> bool:
        return key in self.failing_objects

    async def differs(self, key: ObjectKey, *, max_age: float) -> bool:
        self.ages.append(max_age)
        self.compared.append(key)
        await asyncio.sleep(self.comparison_takes)
        if key in self.faults:
            raise GoogleError(Fault.UNAVAILABLE, "google.Service/Method", "no")
        return key in self.different

    def enqueue(self, key: ObjectKey, priority: Priority) -> None:
        self.priorities[key] = priority
        self.times_enqueued.setdefault(key, asyncio.get_running_loop().time())
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
    assert len(gaps) >= 8
    assert all(90 <= gap <= 112 for gap in gaps)
    assert sum(gaps) / len(gaps) == pytest.approx(100, abs=6), "the jitter centers on the interval"
    assert len(set(gaps)) > 1
    assert {project_id for _, project_id in harness.resyncs} == {"payments-prod"}


async def test_only_differing_objects_and_the_project_are_enqueued(harness: Harness) -> None:
    harness.resyncer.follow("payments-prod")
    await asyncio.sleep(115)
    assert harness.enqueued == [PROJECT, DIFFERENT]
    assert set(harness.priorities.values()) == {Priority.RESYNC}


async def test_object_that_depends_on_policies_alone_is_not_compared(harness: Harness) -> None:
    harness.on_policies_alone = {UNCHANGED}
    harness.resyncer.observe(UNCHANGED)
    harness.resyncer.follow("payments-prod")
    await asyncio.sleep(300)
    assert set(harness.compared) == {DIFFERENT}


async def test_drift_of_an_object_that_is_not_compared_enqueues_it(harness: Harness) -> None:
    harness.on_policies_alone = {UNCHANGED}
    harness.resyncer.observe(UNCHANGED)
    harness.drifted = {Owner(UNCHANGED.kind, UNCHANGED.namespace, UNCHANGED.name, "uid")}
    harness.resyncer.follow("payments-prod")
    await asyncio.sleep(115)
    assert UNCHANGED in harness.enqueued


async def test_changed_role_makes_the_resync_compare_every_object(harness: Harness) -> None:
    harness.on_policies_alone = {UNCHANGED, DIFFERENT}
    for key in harness.on_policies_alone:
        harness.resyncer.observe(key)
    harness.changed_roles = True
    harness.resyncer.follow("payments-prod")
    await asyncio.sleep(115)
    assert set(harness.compared) == {UNCHANGED, DIFFERENT}


async def test_every_object_is_compared_in_full_intervals(harness: Harness) -> None:
    harness.on_policies_alone = {UNCHANGED}
    harness.resyncer.observe(UNCHANGED)
    harness.resyncer.follow("payments-prod")
    await asyncio.sleep(FULL_INTERVAL - 200)
    assert UNCHANGED not in harness.compared
    await asyncio.sleep(2 * FULL_INTERVAL)
    assert 2 <= harness.compared.count(UNCHANGED) <= 3


async def test_early_resync_does_not_delay_the_comparison_of_all_objects(harness: Harness) -> None:
    harness.on_policies_alone = {UNCHANGED}
    harness.resyncer.observe(UNCHANGED)
    harness.declare(driftInterval="10h")
    harness.resyncer.follow("payments-prod")
    await asyncio.sleep(10 * FULL_INTERVAL)
    assert harness.compared.count(UNCHANGED) == len(harness.resyncs)


async def test_object_that_becomes_unready_is_compared_again(harness: Harness) -> None:
    harness.on_policies_alone = {UNCHANGED}
    harness.resyncer.observe(UNCHANGED)
    harness.on_policies_alone.clear()
    harness.resyncer.observe(UNCHANGED)
    harness.resyncer.follow("payments-prod")
    await asyncio.sleep(115)
    assert UNCHANGED in harness.compared


async def test_failed_policy_makes_the_project_be_read_now(harness: Harness) -> None:
    harness.failing_policies = True
    harness.resyncer.follow("payments-prod")
    await asyncio.sleep(115)
    assert harness.priorities[PROJECT] is Priority.EDIT


async def test_failed_comparison_makes_the_project_be_read_now(harness: Harness) -> None:
    harness.faults = {UNCHANGED}
    harness.resyncer.follow("payments-prod")
    await asyncio.sleep(115)
    assert harness.enqueued.count(PROJECT) == 2
    assert harness.priorities[PROJECT] is Priority.EDIT


async def test_object_that_fails_with_the_project_makes_it_be_read_now(harness: Harness) -> None:
    harness.failing_objects = {DIFFERENT}
    harness.resyncer.follow("payments-prod")
    await asyncio.sleep(115)
    assert harness.enqueued.count(PROJECT) == 1
    assert harness.priorities[PROJECT] is Priority.EDIT


async def test_drift_is_repaired_before_the_roles_are_read(harness: Harness) -> None:
    harness.drifted = {Owner(UNCHANGED.kind, UNCHANGED.namespace, UNCHANGED.name, "uid")}
    harness.roles_take = 30.0
    harness.resyncer.follow("payments-prod")
    await asyncio.sleep(145)
    assert harness.times_enqueued[UNCHANGED] == pytest.approx(harness.times[0] + 1)
    assert harness.times_enqueued[DIFFERENT] == pytest.approx(harness.times[0] + 31)
    assert UNCHANGED not in harness.compared


async def test_changed_interval_does_not_interrupt_a_running_resync(harness: Harness) -> None:
    harness.on_policies_alone = {UNCHANGED}
    harness.resyncer.observe(UNCHANGED)
    harness.changed_roles, harness.comparison_takes = True, 60.0
    harness.resyncer.follow("payments-prod")
    await asyncio.sleep(115)
    assert UNCHANGED in harness.compared
    harness.declare(driftInterval="50s")
    harness.resyncer.follow("payments-prod")
    await asyncio.sleep(60)
    assert len(harness.noted) == 1
    assert harness.compared.count(UNCHANGED) == 1


async def test_objects_with_drifted_grants_are_enqueued(harness: Harness) -> None:
    harness.drifted = {Owner(UNCHANGED.kind, UNCHANGED.namespace, UNCHANGED.name, "uid")}
    harness.resyncer.follow("payments-prod")
    await asyncio.sleep(115)
    assert set(harness.enqueued) == {PROJECT, UNCHANGED, DIFFERENT}


async def test_object_whose_comparison_fails_is_enqueued(harness: Harness) -> None:
    harness.faults = {UNCHANGED}
    harness.resyncer.follow("payments-prod")
    await asyncio.sleep(115)
    assert UNCHANGED in harness.enqueued


async def test_comparison_reads_nothing_older_than_the_resync(harness: Harness) -> None:
    harness.resyncer.follow("payments-prod")
    await asyncio.sleep(115)
    assert harness.ages == pytest.approx([1.0, 1.0])


async def test_identities_are_compared_first(harness: Harness) -> None:
    identity = ObjectKey("CloudRunIdentity", "payments", "checkout")
    harness.referring = [UNCHANGED, identity, DIFFERENT]
    harness.resyncer.observe(identity)
    harness.resyncer.follow("payments-prod")
    await asyncio.sleep(115)
    assert harness.compared[0] == identity
    assert set(harness.compared) == {identity, UNCHANGED, DIFFERENT}


async def test_suspended_project_is_not_resynced(harness: Harness) -> None:
    harness.declare(suspend=True)
    harness.resyncer.follow("payments-prod")
    await asyncio.sleep(300)
    assert harness.resyncs == []
    assert harness.enqueued == []


async def test_project_of_another_operator_is_only_enqueued(harness: Harness) -> None:
    harness.operated_elsewhere = True
    harness.resyncer.follow("payments-prod")
    await asyncio.sleep(115)
    assert harness.resyncs == []
    assert harness.enqueued == [PROJECT]


async def test_failed_resync_is_followed_by_the_next(harness: Harness) -> None:
    harness.error = RuntimeError("no")
    harness.resyncer.follow("payments-prod")
    await asyncio.sleep(115)
    assert len(harness.resyncs) == 1
    harness.error = None
    await asyncio.sleep(115)
    assert DIFFERENT in harness.enqueued


async def test_changed_interval_applies_immediately(harness: Harness) -> None:
    harness.resyncer.follow("payments-prod")
    await asyncio.sleep(10)
    harness.declare(driftInterval="10s")
    harness.resyncer.follow("payments-prod")
    await asyncio.sleep(50)
    assert len(harness.resyncs) >= 4


async def test_interval_that_changes_often_does_not_delay_the_resync(harness: Harness) -> None:
    harness.resyncer.follow("payments-prod")
    for number in range(60):
        await asyncio.sleep(10)
        harness.declare(driftInterval="1h" if number % 2 else "100s")
        harness.resyncer.follow("payments-prod")
    assert len(harness.resyncs) >= 4


async def test_shorter_interval_counts_from_the_last_resync(harness: Harness) -> None:
    harness.declare(driftInterval="1h")
    harness.resyncer.follow("payments-prod")
    await asyncio.sleep(200)
    harness.declare(driftInterval="100s")
    harness.resyncer.follow("payments-prod")
    await asyncio.sleep(1)
    assert harness.times == [200]


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
