"""Periodic drift detection: compares Google Cloud with every declaration, once per project and interval.

A resync costs policies and list pages, not objects. Every policy syncer of the project syncs once, and finds
the objects with drift. The objects that depend on more than policies, or are not Ready, are compared one by
one with shared reads. Events report every other change that concerns an object. So all others are compared
when the permissions of a role change, and otherwise only every `FULL_INTERVAL`.

What seldom changes of the project is read hourly (`controllers.managed_project.facts`). A failure of a policy
or an object may have its cause there, so the project is then read at once.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import islice
from typing import Protocol

from cloudrun_identity.api import CloudRunIdentity, ManagedProject
from cloudrun_identity.gcp.errors import GoogleError
from cloudrun_identity.gcp.ratelimit import Priority, call_priority
from cloudrun_identity.gcp.requests import request_reason
from cloudrun_identity.policy.syncers import PolicySyncers
from cloudrun_identity.reconcile.cluster_state import ObjectKey, project_key
from cloudrun_identity.reconcile.reconciler import Reconciler

from .logs import describe
from .project_settings import JITTER, resync_interval_of
from .role_watch import RolesRead

_log = logging.getLogger(__name__)


BATCH_SIZE = 16
"""Objects that are compared at the same time: the keys of each account take a call of their own."""

_SHORTEST_WAIT = 0.001
"""Seconds below which a resync is due: the clock of the event loop is not exact."""

FULL_INTERVAL = 36_000.0
"""Seconds within which a resync compares every object, whatever its policies show.

10 hours is the default in controller-runtime, too
(https://pkg.go.dev/sigs.k8s.io/controller-runtime/pkg/cache#Options, `SyncPeriod`).
"""


class Comparison(Enum):
    """The result of a comparison of an object with Google Cloud."""

    EQUAL = auto()
    DIFFERENT = auto()
    """There is something for a reconcile to do, or to report."""
    UNREADABLE = auto()
    """Google Cloud could not be read."""


class Projects(Protocol):
    """ManagedProjects and their objects: `manager.cache.Cache`."""

    def project(self, name: str) -> ManagedProject | None:
        """Return the ManagedProject with this name."""
        ...

    def operates(self, project: ManagedProject) -> bool:
        """Return whether this operator acts on the project."""
        ...

    def referrers(self, key: ObjectKey) -> Iterable[ObjectKey]:
        """Return the objects that refer to this one."""
        ...


class Roles(Protocol):
    """The roles that are granted in a project: `role_watch.RoleWatch`."""

    async def read(self, project_id: str, max_age: float) -> RolesRead:
        """Return whether a granted role has other permissions than at the last comparison of all objects."""
        ...

    def note_compared(self, read: RolesRead) -> None:
        """Record that all objects were compared after this read."""
        ...


@dataclass(slots=True)
class _Schedule:
    """The resyncs of one ManagedProject."""

    interval: float
    """Seconds between the starts of two resyncs at present."""
    began: float
    """Start of the last resync, or of the schedule."""
    ended: float
    """End of the last resync, or start of the schedule."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the interval changes."""

    def change(self, interval: float) -> None:
        """Set the interval. It counts from the start of the last resync; a running one continues."""
        if interval != self.interval:
            self.interval = interval
            self.changed.set()

    async def wait(self) -> None:
        """Wait until the next resync is due."""
        jitter = random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret
        while (remaining := self._due(jitter) - _now()) > _SHORTEST_WAIT:
            self.changed.clear()
            waiter = asyncio.ensure_future(self.changed.wait())
            try:
                await asyncio.wait([waiter], timeout=remaining)
            finally:
                waiter.cancel()

    def _due(self, jitter: float) -> float:
        """Return the time of the next resync: a pause follows one that takes longer than the interval."""
        return max(self.began + self.interval * jitter, self.ended + self.interval / 2)


class Resync:
    """Runs one task per ManagedProject."""

    def __init__(
        self,
        projects: Projects,
        syncers: PolicySyncers,
        reconciler: Reconciler,
        roles: Roles,
        enqueue: Callable[[ObjectKey, Priority], None],
        interval_of: Callable[[ManagedProject], float] = resync_interval_of,
    ) -> None:
        """`interval_of` returns the seconds between two resyncs of a project at present."""
        self._interval_of = interval_of
        self._projects = projects
        self._syncers = syncers
        self._reconciler = reconciler
        self._roles = roles
        self._enqueue = enqueue
        self._schedules: dict[str, _Schedule] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._compared: set[ObjectKey] = set()
        self._fully_compared: dict[str, float] = {}

    def observe(self, key: ObjectKey) -> None:
        """Take in a new version of an object, or its deletion, of which the cache knows."""
        if self._reconciler.is_compared(key):
            self._compared.add(key)
        else:
            self._compared.discard(key)

    def follow(self, name: str) -> None:
        """Resync a ManagedProject at its present interval from now on; stop if it no longer exists.

        A new interval counts from the start of the last resync. So an interval that changes often, such as
        that of a change feed with short failures, does not delay the next resync.
        """
        project = self._projects.project(name)
        if project is None:
            self._fully_compared.pop(name, None)
            self._schedules.pop(name, None)
            if task := self._tasks.pop(name, None):
                task.cancel()
        elif schedule := self._schedules.get(name):
            schedule.change(self._interval_of(project))
        else:
            self._fully_compared.setdefault(name, _now())  # every object is reconciled when it is first seen
            schedule = _Schedule(self._interval_of(project), began=_now(), ended=_now())
            self._schedules[name] = schedule
            self._tasks[name] = asyncio.create_task(self._run(name, schedule), name=f"resync {name}")

    async def close(self) -> None:
        """Stop all resyncs."""
        tasks = tuple(self._tasks.values())
        self._tasks.clear()
        self._schedules.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, name: str, schedule: _Schedule) -> None:
        call_priority.set(Priority.RESYNC)
        while True:
            await schedule.wait()
            schedule.began = _now()
            try:
                await self._resync(name)
            except Exception as error:  # the next resync must still run
                _log.error(
                    "resync of ManagedProject %s failed, retrying at the next interval: %s",
                    name,
                    describe(error),
                    exc_info=error,
                )
            schedule.ended = _now()

    async def _resync(self, name: str) -> None:
        project = self._projects.project(name)
        if project is None or project.spec.suspend:
            return
        if not self._projects.operates(project):
            self._enqueue(project_key(name), Priority.RESYNC)  # its reconcile asks for the other operator
            return
        started = _now()
        request_reason.set(f"{ManagedProject.__name__}/{name}@resync")
        synced = await self._syncers.resync(project.project_id)
        referrers = frozenset(self._projects.referrers(project_key(name)))
        drifted = referrers & {ObjectKey(each.kind, each.namespace, each.name) for each in synced.drifted}
        for key in sorted(drifted):
            self._enqueue(key, Priority.RESYNC)
        compared = self._compared & referrers
        failed = synced.has_failed or any(map(self._reconciler.may_fail_with_project, compared))
        self._enqueue(project_key(name), Priority.EDIT if failed else Priority.RESYNC)
        roles = await self._roles.read(project.project_id, _now() - started)
        is_full = roles.have_changed or self._is_full_due(project, started)
        failed_again = await self._compare((referrers if is_full else compared) - drifted, started)
        if failed_again and not failed:
            self._enqueue(project_key(name), Priority.EDIT)
        if is_full:
            self._roles.note_compared(roles)
            self._fully_compared[name] = started

    def _is_full_due(self, project: ManagedProject, started: float) -> bool:
        """Return whether the next resync would compare all objects too late."""
        last = self._fully_compared.get(project.metadata.name, started)
        return started + self._interval_of(project) > last + FULL_INTERVAL

    async def _compare(self, keys: Collection[ObjectKey], started: float) -> bool:
        """Enqueue the objects with a difference. Return whether a read from Google Cloud failed."""
        failed = False
        # Identities first: other objects that concern an account then share the list of its keys.
        for batch in _batches(sorted(keys, key=lambda key: (key.kind != CloudRunIdentity.__name__, key))):
            comparisons = await asyncio.gather(*(self._comparison(key, started) for key in batch))
            failed = failed or Comparison.UNREADABLE in comparisons
            for key, comparison in zip(batch, comparisons, strict=True):
                if comparison is not Comparison.EQUAL:
                    self._enqueue(key, Priority.RESYNC)
        return failed

    async def _comparison(self, key: ObjectKey, started: float) -> Comparison:
        """Compare an object with what reads since the start of the resync show."""
        try:
            differs = await self._reconciler.differs(key, max_age=_now() - started)
        except Exception as error:  # the reconcile of this object reports it; the resync continues
            _log.debug("resync: comparing %s failed: %s", key, describe(error))
            return Comparison.UNREADABLE if isinstance(error, GoogleError) else Comparison.DIFFERENT
        return Comparison.DIFFERENT if differs else Comparison.EQUAL


def _batches(keys: Iterable[ObjectKey]) -> Iterator[tuple[ObjectKey, ...]]:
    remaining = iter(keys)
    while batch := tuple(islice(remaining, BATCH_SIZE)):
        yield batch


def _now() -> float:
    return asyncio.get_running_loop().time()
