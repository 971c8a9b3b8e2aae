"""Policy Analyzer's activities and Monitoring's time series of used accounts and keys."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from cloudrun_identity_playground.emulator import Emulator
from cloudrun_identity_playground.emulator.faults import Fault

from .clients import Clients, Clock

ACCOUNT = "projects/shop/serviceAccounts/checkout@shop.iam.gserviceaccount.com"
ACTIVITIES = "/v1/projects/shop/locations/global/activityTypes"
OF_ACCOUNTS = f"{ACTIVITIES}/serviceAccountLastAuthentication/activities:query"
OF_KEYS = f"{ACTIVITIES}/serviceAccountKeyLastAuthentication/activities:query"
SERIES = "/v3/projects/shop/timeSeries"
METRIC = 'metric.type = "iam.googleapis.com/service_account/key/authn_events_count"'
HOST = "//iam.googleapis.com/"
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


class Rest:
    """GET requests over REST with an expected status."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def __call__(
        self, path: str, query: Mapping[str, str] | None = None, status: int = 200, token: str = ""
    ) -> Any:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with self._session.get(self._url + path, params=query, headers=headers) as response:
            answer = await response.json()
            assert response.status == status, answer
            return answer


@pytest.fixture
async def rest(emulator: Emulator) -> AsyncIterator[Rest]:
    async with aiohttp.ClientSession() as session:
        yield Rest(session, emulator.rest_url)


@pytest.fixture
async def key(clients: Clients) -> str:
    """Return the resource name of a key."""
    await clients.create_account()
    return str((await clients.iam.create_service_account_key(name=ACCOUNT)).name)


def at(clock: Clock, ago: timedelta) -> datetime:
    return datetime.fromtimestamp(clock(), UTC) - ago


def use(emulator: Emulator, name: str, time: datetime) -> None:
    emulator.edit({"used": HOST + name, "at": time.isoformat()})


def interval(clock: Clock, hours: int = 54, **more: str) -> dict[str, str]:
    start, end = at(clock, hours * HOUR), at(clock, timedelta())
    return {
        "filter": METRIC,
        "interval.startTime": start.isoformat(),
        "interval.endTime": end.isoformat(),
        **more,
    }


async def test_activity_of_a_key_has_its_last_day(
    emulator: Emulator, rest: Rest, key: str, clock: Clock
) -> None:
    used = at(clock, 5 * DAY)
    use(emulator, key, used - DAY)
    use(emulator, key, used)
    [activity] = (await rest(OF_KEYS))["activities"]
    assert activity["fullResourceName"] == HOST + key
    last = datetime.fromisoformat(activity["activity"]["lastAuthenticatedTime"])
    assert (last.hour, last.minute) == (7, 0)
    assert timedelta() <= used - last < DAY
    assert activity["activity"]["serviceAccountKey"]["fullResourceName"] == HOST + key
    assert activity["observationPeriod"]["endTime"] > activity["activity"]["lastAuthenticatedTime"]


async def test_use_of_a_key_is_one_of_its_account(
    emulator: Emulator, rest: Rest, key: str, clock: Clock
) -> None:
    use(emulator, key, at(clock, 5 * DAY))
    [activity] = (await rest(OF_ACCOUNTS))["activities"]
    assert activity["fullResourceName"] == HOST + ACCOUNT
    assert activity["activity"]["serviceAccount"]["serviceAccountId"]


async def test_nothing_used_is_an_empty_answer(rest: Rest, key: str, clock: Clock) -> None:
    assert key
    assert await rest(OF_KEYS) == {}
    assert await rest(SERIES, interval(clock)) == {"unit": "1"}


async def test_activities_are_filtered_by_full_name(
    emulator: Emulator, rest: Rest, key: str, clock: Clock
) -> None:
    use(emulator, key, at(clock, 5 * DAY))
    for field in ("full_resource_name", "fullResourceName"):
        found = await rest(OF_KEYS, {"filter": f'activities.{field} = "{HOST}{key}"'})
        assert len(found["activities"]) == 1
        assert await rest(OF_KEYS, {"filter": f'activities.{field} = "{HOST}{key}x"'}) == {}
    await rest(OF_KEYS, {"filter": "key = 1"}, status=400)
    await rest(f"{ACTIVITIES}/other/activities:query", status=400)


async def test_activities_come_in_pages(
    emulator: Emulator, rest: Rest, clients: Clients, clock: Clock
) -> None:
    for name in ("checkout", "billing", "orders"):
        await clients.create_account(name)
        use(emulator, ACCOUNT.replace("checkout", name), at(clock, 5 * DAY))
    first = await rest(OF_ACCOUNTS, {"pageSize": "2"})
    second = await rest(OF_ACCOUNTS, {"pageSize": "2", "pageToken": first["nextPageToken"]})
    assert [len(page["activities"]) for page in (first, second)] == [2, 1]
    assert "nextPageToken" not in second


async def test_activities_and_metric_appear_after_their_delays(
    emulator: Emulator, rest: Rest, key: str, clock: Clock
) -> None:
    emulator.switches.update({"activityDelay": "48h", "metricDelay": "3h"})
    use(emulator, key, at(clock, timedelta()))
    clock.advance(2 * 3600)
    assert "timeSeries" not in await rest(SERIES, interval(clock))
    clock.advance(2 * 3600)
    assert "timeSeries" in await rest(SERIES, interval(clock))
    clock.advance(44 * 3600)
    assert await rest(OF_KEYS) == {}
    clock.advance(24 * 3600)
    assert "activities" in await rest(OF_KEYS)


async def test_time_series_has_key_account_and_counts(
    emulator: Emulator, rest: Rest, key: str, clock: Clock
) -> None:
    for ago in (HOUR, HOUR, 30 * HOUR, 60 * HOUR):
        use(emulator, key, at(clock, ago))
    aligned = {"aggregation.alignmentPeriod": "21600s", "aggregation.perSeriesAligner": "ALIGN_DELTA"}
    [series] = (await rest(SERIES, interval(clock, **aligned)))["timeSeries"]
    assert series["metric"]["labels"] == {"key_id": key.rpartition("/")[2]}
    assert series["resource"]["type"] == "iam_service_account"
    assert series["resource"]["labels"]["unique_id"].isdigit()
    assert [point["value"]["int64Value"] for point in series["points"]] == ["2", "1"]


async def test_time_series_are_filtered_by_label(
    emulator: Emulator, rest: Rest, key: str, clock: Clock
) -> None:
    use(emulator, key, at(clock, HOUR))
    key_id = key.rpartition("/")[2]
    for term, found in (
        (f'metric.labels.key_id = "{key_id}"', True),
        (f'metric.labels.key_id = one_of("a", "{key_id}")', True),
        ('metric.labels.key_id = "other"', False),
        ('resource.type = "iam_service_account"', True),
    ):
        answer = await rest(SERIES, interval(clock) | {"filter": f"{METRIC} AND {term}"})
        assert ("timeSeries" in answer) is found, term
    await rest(SERIES, interval(clock) | {"filter": 'metric.type = "x"'}, status=400)
    await rest(SERIES, interval(clock) | {"filter": f"{METRIC} AND other = "}, status=400)


async def test_queries_need_their_permissions(emulator: Emulator, rest: Rest, key: str, clock: Clock) -> None:
    ann = "user:ann@example.com"
    project = "//cloudresourcemanager.googleapis.com/projects/shop"
    assert key
    for path in (OF_KEYS, OF_ACCOUNTS, SERIES):
        refused = await rest(path, interval(clock) if path == SERIES else None, status=403, token=ann)
        assert refused["error"]["status"] == "PERMISSION_DENIED"
    roles = ("roles/policyanalyzer.activityAnalysisViewer", "roles/monitoring.viewer")
    emulator.edit({"policy": project, "add": [{"role": role, "member": ann} for role in roles]})
    for path in (OF_KEYS, OF_ACCOUNTS, SERIES):
        await rest(path, interval(clock) if path == SERIES else None, token=ann)


async def test_a_disabled_api_answers_with_its_name(emulator: Emulator, rest: Rest, key: str) -> None:
    assert key
    emulator.faults.add(
        Fault.model_validate(
            {
                "method": "google.cloud.policyanalyzer.*",
                "code": "PERMISSION_DENIED",
                "errorInfo": {
                    "reason": "SERVICE_DISABLED",
                    "metadata": {"service": "policyanalyzer.googleapis.com"},
                },
            }
        )
    )
    refused = await rest(OF_KEYS, status=403)
    assert "SERVICE_DISABLED" in json.dumps(refused)
    await rest(OF_KEYS)


async def test_use_of_an_unknown_key_is_refused(emulator: Emulator, key: str) -> None:
    with pytest.raises(Exception, match="does not exist"):
        emulator.edit({"used": f"{HOST}{key}x"})
