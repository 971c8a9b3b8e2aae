"""Findings of Google about projects, read in the background and shared by all objects of a project.

A reconcile never waits for Recommender: findings are advice, Google computes them once a day, and its quota
is low. A read that shows something else than the read before wakes the identities of the project.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final, TypeVar

from cloudrun_identity.iam.google_findings import FindingSource, ProjectFindings, Unreadable

from .errors import Fault, GoogleError
from .ratelimit import Priority, call_priority, start_shared_task
from .recommender import Recommender
from .single_flight_cache import Clock

MAX_AGE: Final = 6 * 3600.0
"""Seconds for which the answer of a source is used: its findings, which Google refreshes once a day, or its
refusal."""

RETRY_AFTER: Final = 3600.0
"""Seconds after which a read is repeated that failed in another way."""

SOURCES: Final = (
    FindingSource.ROLES,
    FindingSource.PERMISSION_USAGE,
    FindingSource.UNUSED_ACCOUNTS,
    FindingSource.LATERAL_MOVEMENT,
)
"""Sources of the findings about a project."""

CACHE_SIZE: Final = 4096
"""Maximum number of projects with findings."""

_REFUSALS: Final = frozenset(
    {
        Fault.PERMISSION_DENIED,
        Fault.QUOTA_EXCEEDED,
        Fault.API_DISABLED,
        Fault.PERIMETER_VIOLATION,
        Fault.UNIMPLEMENTED,
    }
)
"""Errors that a read an hour later would meet, too. Each read counts in the quota of the organization."""

_LOG = logging.getLogger(__name__)

Finding = TypeVar("Finding")
Explain = Callable[[GoogleError], str]


class FindingsReader:
    """Reads the findings of projects, each source when it is due."""

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
        self._due: dict[str, dict[FindingSource, float]] = {}
        self._reading: dict[str, asyncio.Task[None]] = {}

    def latest(self, project_id: str) -> ProjectFindings | None:
        """Return the findings as they are known; None before the first read. Start a read if one is due."""
        if project_id not in self._reading and (sources := self._due_sources(project_id)):
            task = start_shared_task(self._read(project_id, sources), name=f"read findings of {project_id}")
            self._reading[project_id] = task
            task.add_done_callback(partial(self._on_done, project_id))
        return self._latest.get(project_id)

    async def close(self) -> None:
        """Cancel the reads in flight."""
        reading = list(self._reading.values())
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)

    def _due_sources(self, project_id: str) -> frozenset[FindingSource]:
        due, now = self._due.get(project_id, {}), self._clock()
        return frozenset(each for each in SOURCES if now >= due.get(each, 0.0))

    async def _read(self, project_id: str, sources: frozenset[FindingSource]) -> None:
        call_priority.set(Priority.RESYNC)
        now, due = self._clock(), self._due.setdefault(project_id, {})
        # Set before the read, so that a read that fails in an unforeseen way is not repeated at once.
        due.update(dict.fromkeys(sources, now + RETRY_AFTER))
        before = self._latest.get(project_id)
        found = await read_findings(
            self._recommender, project_id, self._wall_clock(), self._explain, before, sources
        )
        failed = {each.source for each in found.unreadable if not each.is_refusal}
        due.update(dict.fromkeys(sources - failed, now + MAX_AGE))
        self._latest.pop(project_id, None)
        self._latest[project_id] = found
        if len(self._latest) > CACHE_SIZE:
            oldest = next(iter(self._latest))
            del self._latest[oldest]
            self._due.pop(oldest, None)
        if found != before:
            self._on_change(project_id)

    def _on_done(self, project_id: str, task: "asyncio.Task[None]") -> None:
        self._reading.pop(project_id, None)
        if not task.cancelled() and (error := task.exception()):
            _LOG.error("Cannot read the findings of project %s", project_id, exc_info=error)


async def read_findings(
    recommender: Recommender,
    project_id: str,
    now: datetime,
    explain: Explain,
    before: ProjectFindings | None = None,
    sources: Collection[FindingSource] = SOURCES,
) -> ProjectFindings:
    """Return the findings about a project: those of `sources` are read, the others are as in `before`.

    A source that refuses the read is reported as unreadable.
    """
    known = before or ProjectFindings(now)
    unreadable = [each for each in known.unreadable if each.source not in sources]

    async def read(
        source: FindingSource,
        method: Callable[[str], Awaitable[tuple[Finding, ...]]],
        kept: tuple[Finding, ...],
    ) -> tuple[Finding, ...]:
        if source not in sources:
            return kept
        try:
            return await method(project_id)
        except GoogleError as error:
            unreadable.append(Unreadable(source, explain(error), is_refusal=error.fault in _REFUSALS))
            return ()

    found = ProjectFindings(
        now,
        await read(FindingSource.ROLES, recommender.roles, known.roles),
        await read(FindingSource.PERMISSION_USAGE, recommender.usage, known.usage),
        await read(FindingSource.UNUSED_ACCOUNTS, recommender.unused_accounts, known.unused_accounts),
        await read(FindingSource.LATERAL_MOVEMENT, recommender.lateral_movements, known.lateral_movements),
    )
    in_order = sorted(unreadable, key=lambda each: SOURCES.index(each.source))
    return replace(found, unreadable=tuple(in_order))
