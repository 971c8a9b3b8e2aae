"""Sweeps on a fake clock: when they come, and what they ask a pass for."""

import asyncio
from collections.abc import AsyncIterator, Iterable

import pytest

from cloudrun_identity.api import ManagedProject
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.ratelimit import Priority, call_priority
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.manager.project_settings import resync_interval_of
from cloudrun_identity.manager.resync import Resync
from cloudrun_identity.reconcile.cluster_state import ObjectKey, project_key

pytestmark = pytest.mark.looptime(start=0)

PROJECT = project_key("payments-prod")
STEADY, DIFFERENT = (ObjectKey("IAMBinding", "payments", name) for name in ("steady", "different"))


class Stage:
    """Everything that a sweep touches."""

    def __init__(self) -> None:
        self.projects: dict[str, ManagedProject] = {}
        self.lend()
        self.swept: list[tuple[float, str]] = []
        self.drifted: set[Owner] = set()
        self.ages: list[float] = []
        self.referring = [STEADY, DIFFERENT]
        self.compared: list[ObjectKey] = []
        self.different: set[ObjectKey] = {DIFFERENT}
        self.faults: set[ObjectKey] = set()
        self.enqueued: list[ObjectKey] = []
        self.broken: Exception | None = None
        self.loop = Resync(self, self, self, self.enqueue)

    def lend(self, **spec: object) -> None:
        self.projects["payments-prod"] = ManagedProject.model_validate(
            {"metadata": {"name": "payments-prod"}, "spec": {"driftInterval": "100s", **spec}}
        )

    @property
    def times(self) -> list[float]:
        return [time for time, _ in self.swept]

    def project(self, name: str) -> ManagedProject | None:
        return self.projects.get(name)

    def referrers(self, key: ObjectKey) -> Iterable[ObjectKey]:
        assert key == PROJECT
        return self.referring

    async def resync(self, project_id: str) -> frozenset[Owner]:
        self.swept.append((asyncio.get_running_loop().time(), project_id))
        assert call_priority.get() is Priority.RESYNC
        if self.broken:
            raise self.broken
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
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    yield stage
    await stage.loop.close()


async def test_a_project_is_swept_once_an_interval_with_jitter(stage: Stage) -> None:
    stage.loop.follow("payments-prod")
    await asyncio.sleep(1000)
    gaps = [after - before for before, after in zip([0.0, *stage.times], stage.times, strict=False)]
    assert len(gaps) >= 9
    assert all(70 <= gap <= 102 for gap in gaps)
    assert len(set(gaps)) > 1
    assert {project_id for _, project_id in stage.swept} == {"payments-prod"}


async def test_only_what_differs_gets_a_pass_and_the_project_itself(stage: Stage) -> None:
    stage.loop.follow("payments-prod")
    await asyncio.sleep(105)
    assert stage.enqueued == [PROJECT, DIFFERENT]


async def test_what_drifted_gets_a_pass_to_say_so(stage: Stage) -> None:
    stage.drifted = {Owner(STEADY.kind, STEADY.namespace, STEADY.name, "uid")}
    stage.loop.follow("payments-prod")
    await asyncio.sleep(105)
    assert set(stage.enqueued) == {PROJECT, STEADY, DIFFERENT}


async def test_what_cannot_be_told_gets_a_pass(stage: Stage) -> None:
    stage.faults = {STEADY}
    stage.loop.follow("payments-prod")
    await asyncio.sleep(105)
    assert STEADY in stage.enqueued


async def test_a_list_counts_only_if_it_was_made_since_the_sweep_began(stage: Stage) -> None:
    stage.loop.follow("payments-prod")
    await asyncio.sleep(105)
    assert stage.ages == pytest.approx([1.0, 1.0])


async def test_identities_are_compared_before_what_is_about_their_accounts(stage: Stage) -> None:
    identity = ObjectKey("CloudRunIdentity", "payments", "checkout")
    stage.referring = [STEADY, identity, DIFFERENT]
    stage.loop.follow("payments-prod")
    await asyncio.sleep(105)
    assert stage.compared == [identity, STEADY, DIFFERENT]


async def test_a_suspended_project_is_left_alone(stage: Stage) -> None:
    stage.lend(suspend=True)
    stage.loop.follow("payments-prod")
    await asyncio.sleep(300)
    assert stage.swept == []
    assert stage.enqueued == []


async def test_a_sweep_that_fails_is_followed_by_the_next(stage: Stage) -> None:
    stage.broken = RuntimeError("no")
    stage.loop.follow("payments-prod")
    await asyncio.sleep(105)
    assert len(stage.swept) == 1
    stage.broken = None
    await asyncio.sleep(105)
    assert DIFFERENT in stage.enqueued


async def test_another_interval_holds_from_now_on(stage: Stage) -> None:
    stage.loop.follow("payments-prod")
    await asyncio.sleep(10)
    stage.lend(driftInterval="10s")
    stage.loop.follow("payments-prod")
    await asyncio.sleep(50)
    assert len(stage.swept) >= 4


async def test_following_again_at_the_same_interval_changes_nothing(stage: Stage) -> None:
    stage.loop.follow("payments-prod")
    for _ in range(30):
        await asyncio.sleep(10)
        stage.loop.follow("payments-prod")
    assert 2 <= len(stage.swept) <= 4


async def test_a_project_that_is_gone_is_swept_no_more(stage: Stage) -> None:
    stage.loop.follow("payments-prod")
    stage.projects.clear()
    stage.loop.follow("payments-prod")
    await asyncio.sleep(300)
    assert stage.swept == []
    stage.loop.follow("never-known")


async def test_closing_ends_every_sweep(stage: Stage) -> None:
    stage.loop.follow("payments-prod")
    await stage.loop.close()
    await asyncio.sleep(300)
    assert stage.swept == []


async def test_the_interval_is_the_projects(stage: Stage) -> None:
    stage.lend(driftInterval="1m30s")
    assert resync_interval_of(stage.projects["payments-prod"]) == 90.0
