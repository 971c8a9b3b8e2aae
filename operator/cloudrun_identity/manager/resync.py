"""Periodic drift detection: compares Google Cloud with every declaration, once per project and interval.

A resync costs policies and list pages, not objects. Every policy syncer of the project syncs once, and finds
the objects with drift. The objects that depend on more than policies, or are not Ready, are compared one by
one with shared reads. All others are compared once per hour, and when the permissions of a role change.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice
from typing import Protocol

from cloudrun_identity.api import CloudRunIdentity, ManagedProject
from cloudrun_identity.gcp.ratelimit import Priority, call_priority
from cloudrun_identity.gcp.requests import request_reason
from cloudrun_identity.policy.syncers import PolicySyncers
from cloudrun_identity.reconcile.cluster_state import ObjectKey, project_key
from cloudrun_identity.reconcile.reconciler import Reconciler

from .logs import describe
from .project_settings import resync_interval_of

_log = logging.getLogger(__name__)


BATCH_SIZE = 16
"""Objects that are compared at the same time: the keys of each account take a call of their own."""

JITTER = 0.1
"""Share of the interval by which a resync may be early or late, which keeps the projects apart."""

FULL_INTERVAL = 3600.0
"""Seconds after which a resync compares every object, whatever its policies show."""


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

    async def have_changed(self, project_id: str, max_age: float) -> bool:
        """Return whether a granted role has other permissions than at the last call."""
        ...


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
        self._tasks: dict[str, tuple[float, asyncio.Task[None]]] = {}
        self._compared: set[ObjectKey] = set()
        self._fully_compared: dict[str, float] = {}

    def observe(self, key: ObjectKey) -> None:
        """Take in a new version of an object, or its deletion, of which the cache knows."""
        if self._reconciler.is_compared(key):
            self._compared.add(key)
        else:
            self._compared.discard(key)

    def follow(self, name: str) -> None:
        """Resync a ManagedProject at its present interval from now on; stop if it no longer exists."""
        project = self._projects.project(name)
        interval = self._interval_of(project) if project else 0.0
        known = self._tasks.get(name)
        if known and known[0] == interval:
            return
        if known:
            known[1].cancel()
            del self._tasks[name]
        if project is None:
            self._fully_compared.pop(name, None)
        if project:
            self._fully_compared.setdefault(name, _now())  # every object is reconciled when it is first seen
            task = asyncio.create_task(self._run(name, interval), name=f"resync {name}")
            self._tasks[name] = (interval, task)

    async def close(self) -> None:
        """Stop all resyncs."""
        tasks = [task for _, task in self._tasks.values()]
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, name: str, interval: float) -> None:
        call_priority.set(Priority.RESYNC)
        began = _now()
        while True:
            due = began + interval * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret
            await asyncio.sleep(max(due - _now(), interval / 2))  # a resync may take longer than the interval
            began = _now()
            try:
                await self._resync(name)
            except Exception as error:  # the next resync must still run
                _log.error(
                    "resync of ManagedProject %s failed, retrying at the next interval: %s",
                    name,
                    describe(error),
                    exc_info=error,
                )

    async def _resync(self, name: str) -> None:
        project = self._projects.project(name)
        if project is None or project.spec.suspend:
            return
        if not self._projects.operates(project):
            self._enqueue(project_key(name), Priority.RESYNC)  # its reconcile asks for the other operator
            return
        started = _now()
        request_reason.set(f"{ManagedProject.__name__}/{name}@resync")
        drifted = {
            ObjectKey(each.kind, each.namespace, each.name)
            for each in await self._syncers.resync(project.project_id)
        }
        # A fault of a policy may have its cause in the project, whose facts are read seldom otherwise.
        failed = self._syncers.has_faults(project.project_id)
        self._enqueue(project_key(name), Priority.EDIT if failed else Priority.RESYNC)
        referrers = self._projects.referrers(project_key(name))
        compared = await self._to_compare(project, referrers, started)
        for key in drifted.difference(compared).intersection(referrers):
            self._enqueue(key, Priority.RESYNC)
        # Identities first: other objects that concern an account then share the list of its keys.
        keys = sorted(compared, key=lambda key: key.kind != CloudRunIdentity.__name__)
        for batch in _batches(keys):
            differ = await asyncio.gather(*(self._differs(key, started) for key in batch))
            for key, differs in zip(batch, differ, strict=True):
                if differs or key in drifted:
                    self._enqueue(key, Priority.RESYNC)

    async def _to_compare(
        self, project: ManagedProject, referrers: Iterable[ObjectKey], started: float
    ) -> Collection[ObjectKey]:
        """Return the objects to compare one by one."""
        name = project.metadata.name
        if await self._roles.have_changed(project.project_id, _now() - started):
            return set(referrers)
        if started - self._fully_compared.get(name, started) >= FULL_INTERVAL:
            self._fully_compared[name] = started
            return set(referrers)
        return self._compared.intersection(referrers)

    async def _differs(self, key: ObjectKey, started: float) -> bool:
        """Return whether reads since the start of the resync show a difference, or failed."""
        try:
            return await self._reconciler.differs(key, max_age=_now() - started)
        except Exception as error:  # the reconcile of this object reports it; the resync continues
            _log.debug("resync: comparing %s failed: %s", key, describe(error))
            return True


def _batches(keys: Iterable[ObjectKey]) -> Iterator[tuple[ObjectKey, ...]]:
    remaining = iter(keys)
    while batch := tuple(islice(remaining, BATCH_SIZE)):
        yield batch


def _now() -> float:
    return asyncio.get_running_loop().time()
