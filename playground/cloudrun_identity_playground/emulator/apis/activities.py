"""Policy Analyzer v1: the last authentication of accounts and keys.

https://cloud.google.com/policy-intelligence/docs/activity-analyzer-service-account-authentication and
https://cloud.google.com/policy-intelligence/docs/reference/policyanalyzer/rest. Google reports days: its
timestamps are always 07:00Z. An account or key that was never used has no activity
(https://github.com/broadinstitute/yale/blob/main/internal/yale/yale.go). Its delay is not documented:
the switch `activityDelay` sets it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from cloudrun_identity_playground.emulator.errors import invalid
from cloudrun_identity_playground.emulator.switches import Switches

from .key_uses import KeyUses, Used, timestamp
from .paging import page, page_size
from .projects import ProjectRegistry
from .rpc import serves

QUERY_ACTIVITY = "google.cloud.policyanalyzer.v1.PolicyAnalyzer/QueryActivity"
ACCOUNTS = "serviceAccountLastAuthentication"
KEYS = "serviceAccountKeyLastAuthentication"

_DAY = 86_400.0
_DAY_BEGINS = 7 * 3600.0
_OBSERVED = 400 * _DAY
_MOST = 1000
_FILTER = re.compile(r'activities\.(?:full_resource_name|fullResourceName)\s*=\s*"([^"]*)"')
_HOST = "//iam.googleapis.com/"


@dataclass(frozen=True)
class QueryActivityRequest:
    """A request of QueryActivity, which has no published message."""

    parent: str
    """`projects/P/locations/L/activityTypes/T`."""
    filter: str = ""
    page_size: int = 0
    page_token: str = ""

    @property
    def activity_type(self) -> str:
        """Type of the activities."""
        return self.parent.rpartition("/")[2]


class Activities:
    """The activities of a project."""

    def __init__(self, projects: ProjectRegistry, uses: KeyUses, switches: Switches) -> None:
        self._projects = projects
        self._uses = uses
        self._switches = switches

    @serves(QUERY_ACTIVITY)
    def query(self, request: QueryActivityRequest) -> dict[str, Any]:
        """Return a page of activities, by resource name."""
        project = self._projects.resolve(request.parent.split("/")[1])
        if request.activity_type not in (ACCOUNTS, KEYS):
            raise invalid(f"Invalid activity type: {request.activity_type}")
        wanted = _FILTER.fullmatch(request.filter.strip())
        if request.filter and wanted is None:
            raise invalid(f"Invalid filter: {request.filter}")
        of_keys = request.activity_type == KEYS
        used = self._uses.of_keys(project) if of_keys else self._uses.of_accounts(project)
        until = _day(self._uses.now - self._switches.activity_delay.total_seconds())
        found = {}
        for each in used:
            seen = [time for time in each.times if time < until]
            if seen and (wanted is None or wanted[1] == _HOST + each.name):
                found[each.name] = _activity(request.activity_type, each, seen[-1], until)
        shown, token = page(found, request.page_token, page_size(max(request.page_size, 0), _MOST, _MOST))
        more = {"nextPageToken": token} if token else {}
        return ({"activities": [*shown]} if shown else {}) | more


def _activity(activity_type: str, used: Used, last: float, until: float) -> dict[str, Any]:
    name = _HOST + used.name
    described = {
        "serviceAccountId": used.account.unique_id,
        "projectNumber": used.account.project.number,
        "fullResourceName": name,
    }
    field = "serviceAccountKey" if used.key_id else "serviceAccount"
    return {
        "fullResourceName": name,
        "activityType": activity_type,
        "observationPeriod": {"startTime": timestamp(until - _OBSERVED), "endTime": timestamp(until)},
        "activity": {"lastAuthenticatedTime": timestamp(_day(last)), field: described},
    }


def _day(seconds: float) -> float:
    """Return the beginning of the day of a time."""
    return (seconds - _DAY_BEGINS) // _DAY * _DAY + _DAY_BEGINS
