"""The rules that every request to Google Cloud follows."""

import asyncio
import socket
from typing import Any

import grpc.aio
import pytest
from google.api_core import exceptions as api_exceptions
from google.cloud.run_v2.services.services import ServicesAsyncClient
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2

from cloudrun_identity.api import MULTI_REGION
from cloudrun_identity.gcp.channels import Channels
from cloudrun_identity.gcp.clients import TIMEOUT, GoogleClients
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.ratelimit import Api, CallKind, Priority, Rate, RateLimiter, call_priority
from cloudrun_identity.gcp.requests import request_reason
from tests.unit.gcp.client_doubles import READ, WRITE, Method, NoTokens, Observer, unavailable

pytestmark = pytest.mark.looptime(start=0)


@pytest.fixture
def observer() -> Observer:
    return Observer()


@pytest.fixture
def clients(observer: Observer) -> GoogleClients:
    return GoogleClients("127.0.0.1:1", observer)


async def test_call_has_timeout_and_reason_and_no_library_retries(
    clients: GoogleClients, observer: Observer
) -> None:
    request_reason.set("payments/checkout@3")
    method = Method("answer")

    answer = await clients.call(
        Api.IAM, READ, method, "request", metadata=(("x-goog-request-params", "a=b"),)
    )

    assert answer == "answer"
    assert method.arguments == [
        {
            "request": "request",
            "timeout": TIMEOUT,
            "retry": None,
            "metadata": (("x-goog-request-reason", "payments/checkout@3"), ("x-goog-request-params", "a=b")),
        }
    ]
    assert observer.calls == [(READ, "OK")]


async def test_call_outside_of_a_reconcile_has_no_reason(clients: GoogleClients) -> None:
    method = Method("answer")

    await clients.call(Api.IAM, READ, method, "request", timeout=3)

    assert method.arguments[0]["metadata"] == ()
    assert method.arguments[0]["timeout"] == 3


async def test_read_is_retried_while_unavailable(clients: GoogleClients, observer: Observer) -> None:
    method = Method(unavailable(), unavailable(), "answer")

    assert await clients.call(Api.IAM, READ, method, "request") == "answer"
    assert observer.codes == ["UNAVAILABLE", "UNAVAILABLE", "OK"]


async def test_read_fails_after_three_attempts(clients: GoogleClients, observer: Observer) -> None:
    method = Method(*(unavailable() for _ in range(4)))

    with pytest.raises(GoogleError) as raised:
        await clients.call(Api.IAM, READ, method, "request")

    assert raised.value.fault is Fault.UNAVAILABLE
    assert observer.codes == ["UNAVAILABLE"] * 3


async def test_write_is_not_retried(clients: GoogleClients, observer: Observer) -> None:
    with pytest.raises(GoogleError):
        await clients.call(Api.IAM, WRITE, Method(unavailable()), "request")

    assert observer.codes == ["UNAVAILABLE"]


async def test_repeatable_write_is_retried(clients: GoogleClients) -> None:
    method = Method(unavailable(), "answer")

    assert await clients.call(Api.IAM, WRITE, method, "request", repeatable=True) == "answer"


async def test_before_send_runs_after_the_rate_limiter_admits_the_call(
    observer: Observer,
) -> None:
    slow = RateLimiter({(api, kind): Rate(60, 1) for api in Api for kind in CallKind})
    clients, times = GoogleClients("127.0.0.1:1", observer, slow), []

    async def before() -> None:
        times.append(round(asyncio.get_running_loop().time()))

    for _ in range(2):
        await clients.call(Api.IAM, WRITE, Method("answer"), "request", before_send=before)

    assert times == [0, 1]


async def test_call_is_not_sent_if_before_send_fails(clients: GoogleClients, observer: Observer) -> None:
    async def before() -> None:
        raise GoogleError(Fault.UNAVAILABLE, READ, "no")

    with pytest.raises(GoogleError) as raised:
        await clients.call(Api.IAM, WRITE, Method("answer"), "request", before_send=before)

    assert not raised.value.undecided
    assert observer.calls == []


async def test_call_waiting_for_its_rate_is_not_sent_after_close(
    observer: Observer,
) -> None:
    slow = RateLimiter({(api, kind): Rate(60, 1) for api in Api for kind in CallKind})
    clients, method = GoogleClients("127.0.0.1:1", observer, slow), Method("answer", "answer")
    await clients.call(Api.IAM, WRITE, method, "request")
    waiting = asyncio.create_task(clients.call(Api.IAM, WRITE, method, "request"))
    await asyncio.sleep(0.1)

    await clients.close(grace=30)

    with pytest.raises(GoogleError) as raised:
        await waiting
    assert raised.value.fault is Fault.UNAVAILABLE
    assert not raised.value.undecided
    assert len(method.arguments) == 1


@pytest.mark.parametrize(
    "exception",
    [api_exceptions.DeadlineExceeded("late"), api_exceptions.Aborted("stale"), api_exceptions.NotFound("no")],
)
async def test_only_unavailable_is_retried(clients: GoogleClients, exception: Exception) -> None:
    method = Method(exception)

    with pytest.raises(GoogleError):
        await clients.call(Api.IAM, READ, method, "request")

    assert len(method.arguments) == 1


async def test_exhausted_rate_delays_the_next_call(clients: GoogleClients) -> None:
    retry = error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=20))
    exhausted = api_exceptions.ResourceExhausted("slow down", details=[retry])
    with pytest.raises(GoogleError) as raised:
        await clients.call(Api.IAM, READ, Method(exhausted), "request")

    await clients.call(Api.IAM, READ, Method("answer"), "request")

    assert raised.value.retry_after == 20
    assert asyncio.get_running_loop().time() >= 20


async def test_exhausted_number_of_objects_delays_no_call(clients: GoogleClients) -> None:
    with pytest.raises(GoogleError):
        await clients.call(Api.IAM, WRITE, Method(api_exceptions.ResourceExhausted("100 at most")), "request")

    await clients.call(Api.IAM, WRITE, Method("answer"), "request")

    assert asyncio.get_running_loop().time() == 0


async def test_day_long_retry_delay_delays_no_other_call(clients: GoogleClients) -> None:
    retry = error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=86_401))
    full = api_exceptions.ResourceExhausted("Maximum number of service accounts", details=[retry])
    with pytest.raises(GoogleError):
        await clients.call(Api.IAM, WRITE, Method(full), "request")

    await clients.call(Api.IAM, WRITE, Method("answer"), "request")

    assert asyncio.get_running_loop().time() == 0


async def test_read_is_retried_after_its_connection_ended(clients: GoogleClients) -> None:
    method = Method(api_exceptions.Unknown("Stream removed"), "answer")

    assert await clients.call(Api.IAM, READ, method, "request") == "answer"


@pytest.mark.parametrize(
    ("exception", "has_etag", "undecided"),
    [
        (api_exceptions.ServiceUnavailable("no answer"), True, True),
        (api_exceptions.DeadlineExceeded("no answer"), False, True),
        (api_exceptions.Unknown("Stream removed"), False, True),
        (api_exceptions.DataLoss("lost"), False, True),
        (api_exceptions.Aborted("try again"), False, True),
        (api_exceptions.Aborted("stale etag"), True, False),
        (api_exceptions.AlreadyExists("there"), False, False),
        (api_exceptions.PermissionDenied("no"), False, False),
    ],
)
async def test_effect_of_a_failed_write_is_known_or_undecided(
    clients: GoogleClients, exception: Exception, has_etag: bool, undecided: bool
) -> None:
    with pytest.raises(GoogleError) as raised:
        await clients.call(Api.IAM, WRITE, Method(exception), "request", has_etag=has_etag)

    assert raised.value.undecided is undecided


async def test_refusal_after_a_lost_answer_is_undecided(clients: GoogleClients) -> None:
    method = Method(unavailable(), api_exceptions.Aborted("stale etag"))
    with pytest.raises(GoogleError) as raised:
        await clients.call(Api.IAM, WRITE, method, "request", repeatable=True, has_etag=True)

    assert (raised.value.fault, raised.value.undecided) == (Fault.ABORTED, True)


HOSTS = {"run.googleapis.com", "europe-west1-run.googleapis.com"}


@pytest.mark.parametrize(
    ("region", "known", "fault"),
    [
        ("europe-west11", HOSTS, Fault.LOCATION_NOT_FOUND),
        ("europe-west1", HOSTS, Fault.UNAVAILABLE),
        ("europe-west11", set[str](), Fault.UNAVAILABLE),  # the resolver is at fault
        ("", HOSTS, Fault.UNAVAILABLE),
    ],
)
async def test_region_without_a_host_is_not_an_unavailable_api(
    observer: Observer, monkeypatch: pytest.MonkeyPatch, region: str, known: set[str], fault: Fault
) -> None:
    async def resolve(host: str, port: int) -> list[object]:
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return []

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    clients = GoogleClients(None, observer, tokens=NoTokens(9))
    with pytest.raises(GoogleError) as raised:
        await clients.call(Api.RUN, WRITE, Method(unavailable()), "request", region=region)

    assert raised.value.fault is fault
    assert raised.value.undecided is (fault is Fault.UNAVAILABLE)


async def test_multi_region_services_are_on_the_host_without_a_region(
    observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(grpc.aio, "secure_channel", lambda target, *_, **__: opened.append(target))
    channels = Channels(None, dict)
    for region in ("", MULTI_REGION, "europe-west1"):
        channels.get(Api.RUN, region)
    assert opened == ["run.googleapis.com:443", "europe-west1-run.googleapis.com:443"]
    assert not await channels.has_no_host(Api.RUN, MULTI_REGION)


async def test_priority_of_the_reconcile_decides_the_order(observer: Observer) -> None:
    slow = RateLimiter({(api, kind): Rate(60, 1) for api in Api for kind in CallKind})
    clients = GoogleClients("127.0.0.1:1", observer, slow)
    order: list[Priority] = []

    async def reconcile(priority: Priority) -> None:
        call_priority.set(priority)
        await clients.call(Api.IAM, READ, Method("answer"), "request")
        order.append(priority)

    await reconcile(Priority.EDIT)
    await asyncio.gather(reconcile(Priority.RESYNC), reconcile(Priority.EDIT))

    assert order == [Priority.EDIT, Priority.EDIT, Priority.RESYNC]


async def test_canceled_call_is_observed(clients: GoogleClients, observer: Observer) -> None:
    async def hang(request: object, **_: Any) -> None:
        await asyncio.Event().wait()

    call = asyncio.create_task(clients.call(Api.IAM, READ, hang, "request"))
    await asyncio.sleep(1)
    call.cancel()

    with pytest.raises(asyncio.CancelledError):
        await call
    assert observer.codes == ["CANCELLED"]


async def test_unexpected_exception_is_raised_as_it_is(clients: GoogleClients, observer: Observer) -> None:
    with pytest.raises(KeyError):
        await clients.call(Api.IAM, READ, Method(KeyError("bug")), "request")
    assert observer.codes == ["UNKNOWN"]


@pytest.mark.parametrize("region", ["evil.example/", "europe-west1.evil", "a:443,b", "Europe", "-"])
def test_invalid_region_cannot_send_the_token_to_another_host(observer: Observer, region: str) -> None:
    with pytest.raises(GoogleError) as raised:
        GoogleClients(None, observer).client(ServicesAsyncClient, Api.RUN, region)

    assert raised.value.fault is Fault.INVALID_ARGUMENT
    assert repr(region) in raised.value.message
