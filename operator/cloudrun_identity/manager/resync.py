"""Sweeps: once per project and drift interval, Google Cloud is compared with what is declared.

A sweep costs policies and pages, not objects: every lane runs once and repairs by itself, accounts and
workloads are listed, and only objects that differ, or are not ready, get a pass.
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

_log = logging.getLogger(__name__)


AT_ONCE = 16
"""Objects that are compared at a time: the keys of an account take a call of their own."""


class Projects(Protocol):
    """What a sweep asks of the cache."""

    def project(self, name: str) -> ManagedProject | None:
        """The ManagedProject of this name."""
        ...

    def referrers(self, key: ObjectKey) -> Iterable[ObjectKey]:
        """The objects that refer to this one."""
        ...


class Resync:
    """One task a project, jittered so that projects do not sweep together."""

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
        self._sweeps: dict[str, tuple[float, asyncio.Task[None]]] = {}

    def follow(self, name: str) -> None:
        """Sweep the project from now on, at the interval it has now; stop if it is gone."""
        project = self._projects.project(name)
        interval = interval_of(project) if project else 0.0
        known = self._sweeps.get(name)
        if known and known[0] == interval:
            return
        if known:
            known[1].cancel()
            del self._sweeps[name]
        if project:
            task = asyncio.create_task(self._sweep_for_ever(name, interval), name=f"sweep {name}")
            self._sweeps[name] = (interval, task)

    async def close(self) -> None:
        """Stop all sweeps."""
        tasks = [task for _, task in self._sweeps.values()]
        self._sweeps.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _sweep_for_ever(self, name: str, interval: float) -> None:
        call_priority.set(Priority.RESYNC)
        while True:
            await asyncio.sleep(interval * random.uniform(0.7, 1.0))  # noqa: S311 - no secret
            try:
                await self._sweep(name)
            except Exception as error:  # the next sweep must come
                _log.error("sweep of ManagedProject %s: %s", name, describe(error), exc_info=error)

    async def _sweep(self, name: str) -> None:
        project = self._projects.project(name)
        if project is None or project.spec.suspend:
            return
        began = asyncio.get_running_loop().time()
        drifted = {
            ObjectKey(each.kind, each.namespace, each.name)
            for each in await self._syncers.resync(project.project_id)
        }
        self._enqueue(project_key(name), Priority.RESYNC)
        referrers = list(self._projects.referrers(project_key(name)))
        identities = [key for key in referrers if key.kind == CloudRunIdentity.__name__]
        others = [key for key in referrers if key.kind != CloudRunIdentity.__name__]
        # Identities first: the list of an account's keys then serves whatever else is about the account.
        for keys in (*_by(AT_ONCE, identities), *_by(AT_ONCE, others)):
            differ = await asyncio.gather(*(self._differs(key, began) for key in keys))
            for key, differs in zip(keys, differ, strict=True):
                if differs or key in drifted:
                    self._enqueue(key, Priority.RESYNC)

    async def _differs(self, key: ObjectKey, began: float) -> bool:
        """Whether a list made since the sweep began shows a difference, or cannot be had."""
        try:
            age = asyncio.get_running_loop().time() - began
            return await self._reconciler.differs(key, max_age=age)
        except Exception as error:  # one object must not end the sweep of the others; its pass tells of it
            _log.debug("sweep: %s: %s", key, describe(error))
            return True


def interval_of(project: ManagedProject) -> float:
    """The project's drift interval in seconds."""
    return project.spec.drift_interval.timedelta.total_seconds()


def _by(size: int, keys: Iterable[ObjectKey]) -> Iterator[tuple[ObjectKey, ...]]:
    """Some at a time."""
    left = iter(keys)
    while some := tuple(islice(left, size)):
        yield some
