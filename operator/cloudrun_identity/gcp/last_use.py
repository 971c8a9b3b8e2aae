"""Last uses of service accounts and their keys, as Google reports them: read once per hour for all objects.

- Policy Analyzer reports the last day. Its delay is not documented, but the end of the period that it has
  observed is part of each activity
  (https://cloud.google.com/policy-intelligence/docs/activity-analyzer-service-account-authentication).
- Monitoring reports samples of ten minutes, with a delay of at most three hours
  (https://cloud.google.com/monitoring/api/metrics_gcp_i_o).

An answer that is refused or empty is unknown, and not an error.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Final, TypeAlias

from .clients import ProjectClients
from .errors import GoogleError
from .ratelimit import Api, Priority, call_priority, start_shared_task
from .rest import RestRequest

INTERVAL: Final = timedelta(hours=1)
"""Time between two reads of a project."""

KEPT: Final = timedelta(days=1)
"""Time for which the former answer counts while Google gives none."""

PATIENCE: Final = 2.0
"""Seconds for which a reconcile waits for the first answer. Later ones are read in the background."""

DAY: Final = timedelta(hours=25)
"""Length of a day of Policy Analyzer at most: a day in US Pacific time, of which it reports the beginning."""

METRIC_DELAY: Final = timedelta(seconds=10_800 + 600)
"""Time after which Monitoring shows every use: its maximum delay, and one sample."""

WINDOW: Final = timedelta(hours=54)
"""Time for which uses in Monitoring are read: two days, the delay, and one period."""

PERIOD: Final = timedelta(hours=6)
"""Time for which Monitoring adds up uses. `WINDOW` is a multiple of it."""

MAX_PAGES: Final = 50
"""Maximum number of pages of an answer. What is on the others is unknown."""

MAX_PROJECTS: Final = 1000
"""Maximum number of projects whose answers are cached."""


class Source(Enum):
    """A list of last uses."""

    ACCOUNTS = "serviceAccountLastAuthentication"
    """Accounts by their unique ids, from Policy Analyzer."""
    KEYS = "serviceAccountKeyLastAuthentication"
    """Keys by their ids, from Policy Analyzer."""
    KEY_EVENTS = "iam.googleapis.com/service_account/key/authn_events_count"
    """Keys by their ids, from Monitoring."""


@dataclass(frozen=True, slots=True)
class LastUse:
    """The last use of an account or a key, to the precision of its source."""

    began: datetime
    """Beginning of the day or period of the use."""
    ended: datetime
    """Its end: the use was earlier."""


@dataclass(frozen=True, slots=True)
class Observation:
    """An answer: the accounts or keys that Google saw in use."""

    read: datetime
    """Time of the read."""
    since: datetime
    """Beginning of the time that the answer covers."""
    until: datetime
    """Its end. Later uses may be missing."""
    uses: Mapping[str, LastUse] = field(default_factory=dict)
    """Last uses by unique id of the account, or by id of the key."""
    is_complete: bool = True
    """False if the answer had too many pages."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """No answer."""

    error: GoogleError | None = None
    """Why Google refused; None if the answer was empty or has not arrived."""


Evidence: TypeAlias = Observation | Unknown

UNKNOWN: Final = Unknown()


class LastUses:
    """Reads last uses. No method raises, and none waits long: the answer is at most an hour old, or Unknown.

    `wall_clock` dates the reads.
    """

    def __init__(
        self, clients: ProjectClients, wall_clock: Callable[[], datetime], patience: float | None = PATIENCE
    ) -> None:
        """With a `patience` of None, the first answer is awaited, however long it takes."""
        self._clients = clients
        self._wall_clock = wall_clock
        self._patience = patience
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
        return await shared.get(self._patience)

    async def _read(self, project_id: str, source: Source) -> Evidence:
        read = self._wall_clock()
        match source:
            case Source.ACCOUNTS | Source.KEYS:
                return _activities(read, *await self._pages(_query(project_id, source), project_id))
            case Source.KEY_EVENTS:
                return _events(read, *await self._pages(_series(project_id, source, read), project_id))

    async def _pages(self, call: "_Call", project_id: str) -> tuple["_Uses", bool]:
        """Return the uses on all pages, and whether there were not too many. Raises GoogleError."""
        clients = self._clients.for_project(project_id)
        uses, token = _Uses(), ""
        for _ in range(MAX_PAGES):
            query = {**call.query, "pageSize": str(call.page_size)} | ({"pageToken": token} if token else {})
            request = RestRequest(call.path, f"projects/{project_id}", query)
            page = await clients.call(
                call.api, call.method, clients.rest(call.api), request, project_id=project_id
            )
            call.add(uses, page)  # at once, so that only one page is in memory
            token = page.get("nextPageToken", "")
            if not token:
                return uses, True
        return uses, False


class _SharedRead:
    """The latest answer about one project, read again after an hour when it is asked for."""

    def __init__(self, read: Callable[[], Any], wall_clock: Callable[[], datetime]) -> None:
        self._read = read
        self._wall_clock = wall_clock
        self._latest: Evidence | None = None
        self._tried: datetime | None = None
        self._task: asyncio.Task[None] | None = None

    async def get(self, patience: float | None) -> Evidence:
        now = self._wall_clock()
        if self._task is None and (self._tried is None or not timedelta() <= now - self._tried < INTERVAL):
            self._tried = now
            self._task = start_shared_task(self._refresh(), name="read of last uses")
        if self._task is not None and (self._latest is None or patience is None):
            await asyncio.wait({self._task}, timeout=patience)
        return self._latest or Unknown()

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


@dataclass(frozen=True, slots=True)
class _Call:
    """How to read a source."""

    api: Api
    method: str
    """Name of the method, for metrics and errors."""
    path: str
    query: Mapping[str, str]
    page_size: int
    add: Callable[["_Uses", Mapping[str, Any]], None]
    """Adds the uses on a page."""


@dataclass(slots=True)
class _Uses:
    """The uses on the pages so far."""

    found: dict[str, LastUse] = field(default_factory=dict)
    since: datetime | None = None
    until: datetime | None = None

    def add(self, name: str, use: LastUse) -> None:
        former = self.found.get(name)
        if former is None or former.ended < use.ended:
            self.found[name] = use


def date_of(evidence: Evidence, name: str) -> str | None:
    """Return the date of the last use of a key or account, in US Pacific time; None if it is not known.

    The beginning of the day is 07:00Z or 08:00Z.
    """
    use = evidence.uses.get(name) if isinstance(evidence, Observation) else None
    return f"{use.began.astimezone(UTC) - timedelta(hours=7):%Y-%m-%d}" if use else None


def _query(project_id: str, source: Source) -> _Call:
    """Return the query of Policy Analyzer. It can filter by one resource only, so the project is listed."""
    path = f"/v1/projects/{project_id}/locations/global/activityTypes/{source.value}/activities:query"
    method = "google.cloud.policyanalyzer.v1.PolicyAnalyzer/QueryActivity"
    return _Call(Api.POLICY_ANALYZER, method, path, {}, 1000, _add_activities)


def _series(project_id: str, source: Source, read: datetime) -> _Call:
    """Return the query of Monitoring, for the keys of accounts that were used in the window."""
    query = {
        "filter": f'metric.type = "{source.value}" AND resource.type = "iam_service_account"',
        "interval.startTime": _text(read - WINDOW),
        "interval.endTime": _text(read),
        "aggregation.alignmentPeriod": f"{PERIOD.total_seconds():g}s",
        "aggregation.perSeriesAligner": "ALIGN_DELTA",
    }
    method = "google.monitoring.v3.MetricService/ListTimeSeries"
    path = f"/v3/projects/{project_id}/timeSeries"
    return _Call(Api.MONITORING, method, path, query, 10_000, _add_series)


def _add_activities(uses: _Uses, page: Mapping[str, Any]) -> None:
    for activity in _dicts(page, "activities"):
        period, last = activity.get("observationPeriod"), activity.get("activity")
        if isinstance(period, dict):
            since, until = _time(period.get("startTime")), _time(period.get("endTime"))
            uses.since = max(filter(None, (uses.since, since)), default=None)
            uses.until = min(filter(None, (uses.until, until)), default=None)
        day = _time(last.get("lastAuthenticatedTime")) if isinstance(last, dict) else None
        if day is None or not isinstance(last, dict):
            continue
        key_id = str(activity.get("fullResourceName", "")).partition("/keys/")[2]
        account = last.get("serviceAccount")
        unique_id = account.get("serviceAccountId") if isinstance(account, dict) else ""
        if name := key_id or unique_id:
            uses.add(str(name), LastUse(day, day + DAY))


def _add_series(uses: _Uses, page: Mapping[str, Any]) -> None:
    for series in _dicts(page, "timeSeries"):
        metric = series.get("metric")
        labels = metric.get("labels") if isinstance(metric, dict) else None
        key_id = labels.get("key_id") if isinstance(labels, dict) else None
        for point in _dicts(series, "points"):
            interval, value = point.get("interval"), point.get("value")
            if not isinstance(interval, dict) or not isinstance(value, dict) or not key_id:
                continue
            if str(value.get("int64Value", "0")) == "0":
                continue
            ended = _time(interval.get("endTime"))
            if ended is not None:
                uses.add(str(key_id), LastUse(_time(interval.get("startTime")) or ended - PERIOD, ended))


def _activities(read: datetime, uses: _Uses, is_complete: bool) -> Evidence:
    if not uses.found or uses.until is None:
        return Unknown()
    return Observation(read, uses.since or uses.until, uses.until, uses.found, is_complete)


def _events(read: datetime, uses: _Uses, is_complete: bool) -> Evidence:
    if not uses.found:
        return Unknown()
    return Observation(read, read - WINDOW, read - METRIC_DELAY, uses.found, is_complete)


def _dicts(message: Mapping[str, Any], name: str) -> Iterator[Mapping[str, Any]]:
    listed = message.get(name)
    items: Iterable[object] = listed if isinstance(listed, list) else ()
    yield from (each for each in items if isinstance(each, dict))


def _time(text: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return found if found is None or found.tzinfo else found.replace(tzinfo=UTC)


def _text(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
