"""Last uses of accounts and keys, read over REST from an emulator."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.keys import Keys
from cloudrun_identity.gcp.last_use import INTERVAL, KEPT, MAX_PAGES, LastUses
from cloudrun_identity.gcp.observed_uses import PENDING, Observation, Source, Unknown, date_of
from cloudrun_identity.gcp.rest import RestRequest
from cloudrun_identity.gcp.service_accounts import ServiceAccount, ServiceAccounts
from cloudrun_identity_playground.emulator.emulator import Emulator
from cloudrun_identity_playground.emulator.faults import ErrorInfo
from cloudrun_identity_playground.emulator.faults import Fault as InjectedFault

from .conftest import SEED, Observer

PROJECT = "shop-1234"
HOST = "//iam.googleapis.com/"
QUERY = "google.cloud.policyanalyzer.v1.PolicyAnalyzer/QueryActivity"
SERIES = "google.monitoring.v3.MetricService/ListTimeSeries"
API = "monitoring.googleapis.com"
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


class Time:
    """Clock of the emulator and of the reads, which only tests advance."""

    def __init__(self) -> None:
        self.now = datetime(2030, 6, 15, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
async def emulator(time: Time) -> AsyncIterator[Emulator]:
    async with Emulator(seed=SEED, rest_port=0, clock=lambda: time().timestamp()) as emulator:
        yield emulator


@pytest.fixture
async def clients(emulator: Emulator, observer: Observer) -> AsyncIterator[GoogleClients]:
    clients = GoogleClients(endpoint_of(emulator), observer)
    yield clients
    await clients.close()


@pytest.fixture
def last_uses(clients: GoogleClients, time: Time) -> LastUses:
    return LastUses(clients, time, max_wait=None)


@pytest.fixture
async def account(clients: GoogleClients) -> ServiceAccount:
    return await ServiceAccounts(clients).create(PROJECT, "checkout", "", "")


@pytest.fixture
async def key(clients: GoogleClients, account: ServiceAccount) -> str:
    """Create a key and return its id."""
    return (await Keys(clients, lambda: 0.0).create(PROJECT, account.unique_id)).key.key_id


def endpoint_of(emulator: Emulator) -> str:
    return f"{emulator.grpc_address}/{emulator.rest_url.rpartition(':')[2]}"


def use(emulator: Emulator, account: ServiceAccount, key_id: str, at: datetime) -> None:
    name = f"{HOST}projects/{PROJECT}/serviceAccounts/{account.email}"
    emulator.edit({"used": f"{name}/keys/{key_id}" if key_id else name, "at": at.isoformat()})


async def observed(last_uses: LastUses, source: Source) -> Observation:
    answer = await last_uses.get(PROJECT, source)
    assert isinstance(answer, Observation), answer
    return answer


async def test_last_uses_of_accounts_and_keys_are_read(
    emulator: Emulator, last_uses: LastUses, account: ServiceAccount, key: str, time: Time
) -> None:
    used = time() - 5 * DAY
    use(emulator, account, key, used)
    accounts, keys = await observed(last_uses, Source.ACCOUNTS), await observed(last_uses, Source.KEYS)
    for answer, name in ((accounts, account.unique_id), (keys, key)):
        [found] = answer.uses
        assert found == name
        assert answer.uses[name].began <= used < answer.uses[name].ended
        assert date_of(answer, name) == "2030-06-10"
        assert answer.until <= time() - DAY


async def test_monitoring_shows_the_uses_of_the_window(
    emulator: Emulator, last_uses: LastUses, account: ServiceAccount, key: str, time: Time
) -> None:
    for ago in (HOUR, 40 * HOUR, 90 * HOUR):
        use(emulator, account, key, time() - ago)
    answer = await observed(last_uses, Source.KEY_EVENTS)
    assert answer.uses[key].began < time() - HOUR <= answer.uses[key].ended
    assert answer.until - answer.since > 2 * DAY


@pytest.mark.parametrize("source", Source)
async def test_empty_answer_is_unknown(last_uses: LastUses, key: str, source: Source) -> None:
    assert key
    assert await last_uses.get(PROJECT, source) == Unknown()


@pytest.mark.parametrize("source", Source)
async def test_refused_answer_is_unknown_with_its_error(
    emulator: Emulator, last_uses: LastUses, key: str, source: Source
) -> None:
    assert key
    emulator.switches.update({"withoutToken": "user:ann@example.com"})
    answer = await last_uses.get(PROJECT, source)
    assert isinstance(answer, Unknown)
    assert answer.error is not None
    assert answer.error.fault is Fault.PERMISSION_DENIED


async def test_disabled_api_is_named_in_the_error(emulator: Emulator, last_uses: LastUses, key: str) -> None:
    assert key
    info = ErrorInfo(reason="SERVICE_DISABLED", metadata={"service": "policyanalyzer.googleapis.com"})
    emulator.faults.add(InjectedFault(method=QUERY, code="PERMISSION_DENIED", error_info=info))
    answer = await last_uses.get(PROJECT, Source.KEYS)
    assert isinstance(answer, Unknown)
    assert answer.error is not None
    assert answer.error.fault is Fault.API_DISABLED
    assert answer.error.metadata["service"] == "policyanalyzer.googleapis.com"


async def test_a_project_is_read_once_per_hour_for_all_callers(
    emulator: Emulator, last_uses: LastUses, account: ServiceAccount, key: str, time: Time
) -> None:
    use(emulator, account, key, time() - 5 * DAY)
    await asyncio.gather(*(last_uses.get(PROJECT, Source.KEYS) for _ in range(50)))
    time.now += INTERVAL - timedelta(seconds=1)
    await last_uses.get(PROJECT, Source.KEYS)
    assert emulator.calls[QUERY] == 1
    time.now += timedelta(seconds=1)
    await asyncio.gather(*(last_uses.get(PROJECT, Source.KEYS) for _ in range(50)))
    assert emulator.calls[QUERY] == 2


async def test_a_refusal_is_not_repeated_within_the_hour(
    emulator: Emulator, last_uses: LastUses, key: str, time: Time
) -> None:
    assert key
    emulator.switches.update({"withoutToken": "user:ann@example.com"})
    for _ in range(5):
        await last_uses.get(PROJECT, Source.KEYS)
        time.now += timedelta(minutes=10)
    assert emulator.calls[QUERY] == 1


async def test_former_answer_counts_for_a_day_of_failures(
    emulator: Emulator, last_uses: LastUses, account: ServiceAccount, key: str, time: Time
) -> None:
    use(emulator, account, key, time() - 5 * DAY)
    before = await observed(last_uses, Source.KEYS)
    emulator.switches.update({"withoutToken": "user:ann@example.com"})
    time.now += INTERVAL
    assert await last_uses.get(PROJECT, Source.KEYS) is before
    time.now += KEPT
    assert isinstance(await last_uses.get(PROJECT, Source.KEYS), Unknown)


async def test_all_pages_are_read(
    emulator: Emulator, last_uses: LastUses, clients: GoogleClients, time: Time, monkeypatch: Any
) -> None:
    monkeypatch.setattr("cloudrun_identity_playground.emulator.apis.activities._MOST", 2)
    for number in range(5):
        made = await ServiceAccounts(clients).create(PROJECT, f"account-{number}", "", "")
        use(emulator, made, "", time() - 5 * DAY)
    answer = await observed(last_uses, Source.ACCOUNTS)
    assert len(answer.uses) == 5
    assert answer.is_complete
    assert emulator.calls[QUERY] == 3


async def test_an_endless_answer_is_cut_and_says_so(
    emulator: Emulator, last_uses: LastUses, account: ServiceAccount, time: Time, monkeypatch: Any
) -> None:
    use(emulator, account, "", time() - 5 * DAY)
    monkeypatch.setattr(
        "cloudrun_identity_playground.emulator.apis.activities.page",
        lambda items, token, size: ([*items.values()], "more"),
    )
    answer = await observed(last_uses, Source.ACCOUNTS)
    assert not answer.is_complete
    assert emulator.calls[QUERY] == MAX_PAGES


async def test_a_slow_answer_delays_no_caller(
    emulator: Emulator, clients: GoogleClients, account: ServiceAccount, key: str, time: Time
) -> None:
    use(emulator, account, key, time() - 5 * DAY)
    emulator.faults.add(InjectedFault(method=QUERY, delay=0.2))
    last_uses = LastUses(clients, time, max_wait=0.001)
    assert await last_uses.get(PROJECT, Source.KEYS) == PENDING
    [read] = (task for task in asyncio.all_tasks() if task.get_name() == "read of last uses")
    await read
    assert isinstance(await last_uses.get(PROJECT, Source.KEYS), Observation)
    assert emulator.calls[QUERY] == 1


async def test_emulator_without_rest_is_unknown(emulator: Emulator, observer: Observer, time: Time) -> None:
    clients = GoogleClients(emulator.grpc_address, observer)
    answer = await LastUses(clients, time, max_wait=None).get(PROJECT, Source.KEYS)
    await clients.close()
    assert isinstance(answer, Unknown)
    assert answer.error is not None
    assert answer.error.fault is Fault.UNIMPLEMENTED


async def test_read_is_retried_while_google_is_unavailable(
    emulator: Emulator, last_uses: LastUses, account: ServiceAccount, key: str, time: Time, observer: Observer
) -> None:
    use(emulator, account, key, time() - 5 * DAY)
    emulator.faults.add(InjectedFault(method=QUERY, code="UNAVAILABLE", times=2))
    assert await observed(last_uses, Source.KEYS)
    codes = [code for method, code in observer.calls if method == QUERY]
    assert codes == ["UNAVAILABLE", "UNAVAILABLE", "OK"]


@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [
        (200, b"[]", Fault.UNAVAILABLE),
        (200, b"not JSON", Fault.UNAVAILABLE),
        (404, b"<html>", Fault.UNIMPLEMENTED),
        (502, b"", Fault.UNAVAILABLE),
        (403, b'{"error": {"status": "NO_SUCH", "message": "m"}}', Fault.PERMISSION_DENIED),
        (
            403,
            b'{"error": {"status": "PERMISSION_DENIED", "message": "m", "details": [1]}}',
            Fault.PERMISSION_DENIED,
        ),
        (302, b"", Fault.UNAVAILABLE),
    ],
)
async def test_malformed_reply_is_an_error_of_the_call(
    served: Callable[[int, bytes], Any], observer: Observer, status: int, body: bytes, fault: Fault
) -> None:
    clients = GoogleClients(f"127.0.0.1:1/{await served(status, body)}", observer)
    request = RestRequest("/v1/x", f"projects/{PROJECT}")
    with pytest.raises(GoogleError) as raised:
        await clients.call(
            "monitoring.googleapis.com", SERIES, clients.rest("monitoring.googleapis.com"), request
        )
    await clients.close()
    assert raised.value.fault is fault


@pytest.fixture
async def served() -> AsyncIterator[Callable[[int, bytes], Any]]:
    """Return a function that serves one reply for all requests, and returns the port."""
    from aiohttp import web

    runners: list[web.AppRunner] = []

    async def serve(status: int, body: bytes) -> int:
        async def answer(_: web.Request) -> web.Response:
            return web.Response(status=status, body=body)

        app = web.Application()
        app.router.add_get("/{path:.*}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return int(runner.addresses[0][1])

    yield serve
    for runner in runners:
        await runner.cleanup()
