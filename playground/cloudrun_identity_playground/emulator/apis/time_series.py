"""Monitoring v3: time series of the authentications of accounts and keys.

https://cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.timeSeries/list. Google samples
both metrics every 600 s, and shows a sample after up to 10,800 s
(https://cloud.google.com/monitoring/api/metrics_gcp_i_o), usually within minutes
(https://cloud.google.com/iam/docs/service-account-monitoring). The switch `metricDelay` sets the delay.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cloudrun_identity_playground.emulator.errors import invalid
from cloudrun_identity_playground.emulator.switches import Switches

from .key_uses import KeyUses, Used, timestamp
from .paging import page, page_size
from .projects import ProjectRegistry
from .rpc import serves

LIST_TIME_SERIES = "google.monitoring.v3.MetricService/ListTimeSeries"
ACCOUNT_EVENTS = "iam.googleapis.com/service_account/authn_events_count"
KEY_EVENTS = "iam.googleapis.com/service_account/key/authn_events_count"

_RESOURCE = "iam_service_account"
_SAMPLED_EVERY = 600.0
_RETAINED = 6 * 7 * 86_400.0
_MOST = 100_000
_TERM = re.compile(r'([a-z_."]+?)\s*=\s*(?:"([^"]*)"|one_of\(([^)]*)\))')
_ALIGNERS = ("ALIGN_DELTA", "ALIGN_SUM")


@dataclass(frozen=True)
class ListTimeSeriesRequest:
    """The parts of a request that these metrics need."""

    name: str
    """`projects/P`."""
    filter: str
    start_time: str
    end_time: str
    aligner: str = ""
    alignment_seconds: float = 0.0
    page_size: int = 0
    page_token: str = ""


class TimeSeries:
    """The time series of a project."""

    def __init__(self, projects: ProjectRegistry, uses: KeyUses, switches: Switches) -> None:
        self._projects = projects
        self._uses = uses
        self._switches = switches

    @serves(LIST_TIME_SERIES)
    def list_time_series(self, request: ListTimeSeriesRequest) -> dict[str, Any]:
        """Return a page of time series, each with the points of the interval, the newest first.

        Google counts points for the page size. Here a page has as many series.
        """
        project = self._projects.resolve(request.name.split("/")[1])
        terms = _terms(request.filter)
        metric = terms.pop("metric.type", ("",))[0]
        if request.aligner and request.aligner not in _ALIGNERS:
            raise invalid(f'Field aggregation.perSeriesAligner had an invalid value of "{request.aligner}".')
        if metric not in (ACCOUNT_EVENTS, KEY_EVENTS):
            raise invalid(f'Cannot find metric(s) that match type = "{metric}".')
        if terms.pop("resource.type", (_RESOURCE,)) != (_RESOURCE,):
            return {"unit": "1"}
        used = self._uses.of_keys(project) if metric == KEY_EVENTS else self._uses.of_accounts(project)
        found = {
            each.name: _series(metric, each, points)
            for each in used
            if _matches(each, terms) and (points := self._points(each, request))
        }
        size = page_size(request.page_size, _MOST, _MOST)
        shown, token = page(found, request.page_token, size)
        more = {"nextPageToken": token} if token else {}
        return ({"timeSeries": [*shown]} if shown else {}) | more | {"unit": "1"}

    def _points(self, used: Used, request: ListTimeSeriesRequest) -> list[dict[str, Any]]:
        start, end = _seconds(request.start_time), _seconds(request.end_time)
        if end < start:
            raise invalid("Field interval.end_time had an invalid value: The end time is before the start.")
        period = request.alignment_seconds or _SAMPLED_EVERY
        visible = self._uses.now - self._switches.metric_delay.total_seconds()
        oldest = self._uses.now - _RETAINED
        counts: Counter[int] = Counter()
        for time in used.times:
            sampled = -(-time // _SAMPLED_EVERY) * _SAMPLED_EVERY
            if max(start, oldest) < sampled <= min(end, visible):
                counts[int((end - sampled) // period)] += 1
        return [
            {
                "interval": {
                    "startTime": timestamp(end - (index + 1) * period),
                    "endTime": timestamp(end - index * period),
                },
                "value": {"int64Value": str(count)},
            }
            for index, count in sorted(counts.items())
        ]


def _series(metric: str, used: Used, points: Iterable[dict[str, Any]]) -> dict[str, Any]:
    labels = {"labels": {"key_id": used.key_id}} if used.key_id else {}
    account = used.account
    return {
        "metric": {"type": metric, **labels},
        "resource": {
            "type": _RESOURCE,
            "labels": {"project_id": account.project.id, "unique_id": account.unique_id},
        },
        "metricKind": "DELTA",
        "valueType": "INT64",
        "points": [*points],
    }


def _matches(used: Used, terms: dict[str, tuple[str, ...]]) -> bool:
    values = {
        "metric.labels.key_id": used.key_id,
        "resource.labels.unique_id": used.account.unique_id,
        "resource.labels.project_id": used.account.project.id,
    }
    for name, accepted in terms.items():
        if name not in values:
            raise invalid(f"Field filter had an invalid value: Unknown label {name}.")
        if values[name] not in accepted:
            return False
    return True


def _terms(text: str) -> dict[str, tuple[str, ...]]:
    """Return the accepted values of each field of a filter; terms are joined by AND or a blank."""
    return dict(_read_terms(text))


def _read_terms(text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    rest = text.strip()
    while rest:
        match = _TERM.match(rest)
        if match is None:
            raise invalid(f'Field filter had an invalid value of "{text}": Could not parse filter.')
        name = match[1].replace('"', "").replace(".label.", ".labels.")
        listed = match[2] if match[3] is None else None
        yield name, (listed,) if listed is not None else tuple(re.findall(r'"([^"]*)"', match[3]))
        rest = rest[match.end() :].strip().removeprefix("AND ").strip()


def _seconds(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError as error:
        raise invalid(f"Field interval had an invalid value: {text}.") from error
