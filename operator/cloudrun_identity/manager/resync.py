"""Periodic drift detection: compares Google Cloud with every declaration, once per project and interval.

A resync costs policies and list pages, not objects. Every policy syncer of the project syncs once. Accounts
and workloads are listed. Only objects that differ, or that are not Ready, are reconciled.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Protocol

from cloudrun_identity.api import CloudRunIdentity, ManagedProject
from cloudrun_identity.gcp.ratelimit import Priority, call_priority
from cloudrun_identity.policy.syncers import PolicySyncers
from cloudrun_identity.reconcile.cluster_state import ObjectKey, project_key
from cloudrun_identity.reconcile.reconciler import Reconciler

from .logs import describe
from .project_settings import resync_interval_of

_log = logging.getLogger(__name__)


BATCH_SIZE = 16
"""Objects that are compared at the same time: the keys of each account take a call of their own."""


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


class Resync:
    """Runs one task per ManagedProject. Jitter keeps the resyncs of projects apart."""

    def __init__(
        self,
        projects: Projects,
        syncers: PolicySyncers,
        reconciler: Reconciler,
        enqueue: Callable[[ObjectKey, Priority], None],
    ) -> None:
        self._projects = projects
        self._syncers = syncers
        self._reconciler = reconciler
        self._enqueue = enqueue
        self._tasks: dict[str, tuple[float, asyncio.Task[None]]] = {}

    def follow(self, name: str) -> None:
        """Resync a ManagedProject at its present interval from now on; stop if it no longer exists."""
        project = self._projects.project(name)
        interval = resync_interval_of(project) if project else 0.0
        known = self._tasks.get(name)
        if known and known[0] == interval:
            return
        if known:
            known[1].cancel()
            del self._tasks[name]
        if project:
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
        while True:
            await asyncio.sleep(interval * random.uniform(0.7, 1.0))  # noqa: S311 - no secret
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
        started = asyncio.get_running_loop().time()
        drifted = {
            ObjectKey(each.kind, each.namespace, each.name)
            for each in await self._syncers.resync(project.project_id)
        }
        self._enqueue(project_key(name), Priority.RESYNC)
        referrers = list(self._projects.referrers(project_key(name)))
        identities = [key for key in referrers if key.kind == CloudRunIdentity.__name__]
        others = [key for key in referrers if key.kind != CloudRunIdentity.__name__]
        # Identities first: other objects that concern an account then share the list of its keys.
        for keys in (*_batches(identities), *_batches(others)):
            differ = await asyncio.gather(*(self._differs(key, started) for key in keys))
            for key, differs in zip(keys, differ, strict=True):
                if differs or key in drifted:
                    self._enqueue(key, Priority.RESYNC)

    async def _differs(self, key: ObjectKey, started: float) -> bool:
        """Return whether reads since the start of the resync show a difference, or failed."""
        try:
            age = asyncio.get_running_loop().time() - started
            return await self._reconciler.differs(key, max_age=age)
        except Exception as error:  # the reconcile of this object reports it; the resync continues
            _log.debug("resync: comparing %s failed: %s", key, describe(error))
            return True


def _batches(keys: Iterable[ObjectKey]) -> Iterator[tuple[ObjectKey, ...]]:
    remaining = iter(keys)
    while batch := tuple(islice(remaining, BATCH_SIZE)):
        yield batch
