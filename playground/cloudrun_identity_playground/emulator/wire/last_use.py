"""REST of Policy Analyzer v1 and of the time series of Monitoring v3, which have no gRPC client here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from cloudrun_identity_playground.emulator.apis.activities import QUERY_ACTIVITY, QueryActivityRequest
from cloudrun_identity_playground.emulator.apis.time_series import LIST_TIME_SERIES, ListTimeSeriesRequest
from cloudrun_identity_playground.emulator.errors import invalid

_ACTIVITIES = re.compile(r"/v1/(projects/[^/]+/locations/[^/]+/activityTypes/[^/]+)/activities:query")
_TIME_SERIES = re.compile(r"/v3/(projects/[^/]+)/timeSeries")


async def last_use_answer(
    verb: str, path: str, query: Mapping[str, str], call: Callable[[str, Any], Any]
) -> dict[str, Any] | None:
    """Return the response to a request; None for a request to another API. `call` calls a method.

    Raises GoogleError.
    """
    if verb != "GET":
        return None
    if (match := _ACTIVITIES.fullmatch(path)) is not None:
        activities = QueryActivityRequest(
            match[1], query.get("filter", ""), _number(query, "pageSize"), query.get("pageToken", "")
        )
        return dict(await call(QUERY_ACTIVITY, activities))
    if (match := _TIME_SERIES.fullmatch(path)) is not None:
        aligner = query.get("aggregation.perSeriesAligner", "")
        series = ListTimeSeriesRequest(
            match[1],
            query.get("filter", ""),
            query.get("interval.startTime") or query.get("interval.endTime", ""),
            query.get("interval.endTime", ""),
            aligner,
            _period(query.get("aggregation.alignmentPeriod", "")) if aligner else 0.0,
            _number(query, "pageSize"),
            query.get("pageToken", ""),
        )
        return dict(await call(LIST_TIME_SERIES, series))
    return None


def _number(query: Mapping[str, str], name: str) -> int:
    text = query.get(name, "0")
    if not text.lstrip("-").isdigit():
        raise invalid(f"Invalid value at '{name}' (TYPE_INT32), \"{text}\"")
    return int(text)


def _period(text: str) -> float:
    """Return the seconds of a period of at least a minute, such as `3600s`."""
    seconds = re.fullmatch(r"(\d+(?:\.\d+)?)s", text)
    if seconds is None or float(seconds[1]) < 60:
        raise invalid("Field aggregation.alignmentPeriod had an invalid value: it is at least 60s.")
    return float(seconds[1])
