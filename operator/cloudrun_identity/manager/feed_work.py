"""Pending changes of the change feed: each changed subject is synced once, few at a time, and none twice."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

from cloudrun_identity.iam.audited_changes import Subject

from .logs import describe

_log = logging.getLogger(__name__)

CONCURRENCY: Final = 8
"""Subjects that are synced at the same time."""

CAPACITY: Final = 1000
"""Pending subjects, from which no more entries are pulled."""

REMEMBERED: Final = 4096
"""Subjects whose last sync is remembered."""

CLOCK_SKEW: Final = timedelta(seconds=10)
"""Largest expected difference between the clocks of Google Cloud and of this machine."""


class FeedWork:
    """Changed subjects that wait for their sync, in the order of their first entry."""

    def __init__(
        self, sync: Callable[[Subject], Awaitable[None]], wall_clock: Callable[[], datetime]
    ) -> None:
        """`sync` compares a subject with Google Cloud, and enqueues the objects with differences."""
        self._sync = sync
        self._started = wall_clock()
        self._pending: dict[Subject, datetime] = {}
        self._running: dict[Subject, asyncio.Task[None]] = {}
        self._covered: dict[Subject, datetime] = {}
        self._changed = asyncio.Event()

    def add(self, subject: Subject, changed_at: datetime) -> bool:
        """Add a change. Return False if a sync has covered it: the entry is late, or arrives again.

        A sync that began after an entry had arrived shows this change and all earlier ones. At the start,
        every object is reconciled.
        """
        if changed_at <= self._covered.get(subject, self._started - CLOCK_SKEW):
            return False
        self._pending[subject] = max(changed_at, self._pending.get(subject, changed_at))
        self._changed.set()
        return True

    def __len__(self) -> int:
        """Return the number of subjects that are pending or being synced."""
        return len(self._pending) + len(self._running)

    async def room(self) -> None:
        """Wait until fewer than `CAPACITY` subjects are pending."""
        while len(self._pending) >= CAPACITY:
            await self._wait()

    async def run(self) -> None:
        """Sync the pending subjects until this is cancelled."""
        try:
            while True:
                subject = self._next()
                if subject is None:
                    await self._wait()
                    continue
                self._cover(subject, self._pending.pop(subject))
                task = asyncio.create_task(self._work(subject), name="change feed sync")
                self._running[subject] = task
        finally:
            for task in self._running.values():
                task.cancel()
            await asyncio.gather(*self._running.values(), return_exceptions=True)

    def _next(self) -> Subject | None:
        """Return the subject to sync next. One that is being synced waits until that has ended."""
        if len(self._running) >= CONCURRENCY:
            return None
        return next((subject for subject in self._pending if subject not in self._running), None)

    async def _work(self, subject: Subject) -> None:
        try:
            await self._sync(subject)
        except Exception as error:  # the next resync finds what is different
            _log.warning("a change of %s was not synced: %s", subject, describe(error), exc_info=error)
        finally:
            del self._running[subject]
            self._changed.set()

    def _cover(self, subject: Subject, changed_at: datetime) -> None:
        self._covered.pop(subject, None)
        self._covered[subject] = changed_at
        if len(self._covered) > REMEMBERED:
            del self._covered[next(iter(self._covered))]

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()
