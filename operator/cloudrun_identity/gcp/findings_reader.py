"""Findings of Google about projects, read in the background and shared by all objects of a project.

A reconcile never waits for Recommender: findings are advice, Google computes them once a day, and its quota
is low. A read that shows something else than the read before wakes the identities of the project.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final, TypeVar

from cloudrun_identity.iam.google_findings import FindingSource, ProjectFindings, Unreadable

from .errors import GoogleError
from .ratelimit import Priority, call_priority, start_shared_task
from .recommender import Recommender
from .single_flight_cache import Clock

MAX_AGE: Final = 6 * 3600.0
"""Seconds for which findings are used. Google refreshes them once a day."""

RETRY_AFTER: Final = 3600.0
"""Seconds after which a read is repeated that a source refused."""

CACHE_SIZE: Final = 4096
"""Maximum number of projects with findings."""

_LOG = logging.getLogger(__name__)

Finding = TypeVar("Finding")
Explain = Callable[[GoogleError], str]


class FindingsReader:
    """Reads the findings of projects, each at most once in `MAX_AGE`."""

    def __init__(
        self,
        recommender: Recommender,
        clock: Clock,
        wall_clock: Callable[[], datetime],
        explain: Explain,
        on_change: Callable[[str], None],
    ) -> None:
        """`explain` returns an error with its remedy. `on_change` is called with a project ID."""
        self._recommender = recommender
        self._clock = clock
        self._wall_clock = wall_clock
        self._explain = explain
        self._on_change = on_change
        self._latest: dict[str, ProjectFindings] = {}
        self._due: dict[str, float] = {}
        self._reading: dict[str, asyncio.Task[None]] = {}

    def latest(self, project_id: str) -> ProjectFindings | None:
        """Return the findings as they are known; None before the first read. Start a read if one is due."""
        if project_id not in self._reading and self._clock() >= self._due.get(project_id, 0.0):
            task = start_shared_task(self._read(project_id), name=f"read findings of {project_id}")
            self._reading[project_id] = task
            task.add_done_callback(partial(self._on_done, project_id))
        return self._latest.get(project_id)

    async def close(self) -> None:
        """Cancel the reads in flight."""
        reading = list(self._reading.values())
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)

    async def _read(self, project_id: str) -> None:
        call_priority.set(Priority.RESYNC)
        # Set before the read, so that a read that fails in an unforeseen way is not repeated at once.
        self._due[project_id] = self._clock() + RETRY_AFTER
        found = await read_findings(self._recommender, project_id, self._wall_clock(), self._explain)
        before = self._latest.pop(project_id, None)
        if not found.unreadable:
            self._due[project_id] += MAX_AGE - RETRY_AFTER
        self._latest[project_id] = found
        if len(self._latest) > CACHE_SIZE:
            self._latest.pop(next(iter(self._latest)))
        if found != before:
            self._on_change(project_id)

    def _on_done(self, project_id: str, task: "asyncio.Task[None]") -> None:
        self._reading.pop(project_id, None)
        if not task.cancelled() and (error := task.exception()):
            _LOG.error("Cannot read the findings of project %s", project_id, exc_info=error)


async def read_findings(
    recommender: Recommender, project_id: str, now: datetime, explain: Explain
) -> ProjectFindings:
    """Return the findings about a project. A source that refuses the read is reported as unreadable."""
    unreadable: list[Unreadable] = []

    async def read(
        source: FindingSource, method: Callable[[str], Awaitable[tuple[Finding, ...]]]
    ) -> tuple[Finding, ...]:
        try:
            return await method(project_id)
        except GoogleError as error:
            unreadable.append(Unreadable(source, explain(error)))
            return ()

    found = ProjectFindings(
        now,
        await read(FindingSource.ROLES, recommender.roles),
        await read(FindingSource.PERMISSION_USAGE, recommender.usage),
        await read(FindingSource.UNUSED_ACCOUNTS, recommender.unused_accounts),
        await read(FindingSource.LATERAL_MOVEMENT, recommender.lateral_movements),
    )
    return replace(found, unreadable=tuple(unreadable))
