"""Requests for last uses, and their replies. Malformed parts of a reply are skipped."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from .observed_uses import UNKNOWN, Evidence, LastUse, Observation, Source
from .ratelimit import Api

DAY: Final = timedelta(hours=25)
"""Length of a day of Policy Analyzer at most: a day in US Pacific time, of which it reports the beginning."""

METRIC_DELAY: Final = timedelta(seconds=10_800 + 600)
"""Time after which Monitoring shows every use: its maximum delay, and one sample."""

WINDOW: Final = timedelta(hours=54)
"""Time for which uses in Monitoring are read: two days, the delay, and one period."""

PERIOD: Final = timedelta(hours=6)
"""Time for which Monitoring adds up uses. `WINDOW` is a multiple of it."""


@dataclass(frozen=True, slots=True)
class SourceCall:
    """Request that reads a source."""

    api: Api
    method: str
    """Name of the method, for metrics and errors."""
    path: str
    query: Mapping[str, str]
    page_size: int
    add: Callable[["Uses", Mapping[str, Any]], None]
    """Adds the uses on a page."""


@dataclass(slots=True)
class Uses:
    """The uses on the pages so far."""

    found: dict[str, LastUse] = field(default_factory=dict)
    since: datetime | None = None
    until: datetime | None = None
    is_complete: bool = True

    def add(self, name: str, use: LastUse) -> None:
        """Add a use of an account or a key, if it is the last one so far."""
        former = self.found.get(name)
        if former is None or former.ended < use.ended:
            self.found[name] = use


def activities_call(project_id: str, source: Source) -> SourceCall:
    """Return the query of Policy Analyzer. It can filter by one resource only, so the project is listed."""
    path = f"/v1/projects/{project_id}/locations/global/activityTypes/{source.value}/activities:query"
    method = "google.cloud.policyanalyzer.v1.PolicyAnalyzer/QueryActivity"
    return SourceCall(Api.POLICY_ANALYZER, method, path, {}, 1000, _add_activities)


def events_call(project_id: str, source: Source, read: datetime) -> SourceCall:
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
    return SourceCall(Api.MONITORING, method, path, query, 10_000, _add_series)


def _add_activities(uses: Uses, page: Mapping[str, Any]) -> None:
    for activity in _dicts(page, "activities"):
        period, last = activity.get("observationPeriod"), activity.get("activity")
        since = _time(period.get("startTime")) if isinstance(period, dict) else None
        until = _time(period.get("endTime")) if isinstance(period, dict) else None
        uses.since = min(filter(None, (uses.since, since)), default=None)
        uses.until = max(filter(None, (uses.until, until)), default=None)
        day = _time(last.get("lastAuthenticatedTime")) if isinstance(last, dict) else None
        if day is None or not isinstance(last, dict):
            continue
        key_id = str(activity.get("fullResourceName", "")).partition("/keys/")[2]
        account = last.get("serviceAccount")
        unique_id = account.get("serviceAccountId") if isinstance(account, dict) else ""
        if name := key_id or unique_id:
            uses.add(str(name), LastUse(day, day + DAY, until))


def _add_series(uses: Uses, page: Mapping[str, Any]) -> None:
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


def activities_evidence(read: datetime, uses: Uses) -> Evidence:
    """Return the answer of Policy Analyzer."""
    if not uses.found or uses.until is None:
        return UNKNOWN
    return Observation(read, uses.since or uses.until, uses.until, uses.found, uses.is_complete)


def events_evidence(read: datetime, uses: Uses) -> Evidence:
    """Return the answer of Monitoring."""
    if not uses.found:
        return UNKNOWN
    return Observation(read, read - WINDOW, read - METRIC_DELAY, uses.found, uses.is_complete)


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
