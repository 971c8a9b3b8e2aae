"""The change feeds: pull the audit log of managed projects, and sync what its entries name.

Projects that name the same subscription share one pull. Entries are acknowledged when their changes are
pending in memory: a process that ends before their sync loses nothing, because the next one reconciles every
object. Entries that arrive twice, late or never cost time only, because the resync remains.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Final, Protocol

from cloudrun_identity.api import KINDS, ManagedProject
from cloudrun_identity.gcp.audit_log import Ignored, IgnoredReason, parse_entry
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.pubsub import Received, Subscriber, is_too_large
from cloudrun_identity.gcp.ratelimit import Priority, call_priority
from cloudrun_identity.iam.audited_changes import AuditedChange, PolicyChange, RoleChange
from cloudrun_identity.policy.syncers import PolicySyncers
from cloudrun_identity.reconcile.change_log import ChangeLog
from cloudrun_identity.reconcile.cluster_state import ObjectKey, role_key
from cloudrun_identity.reconcile.invalid_objects import project_named_by

from .cache import Cache
from .feed_health import FeedHealth
from .feed_work import FeedWork
from .logs import describe

_log = logging.getLogger(__name__)

BATCH: Final = 50
"""Entries of one pull. An entry has at most 256 KiB (https://cloud.google.com/logging/quotas)."""

YIELD_AFTER: Final = 25
"""Entries that are parsed before other tasks run."""

FIRST_PULL: Final = 5.0
"""Seconds of a pull after the start or an error. It shows whether the subscription can be pulled."""

SYNCED: Final = "synced"
"""Outcome of an entry whose change is new, and concerns an object."""

MIN_BACKOFF: Final = 1.0
MAX_BACKOFF: Final = 60.0
"""Seconds between two pulls that fail."""


SUPERVISION_INTERVAL: Final = 30.0
"""Seconds after which tasks that ended are restarted, and pulls that do not end are reported."""


class FeedObserver(Protocol):
    """Counts entries: `manager.metrics.Metrics`."""

    def feed_entries(self, outcome: str, count: int) -> None:
        """Count entries by what was done with them."""
        ...

    def feed_lag(self, seconds: float) -> None:
        """Record the time from the oldest change of a delivery to the arrival of its entry."""
        ...


class ChangeFeeds:
    """Runs one task per subscription, and one that syncs changes."""

    def __init__(
        self,
        cache: Cache,
        syncers: PolicySyncers,
        health: FeedHealth,
        changes: ChangeLog,
        work: FeedWork,
        *,
        subscriber: Callable[[str], Subscriber],
        identity: Callable[[str], str],
        observer: FeedObserver,
        on_change: Callable[[str], None],
        wall_clock: Callable[[], datetime],
    ) -> None:
        """`subscriber` returns the client of a subscription.

        `identity(project_id)` returns the e-mail that the operator acts as in a project. `on_change` is
        called with the name of each ManagedProject whose feed has become ready, or is not any more.
        """
        self._cache = cache
        self._syncers = syncers
        self._health = health
        self._changes = changes
        self._work = work
        self._subscriber = subscriber
        self._identity = identity
        self._observer = observer
        self._on_change = on_change
        self._wall_clock = wall_clock
        self._pulls: dict[str, asyncio.Task[None]] = {}
        self._worker: asyncio.Task[None] | None = None
        self._supervision: asyncio.Task[None] | None = None

    def follow(self) -> None:
        """Pull the subscriptions that the ManagedProjects name now, and no others."""
        self._pulls = {name: pull for name, pull in self._pulls.items() if not pull.done()}
        wanted = {self._health.subscription_of(project) for project in self._projects()} - {""}
        for subscription in self._pulls.keys() - wanted:
            self._pulls.pop(subscription).cancel()
        for subscription in wanted - self._pulls.keys():
            self._pulls[subscription] = asyncio.create_task(
                self._pull(subscription), name=f"change feed {subscription}"
            )
        if wanted and (self._worker is None or self._worker.done()):
            self._worker = asyncio.create_task(self._work.run(), name="change feed syncs")
        if wanted and self._supervision is None:
            self._supervision = asyncio.create_task(self._supervise(), name="change feed supervision")
        self._report_changes()

    async def _supervise(self) -> None:
        """Restart what ended, and report a pull that does not end."""
        while True:
            await asyncio.sleep(SUPERVISION_INTERVAL)
            try:
                self.follow()
            except Exception as error:  # a bug must not end the supervision
                _log.error("the change feeds cannot be followed: %s", describe(error), exc_info=error)

    async def close(self) -> None:
        """Stop all pulls and syncs."""
        tasks = [*self._pulls.values(), *filter(None, (self._worker, self._supervision))]
        self._pulls.clear()
        self._worker = self._supervision = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _pull(self, subscription: str) -> None:
        call_priority.set(Priority.RESYNC)
        subscriber, failures = self._subscriber(subscription), 0
        timeout: float | None = FIRST_PULL
        batch = BATCH
        while True:
            try:
                received = await subscriber.pull(batch, timeout)
                lag = await self._take_in(subscription, received)
                self._health.pulled(subscription, lag)
                await subscriber.acknowledge([each.ack_id for each in received])
                timeout, failures, batch = None, 0, min(BATCH, 2 * batch)
            except GoogleError as error:
                if is_too_large(error):
                    batch = max(1, batch // 2)
                self._health.failed(subscription, error)
                _log.log(
                    logging.DEBUG if failures else logging.WARNING,
                    "the change feed %s cannot be pulled, retrying: %s",
                    subscription,
                    error,
                )
                timeout, failures = FIRST_PULL, failures + 1
            except Exception as error:  # a bug must not stop the feed; the resync remains
                self._health.failed(subscription, GoogleError(Fault.UNAVAILABLE, "Pull", describe(error)))
                _log.error("the change feed %s failed, retrying", subscription, exc_info=error)
                timeout, failures = FIRST_PULL, failures + 1
            self._report_changes()
            if failures:
                await asyncio.sleep(min(MAX_BACKOFF, MIN_BACKOFF * 2 ** min(failures - 1, 10)))
            await self._work.room()

    async def _take_in(self, subscription: str, received: Iterable[Received]) -> float | None:
        """Add the changes of the entries. Return the lag of the oldest new change; None without one."""
        outcomes: Counter[str] = Counter()
        now, oldest = self._wall_clock(), None
        for number, message in enumerate(received, start=1):
            try:
                outcome, changed_at = self._take_in_one(subscription, message, now)
            except Exception as error:  # a message that is not acknowledged would return for days
                _log.error("an entry of %s cannot be read: %s", subscription, describe(error), exc_info=error)
                outcome, changed_at = IgnoredReason.MALFORMED, None
            outcomes[outcome] += 1
            if changed_at is not None and outcome == SYNCED:
                oldest = min(changed_at, oldest or now)
            if number % YIELD_AFTER == 0:
                await asyncio.sleep(0)
        for outcome, count in outcomes.items():
            self._observer.feed_entries(outcome, count)
        if oldest is None:
            return None
        lag = max(0.0, (now - oldest).total_seconds())
        self._observer.feed_lag(lag)
        return lag

    def _take_in_one(
        self, subscription: str, message: Received, now: datetime
    ) -> tuple[str, datetime | None]:
        """Add the change of an entry. Return what was done with it, and the time of the change.

        A time in the future would cover all changes until then. No change is later than its message.
        """
        change = parse_entry(message.data)
        if isinstance(change, Ignored):
            _log.debug("an entry of %s is ignored: %s %s", subscription, change.reason, change.detail)
            return change.reason, None
        changed_at = min(change.cause.time, message.published, now)
        change = replace(change, cause=replace(change.cause, time=changed_at))
        return self._add(subscription, change), changed_at

    def _add(self, subscription: str, change: AuditedChange) -> str:
        """Add a change to the pending ones. Return what was done with it, in one word."""
        outcome = "other-project"
        for project, located in self._located(subscription, change):
            self._health.received(project.project_id, change.cause.time)
            if self._is_own(project, change):
                outcome = "own"
                continue
            named = reports_actors(self._cache, project.project_id)
            cause = change.cause if named else change.cause.anonymous()
            self._changes.note(replace(located, cause=cause, caller="", request_reason=""))
            outcome = SYNCED if self._work.add(located.subject, change.cause.time) else "covered"
        return outcome

    def _located(
        self, subscription: str, change: AuditedChange
    ) -> Iterator[tuple[ManagedProject, AuditedChange]]:
        """Yield the change for each managed project that it concerns and that names the subscription.

        A policy of a folder or an organization concerns every project with grants on it, and so does a custom
        role of an organization.
        """
        match change.subject:
            case PolicyChange(target=target) if not target.project_id:
                for each in self._syncers.declared_on(target.kind, target.name):
                    if project := self._project(each.project_id, subscription):
                        yield project, replace(change, subject=PolicyChange(each))
            case RoleChange(project_id="", role=role):
                referrers = {*map(self._project_of, self._cache.referrers(role_key(role)))}
                for project in filter(None, (self._cache.project(name) for name in referrers)):
                    if self._health.subscription_of(project) == subscription:
                        yield project, change
                        return  # one sync concerns the objects of all projects
            case subject:
                if project := self._project(subject.project_id, subscription):
                    yield project, change

    def _project(self, project_id: str, subscription: str) -> ManagedProject | None:
        """Return the ManagedProject, if it names the subscription: others might contain forged entries."""
        project = self._cache.project_on(project_id)
        if project is None or self._health.subscription_of(project) != subscription:
            return None
        return project if self._cache.operates(project) and not project.spec.suspend else None

    def _project_of(self, key: ObjectKey) -> str:
        stored = self._cache.stored(key)
        return project_named_by(stored.raw) if stored else ""

    def _is_own(self, project: ManagedProject, change: AuditedChange) -> bool:
        """Return whether this operator made the change: its identity, for an object that it knows."""
        identity = self._identity(project.project_id)
        if not identity or change.caller != identity.lower():
            return False  # any caller can send the reason of another call
        key = _object_in(change.request_reason)
        return key is not None and self._cache.stored(key) is not None

    def _projects(self) -> list[ManagedProject]:
        return [each for each in self._cache.objects(ManagedProject) if not each.spec.suspend]

    def _report_changes(self) -> None:
        for project in self._health.changes(self._cache.objects(ManagedProject)):
            self._on_change(project.metadata.name)


def reports_actors(cache: Cache, project_id: str) -> bool:
    """Return whether statuses and Events of a project name the callers of changes."""
    project = cache.project_on(project_id)
    declared = project.spec.change_feed if project else None
    return declared is not None and declared.report_actors


def _object_in(reason: str) -> ObjectKey | None:
    """Return the first object in a request reason such as `IAMBinding/payments/web@3`."""
    name, separator, _ = reason.partition(",")[0].partition("@")
    kind, *parts = name.split("/")
    if not separator or kind not in KINDS or len(parts) not in (1, 2):
        return None
    return ObjectKey(kind, *(("", *parts) if len(parts) == 1 else tuple(parts)))
