"""The faults of a change feed one by one: nothing is lost or synced twice, and the state is reported."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from cloudrun_identity.api import ConditionStatus, ManagedProject, TargetKind
from cloudrun_identity.controllers.managed_project.change_feed import feed_finding
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.pubsub import Received
from cloudrun_identity.iam.audited_changes import DeltaAction, PolicyChange, Subject
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.manager import change_feed
from cloudrun_identity.manager.change_feed import BATCH, YIELD_AFTER, ChangeFeeds
from cloudrun_identity.manager.feed_health import FeedHealth
from cloudrun_identity.manager.feed_work import FeedWork
from cloudrun_identity.reconcile.change_log import ChangeLog
from cloudrun_identity.reconcile.cluster_state import ObjectKey

NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)
OPS = "projects/ops-1234/subscriptions/audit"
OPERATOR = "operator@ops-1234.iam.gserviceaccount.com"
SHOP = "shop-1234"


def project(name: str = "shop", **feed: Any) -> ManagedProject:
    spec = {"projectID": f"{name}-1234", "changeFeed": {"subscription": OPS, **feed}}
    return ManagedProject.model_validate({"metadata": {"name": name}, "spec": spec})


def entry(
    project_id: str = SHOP,
    *,
    seconds: float = 1.0,
    caller: str = "dana@example.com",
    reason: str = "",
    delta: dict[str, str] | None = None,
    resource: str = "",
) -> bytes:
    payload = {
        "authenticationInfo": {"principalEmail": caller},
        "methodName": "SetIamPolicy",
        "requestMetadata": {
            "callerSuppliedUserAgent": "google-cloud-sdk gcloud/501.0.0",
            "requestAttributes": {"reason": reason},
        },
        "resourceName": resource or f"projects/{project_id}",
        "serviceName": "cloudresourcemanager.googleapis.com",
        "serviceData": {"policyDelta": {"bindingDeltas": [delta] if delta else []}},
    }
    log = resource or f"projects/{project_id}"
    return json.dumps(
        {
            "logName": f"{log}/logs/cloudaudit.googleapis.com%2Factivity",
            "protoPayload": payload,
            "resource": {"labels": {} if resource else {"project_id": project_id}},
            "timestamp": (NOON + timedelta(seconds=seconds)).isoformat(),
        }
    ).encode()


class Subscription:
    """A subscription in memory. A pull waits for messages, and raises the next error if there is one."""

    def __init__(self) -> None:
        self.errors: list[GoogleError] = []
        self.messages: list[bytes] = []
        self.acknowledged: list[str] = []
        self.pulls = 0
        self.sizes: list[int] = []
        self.most = BATCH
        self.arrived = asyncio.Event()
        self.published = NOON + timedelta(hours=1)

    def deliver(self, *messages: bytes) -> None:
        self.messages += messages
        self.arrived.set()

    def fail(self, fault: Fault) -> None:
        self.errors.append(GoogleError(fault, "google.pubsub.v1.Subscriber/Pull", "no"))
        self.arrived.set()

    async def pull(self, max_messages: int, timeout: float | None = None) -> tuple[Received, ...]:
        self.pulls += 1
        self.sizes.append(max_messages)
        if timeout is None:
            await self.arrived.wait()
        await asyncio.sleep(0)
        if max_messages > self.most:
            message = "CLIENT: Received message larger than max (5242880 vs. 4194304)"
            raise GoogleError(Fault.QUOTA_EXCEEDED, "Pull", message, code="RESOURCE_EXHAUSTED")
        if self.errors:
            raise self.errors.pop(0)
        batch, self.messages = self.messages[:max_messages], self.messages[max_messages:]
        if not self.messages:
            self.arrived.clear()
        return tuple(Received(f"{id(each)}", each, self.published) for each in batch)

    async def acknowledge(self, ack_ids: Sequence[str]) -> None:
        self.acknowledged += ack_ids


class World:
    """Projects, and a feed of them. Synced subjects are counted."""

    def __init__(self, *projects: ManagedProject) -> None:
        self.all = {each.metadata.name: each for each in projects}
        self.subscriptions: dict[str, Subscription] = {}
        self.synced: Counter[Subject] = Counter()
        self.entries: Counter[str] = Counter()
        self.changed: list[str] = []
        self.known = {ObjectKey("IAMBinding", "payments", "web")}
        self.health = FeedHealth("", lambda: OPERATOR, lambda: 0.0)
        self.log = ChangeLog(
            self.health.missed,
            reports_actors=partial(change_feed.reports_actors, self),  # type: ignore[arg-type]
            wall_clock=lambda: self.now,
        )
        self.identity = OPERATOR
        self.now = NOON + timedelta(seconds=2)
        self.work = FeedWork(self._sync, lambda: NOON)
        self.folder_targets: frozenset[Target] = frozenset()
        self.feeds = ChangeFeeds(
            self,  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            self.health,
            self.log,
            self.work,
            subscriber=self.subscription,  # type: ignore[arg-type]
            identity=lambda _: self.identity,
            observer=self,
            on_change=self.changed.append,
            wall_clock=lambda: self.now,
        )

    async def _sync(self, subject: Subject) -> None:
        self.synced[subject] += 1

    def subscription(self, name: str) -> Subscription:
        return self.subscriptions.setdefault(name, Subscription())

    def finding(self, name: str = "shop") -> tuple[ConditionStatus, str]:
        state = self.health.state(self.all[name])
        assert state
        found = feed_finding(state)
        return found.status, found.reason

    # The cache, the syncers and the metrics.

    def objects(self, kind: type[ManagedProject]) -> Iterable[ManagedProject]:
        return self.all.values()

    def project(self, name: str) -> ManagedProject | None:
        return self.all.get(name)

    def project_on(self, project_id: str) -> ManagedProject | None:
        return next((each for each in self.all.values() if each.project_id == project_id), None)

    def operates(self, project: ManagedProject) -> bool:
        return True

    def stored(self, key: ObjectKey) -> object:
        return SimpleNamespace(raw={}) if key in self.known else None

    def declared_on(self, kind: TargetKind, name: str) -> frozenset[Target]:
        return frozenset(each for each in self.folder_targets if (each.kind, each.name) == (kind, name))

    def feed_entries(self, outcome: str, count: int) -> None:
        self.entries[outcome] += count

    def feed_lag(self, seconds: float) -> None:
        self.lag = seconds


@asynccontextmanager
async def running(*projects: ManagedProject) -> AsyncIterator[World]:
    world = World(*(projects or (project(),)))
    world.feeds.follow()
    try:
        yield world
    finally:
        await world.feeds.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - a condition of the code under test
            await asyncio.sleep(0)


ON_SHOP = PolicyChange(Target.project(SHOP))


async def test_entry_is_synced_and_then_acknowledged() -> None:
    async with running() as world:
        world.subscription(OPS).deliver(entry())
        await until(lambda: len(world.subscription(OPS).acknowledged) == 1)
        await until(lambda: world.synced[ON_SHOP] == 1)
        assert world.finding() == (ConditionStatus.TRUE, "Receiving")
        assert world.lag == 1.0


async def test_own_write_costs_nothing() -> None:
    own = entry(caller=OPERATOR, reason="IAMBinding/payments/web@3, IAMBinding/payments/api@1")
    async with running() as world:
        world.subscription(OPS).deliver(own)
        await until(lambda: world.entries["own"] == 1)
        assert not world.synced
        assert world.finding()[0] is ConditionStatus.TRUE


async def test_write_with_the_identity_of_the_operator_by_another_program_is_synced() -> None:
    async with running() as world:
        world.subscription(OPS).deliver(
            entry(caller=OPERATOR),
            entry(caller=OPERATOR, reason="ticket 7"),
            entry(caller=OPERATOR, reason="IAMBinding/other-cluster/web@3"),
            entry(reason="IAMBinding/payments/web@3"),
        )
        await until(lambda: world.entries["synced"] == 4)


async def test_reason_alone_makes_no_write_the_own_while_the_identity_is_unknown() -> None:
    async with running() as world:
        world.identity = ""
        world.subscription(OPS).deliver(entry(caller="eve@example.com", reason="IAMBinding/payments/web@3"))
        await until(lambda: world.entries["synced"] == 1)


@pytest.mark.parametrize("late_clock", [True, False])
async def test_time_in_the_future_covers_no_later_change(late_clock: bool) -> None:
    async with running() as world:
        subscription = world.subscription(OPS)
        if late_clock:
            subscription.published, world.now = NOON + timedelta(seconds=2), NOON + timedelta(days=1)
        subscription.deliver(entry(seconds=1e6))
        await until(lambda: world.synced[ON_SHOP] == 1)
        await until(lambda: len(world.work) == 0)
        state = world.health.state(world.all["shop"])
        assert state
        assert state.last_entry == NOON + timedelta(seconds=2)
        subscription.published = world.now = NOON + timedelta(seconds=9)
        subscription.deliver(entry(seconds=8))
        await until(lambda: world.synced[ON_SHOP] == 2)


async def test_message_that_cannot_be_handled_does_not_block_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parse = change_feed.parse_entry
    monkeypatch.setattr(change_feed, "parse_entry", lambda data: 1 / 0 if data == b"bug" else parse(data))
    async with running() as world:
        world.subscription(OPS).deliver(b"bug", entry())
        await until(lambda: len(world.subscription(OPS).acknowledged) == 2)
        assert world.entries == {"malformed": 1, "synced": 1}
        assert world.finding()[0] is ConditionStatus.TRUE


async def test_malformed_and_unknown_entries_are_acknowledged() -> None:
    async with running() as world:
        world.subscription(OPS).deliver(b"\xff", b"", b"{}", b"[]", entry("unmanaged-1234"), entry())
        await until(lambda: len(world.subscription(OPS).acknowledged) == 6)
        await until(lambda: world.synced == {ON_SHOP: 1})
        assert world.entries["malformed"] == 3
        assert world.entries["other-project"] == 1


async def test_duplicated_and_reordered_entries_are_synced_once() -> None:
    async with running() as world:
        world.subscription(OPS).deliver(*(entry(seconds=each) for each in (3, 1, 3, 2, 1)))
        await until(lambda: sum(world.entries.values()) == 5)
        await until(lambda: len(world.work) == 0)
        world.subscription(OPS).deliver(entry(seconds=2), entry(seconds=3))
        await until(lambda: world.entries["covered"] == 2)
        assert world.synced == {ON_SHOP: 1}


@pytest.mark.parametrize("backlog", [2_000, pytest.param(100_000, marks=pytest.mark.slow)])
async def test_backlog_is_coalesced_and_other_tasks_run_meanwhile(backlog: int) -> None:
    async with running() as world:
        world.subscription(OPS).deliver(*[entry()] * backlog)
        turns = 0
        while len(world.subscription(OPS).acknowledged) < backlog:
            await asyncio.sleep(0)
            turns += 1
        await until(lambda: len(world.work) == 0)
        assert world.synced == {ON_SHOP: 1}
        assert turns >= backlog / YIELD_AFTER


async def test_pull_with_a_too_large_response_is_repeated_with_fewer_messages() -> None:
    async with running() as world:
        subscription = world.subscription(OPS)
        subscription.most = BATCH // 2
        subscription.deliver(*[entry()] * BATCH)
        await until(lambda: len(subscription.acknowledged) >= BATCH // 2)
        assert subscription.sizes[:2] == [BATCH, BATCH // 2]


async def test_subscription_that_is_deleted_or_forbidden_is_reported_and_tried_again() -> None:
    async with running() as world:
        await until(lambda: world.finding()[1] == "NoEntries")
        subscription = world.subscription(OPS)
        subscription.deliver(entry())
        await until(lambda: world.finding()[0] is ConditionStatus.TRUE)
        subscription.fail(Fault.NOT_FOUND)
        await until(lambda: world.finding() == (ConditionStatus.FALSE, "SubscriptionNotFound"))
        assert world.changed.count("shop") >= 2
        pulls = subscription.pulls
        subscription.deliver(entry(seconds=9))
        await until(lambda: subscription.pulls > pulls and world.finding()[0] is ConditionStatus.TRUE)
        await until(lambda: world.synced == {ON_SHOP: 2})


async def test_projects_with_one_subscription_share_one_pull() -> None:
    async with running(project("shop"), project("bank")) as world:
        world.subscription(OPS).deliver(entry("shop-1234"), entry("bank-1234"))
        await until(lambda: len(world.synced) == 2)
        assert list(world.subscriptions) == [OPS]


async def test_entry_from_the_subscription_of_another_project_is_ignored() -> None:
    other = "projects/ops-1234/subscriptions/other"
    async with running(project("shop"), project("bank", subscription=other)) as world:
        world.subscription(other).deliver(entry("shop-1234"))
        await until(lambda: world.entries["other-project"] == 1)
        assert not world.synced


async def test_feed_that_no_project_names_any_more_is_not_pulled() -> None:
    async with running() as world:
        await until(lambda: OPS in world.subscriptions)
        world.all["shop"] = ManagedProject.model_validate(
            {"metadata": {"name": "shop"}, "spec": {"projectID": SHOP}}
        )
        world.feeds.follow()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        world.subscription(OPS).deliver(entry())
        for _ in range(20):
            await asyncio.sleep(0)
        assert not world.synced


async def test_actors_are_kept_only_where_the_project_reports_them() -> None:
    removed = {"action": "REMOVE", "role": "roles/viewer", "member": "user:ann@example.com"}
    async with running(project("shop", reportActors=True), project("bank")) as world:
        world.subscription(OPS).deliver(entry("shop-1234", delta=removed), entry("bank-1234", delta=removed))
        await until(lambda: len(world.synced) == 2)
        causes = [
            world.log.of_grant(
                Grant(Target.project(each), "roles/viewer", "user:ann@example.com"), DeltaAction.REMOVE
            )
            for each in ("shop-1234", "bank-1234")
        ]
        noted = [each for changes in world.log._changes.values() for each in changes]
        assert {(each.caller, each.request_reason) for each in noted} == {("", "")}
        assert [(each.principal, each.user_agent) for each in causes if each] == [
            ("user:dana@example.com", "google-cloud-sdk gcloud/501.0.0"),
            ("", ""),
        ]


ANN_REMOVED = {"action": "REMOVE", "role": "roles/viewer", "member": "user:ann@example.com"}


async def test_actor_of_a_folder_is_named_only_to_the_project_that_wants_it() -> None:
    targets = [Target(TargetKind.FOLDER, each, name="556677889900") for each in ("shop-1234", "bank-1234")]
    async with running(project("shop", reportActors=True), project("bank")) as world:
        world.folder_targets = frozenset(targets)
        world.subscription(OPS).deliver(entry(resource="folders/556677889900", delta=ANN_REMOVED))
        await until(lambda: len(world.synced) == 2)
        causes = [
            world.log.of_grant(Grant(each, "roles/viewer", "user:ann@example.com"), DeltaAction.REMOVE)
            for each in targets
        ]
        assert [each and each.principal for each in causes] == ["user:dana@example.com", ""]


async def test_actors_are_hidden_as_soon_as_the_project_says_so() -> None:
    grant = Grant(Target.project(SHOP), "roles/viewer", "user:ann@example.com")
    async with running(project("shop", reportActors=True)) as world:
        world.subscription(OPS).deliver(entry(delta=ANN_REMOVED))
        await until(lambda: len(world.synced) == 1)
        world.all["shop"] = project("shop", reportActors=False)
        cause = world.log.of_grant(grant, DeltaAction.REMOVE)
        assert cause
        assert (cause.principal, cause.user_agent) == ("", "")


async def test_policy_of_a_folder_concerns_the_projects_with_grants_on_it() -> None:
    target = Target(TargetKind.FOLDER, SHOP, name="556677889900")
    async with running(project("shop"), project("bank")) as world:
        world.folder_targets = frozenset({target})
        world.subscription(OPS).deliver(entry(resource="folders/556677889900"))
        await until(lambda: world.synced == {PolicyChange(target): 1})
