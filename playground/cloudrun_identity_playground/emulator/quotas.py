"""Quotas: reads and writes per minute of each API, beyond which it answers 429."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import grpc

from .calls import RUN, api_of, only_reads
from .errors import GoogleError, error_info, retry_info
from .switches import RequestsPerMinute, Switches

_MINUTE = 60.0
_CALLER = (
    "100000000001"  # the number of the project that is charged for all calls, because callers have no project
)
_NAMING = ("resource", "name", "parent", "service.name", "job.name", "worker_pool.name")


@dataclass(frozen=True)
class _Quota:
    """Requests that Google counts together. `location` is `global`, or the region of a call to Cloud Run."""

    api: str
    reads: bool
    location: str


@dataclass
class _Window:
    ends: float
    spent: int = 0


class Quotas:
    """Counters per minute. A minute begins with the first call. Calls of the seed do not count.

    `clock` returns seconds since the epoch.
    """

    def __init__(self, switches: Switches, clock: Callable[[], float]) -> None:
        self._switches = switches
        self._clock = clock
        self._windows: dict[_Quota, _Window] = {}

    def spend(self, rpc: str, request: Any) -> None:
        """Count a call of `rpc`.

        Raises GoogleError: RESOURCE_EXHAUSTED with an ErrorInfo and the time to wait. Such a call does not
        count.
        """
        quota = _quota(rpc, request)
        limit = self._switches.requests_per_minute.get(quota.api, RequestsPerMinute())
        allowed = limit.reads if quota.reads else limit.writes
        if allowed is None:
            return
        now = self._clock()
        window = self._windows.get(quota)
        if window is None or now >= window.ends:
            window = self._windows[quota] = _Window(now + _MINUTE)
        if window.spent >= allowed:
            raise _exceeded(quota, allowed, window.ends - now)
        window.spent += 1


def _quota(rpc: str, request: Any) -> _Quota:
    api = api_of(rpc, getattr(request, "resource", ""))
    return _Quota(api, only_reads(rpc), _region(request) if api == RUN else "global")


def _region(request: Any) -> str:
    for field in _NAMING:
        try:
            segments = attrgetter(field)(request).split("/")
        except AttributeError:  # this request has another field for the name
            continue
        if segments[2:3] == ["locations"]:
            return str(segments[3])
    return "global"


def _exceeded(quota: _Quota, allowed: int, seconds: float) -> GoogleError:
    """Return the error that users of Resource Manager and Cloud Run report.

    Google does not always add the time to wait.
    """
    kind = "Read" if quota.reads else "Write"
    regional = quota.location != "global"
    limit = f"{kind}PerMinutePerProjectRegion" if regional else f"{kind}RequestsPerMinutePerProject"
    metric = f"{kind.lower()}_regional" if regional else f"{kind.lower()}_requests"
    return GoogleError(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        f"Quota exceeded for quota metric '{kind} requests' and limit '{kind} requests per minute"
        f"{' per region' if regional else ''}' of service '{quota.api}' for consumer "
        f"'project_number:{_CALLER}'.",
        error_info(
            "RATE_LIMIT_EXCEEDED",
            "googleapis.com",
            consumer=f"projects/{_CALLER}",
            quota_limit=limit,
            quota_limit_value=str(allowed),
            quota_location=quota.location,
            quota_metric=f"{quota.api}/{metric}",
            service=quota.api,
        ),
        retry_info(math.ceil(seconds)),
    )
