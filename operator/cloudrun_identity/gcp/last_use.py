"""Last uses of service accounts and their keys, as Google reports them: read once per hour for all objects.

- Policy Analyzer reports the last day. Its delay is not documented, but the end of the period that it has
  observed is part of each activity
  (https://cloud.google.com/policy-intelligence/docs/activity-analyzer-service-account-authentication).
- Monitoring reports samples of ten minutes, with a delay of at most three hours
  (https://cloud.google.com/monitoring/api/metrics_gcp_i_o).

An answer that is refused or empty is unknown, and not an error.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from .clients import ProjectClients
from .errors import GoogleError
from .last_use_calls import (
    SourceCall,
    Uses,
    activities_call,
    activities_evidence,
    events_call,
    events_evidence,
)
from .observed_uses import PENDING, Evidence, Observation, Source, Unknown
from .ratelimit import Priority, call_priority, start_shared_task
from .rest import RestRequest

INTERVAL: Final = timedelta(hours=1)
"""Time between two reads of a project."""

KEPT: Final = timedelta(days=1)
"""Time for which the former answer counts while Google gives none."""

MAX_WAIT: Final = 2.0
"""Seconds for which a reconcile waits for the first answer. Later ones are read in the background."""

MAX_PAGES: Final = 50
"""Maximum number of pages of an answer. What is on the others is unknown."""

MAX_PROJECTS: Final = 1000
"""Maximum number of projects whose answers are cached."""


class LastUses:
    """Reads last uses. No method raises, and none waits long: the answer is at most an hour old, or Unknown.

    `wall_clock` dates the reads.
    """

    def __init__(
        self, clients: ProjectClients, wall_clock: Callable[[], datetime], max_wait: float | None = MAX_WAIT
    ) -> None:
        """With a `max_wait` of None, the first answer is awaited, however long it takes."""
        self._clients = clients
        self._wall_clock = wall_clock
        self._max_wait = max_wait
        self._shared: dict[tuple[str, Source], _SharedRead] = {}

    async def get(self, project_id: str, source: Source) -> Evidence:
        """Return the answer for a project. All callers share one read per hour."""
        key = project_id, source
        shared = self._shared.pop(key, None) or _SharedRead(
            lambda: self._read(project_id, source), self._wall_clock
        )
        self._shared[key] = shared
        if len(self._shared) > MAX_PROJECTS * len(Source):
            del self._shared[next(iter(self._shared))]
        return await shared.get(self._max_wait)

    async def _read(self, project_id: str, source: Source) -> Evidence:
        read = self._wall_clock()
        match source:
            case Source.ACCOUNTS | Source.KEYS:
                uses = await self._uses(activities_call(project_id, source), project_id)
                return activities_evidence(read, uses)
            case Source.KEY_EVENTS:
                return events_evidence(
                    read, await self._uses(events_call(project_id, source, read), project_id)
                )

    async def _uses(self, call: SourceCall, project_id: str) -> Uses:
        """Return the uses on all pages. Raises GoogleError."""
        clients = self._clients.for_project(project_id)
        uses, token = Uses(), ""
        for _ in range(MAX_PAGES):
            query = {**call.query, "pageSize": str(call.page_size)} | ({"pageToken": token} if token else {})
            request = RestRequest(call.path, f"projects/{project_id}", query)
            page = await clients.call(
                call.api, call.method, clients.rest(call.api), request, project_id=project_id
            )
            call.add(uses, page)  # at once, so that only one page is in memory
            token = page.get("nextPageToken", "")
            if not token:
                return uses
        uses.is_complete = False
        return uses


class _SharedRead:
    """The latest answer about one project, read again after an hour when it is asked for."""

    def __init__(self, read: Callable[[], Any], wall_clock: Callable[[], datetime]) -> None:
        self._read = read
        self._wall_clock = wall_clock
        self._latest: Evidence | None = None
        self._tried: datetime | None = None
        self._task: asyncio.Task[None] | None = None

    async def get(self, max_wait: float | None) -> Evidence:
        now = self._wall_clock()
        if self._task is None and (self._tried is None or not timedelta() <= now - self._tried < INTERVAL):
            self._tried = now
            self._task = start_shared_task(self._refresh(), name="read of last uses")
        if self._task is not None and (self._latest is None or max_wait is None):
            await asyncio.wait({self._task}, timeout=max_wait)
        return self._latest or PENDING

    async def _refresh(self) -> None:
        call_priority.set(Priority.RESYNC)
        try:
            self._latest = self._kept(await self._read())
        except GoogleError as error:
            self._latest = self._kept(Unknown(error))
        finally:
            self._task = None

    def _kept(self, answer: Evidence) -> Evidence:
        """Return the former answer instead of none for a day: one failure changes no status."""
        former = self._latest
        if isinstance(answer, Unknown) and isinstance(former, Observation):
            return former if self._wall_clock() - former.read < KEPT else answer
        return answer
