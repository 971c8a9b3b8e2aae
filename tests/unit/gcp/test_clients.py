"""The rules that every request to Google Cloud follows."""

import asyncio
from collections.abc import Callable
from typing import Any

import google.auth
import google.auth.exceptions
import pytest
from google.api_core import exceptions as api_exceptions
from google.auth.credentials import TokenState
from google.cloud.run_v2.services.services import ServicesAsyncClient
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2

from cloudrun_identity.gcp.clients import TIMEOUT, GoogleClients, request_reason
from cloudrun_identity.gcp.credentials import TokenSource
from cloudrun_identity.gcp.errors import Fault, GoogleError, LeaseNotHeld, ReadOnlyClient
from cloudrun_identity.gcp.ratelimit import Api, CallKind, Priority, Rate, RateLimiter, call_priority

pytestmark = pytest.mark.looptime(start=0)

READ = "google.iam.admin.v1.IAM/GetServiceAccount"
WRITE = "google.iam.admin.v1.IAM/CreateServiceAccount"


class Observer:
    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def observed(self, method: str, code: str, seconds: float) -> None:
        assert seconds >= 0
        self.calls.append((method, code))

    @property
    def codes(self) -> list[str]:
        return [code for _, code in self.calls]


class Method:
    """Method of a generated client with the given outcomes in order: exceptions or replies."""

    def __init__(self, *outcomes: object) -> None:
        self.outcomes = list(outcomes)
        self.arguments: list[dict[str, Any]] = []

    async def __call__(self, request: object, **arguments: Any) -> object:
        self.arguments.append({"request": request, **arguments})
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@pytest.fixture
def observer() -> Observer:
    return Observer()


@pytest.fixture
def clients(observer: Observer) -> GoogleClients:
    return GoogleClients("127.0.0.1:1", observer)


def unavailable() -> Exception:
    return api_exceptions.ServiceUnavailable("try again")


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


class NoTokens(TokenSource):
    """Tokens for a number of calls, after which the token endpoint is unreachable."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.calls = calls

    email = ""

    def headers(self) -> dict[str, str]:
        return {}

    def _state(self) -> TokenState:
        self.calls -= 1
        return TokenState.FRESH if self.calls >= 0 else TokenState.INVALID

    async def _renew(self) -> None:
        raise GoogleError(Fault.UNAVAILABLE, "test/Renew", "unreachable")


class NumberedTokens(TokenSource):
    """Tokens with increasing numbers. A renewal takes a second."""

    email = ""

    def __init__(self, given: int = 1) -> None:
        super().__init__()
        self.given = given

    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.given}"}

    def _state(self) -> TokenState:
        return TokenState.FRESH

    async def _renew(self) -> None:
        await asyncio.sleep(1)
        self.given += 1


class Google:
    """Method that accepts the given tokens only."""

    def __init__(self, *accepted: int) -> None:
        self.accepted = {f"Bearer {number}" for number in accepted}
        self.received: list[str] = []

    async def __call__(self, request: object, metadata: tuple[tuple[str, str], ...], **_: Any) -> str:
        token = dict(metadata)["authorization"]
        self.received.append(token)
        await asyncio.sleep(1)
        if token not in self.accepted:
            raise api_exceptions.Unauthenticated("the token was revoked")
        return "answer"


async def test_unauthenticated_call_is_retried_once_with_a_new_token(observer: Observer) -> None:
    clients, google = GoogleClients("127.0.0.1:1", observer, tokens=NumberedTokens()), Google(2)

    assert await clients.call(Api.IAM, WRITE, google, "request") == "answer"

    assert google.received == ["Bearer 1", "Bearer 2"]
    assert observer.codes == ["UNAUTHENTICATED", "OK"]


async def test_calls_refused_with_one_token_renew_it_once(
    observer: Observer,
) -> None:
    tokens = NumberedTokens()
    clients, google = GoogleClients("127.0.0.1:1", observer, tokens=tokens), Google(2)

    async def later(seconds: float) -> str:
        await asyncio.sleep(seconds)
        return await clients.call(Api.IAM, READ, google, "request")

    # The third call is refused during the renewal. The fourth starts just before its end.
    assert await asyncio.gather(later(0), later(0), later(0.5), later(1.9)) == ["answer"] * 4
    assert tokens.given == 2
    assert google.received[-1] == "Bearer 2"
    assert await clients.call(Api.IAM, READ, Google(2), "request") == "answer"


async def test_call_refused_with_every_token_fails_with_few_renewals(
    observer: Observer,
) -> None:
    tokens = NumberedTokens()
    clients = GoogleClients("127.0.0.1:1", observer, tokens=tokens)
    for _ in range(2):
        with pytest.raises(GoogleError) as raised:
            await clients.call(Api.IAM, READ, Google(), "request")
        assert raised.value.fault is Fault.UNAUTHENTICATED

    assert observer.codes == ["UNAUTHENTICATED"] * 4
    assert tokens.given == 2


async def test_lease_lost_during_a_token_renewal_stops_the_write(
    observer: Observer,
) -> None:
    tokens, google = NumberedTokens(), Google(2)
    clients = GoogleClients("127.0.0.1:1", observer, holds_lease=lambda: tokens.given == 1, tokens=tokens)

    with pytest.raises(LeaseNotHeld) as raised:
        await clients.call(Api.IAM, WRITE, google, "request")

    assert "lease" in raised.value.message
    assert not raised.value.undecided
    assert google.received == ["Bearer 1"]


async def failed_write(clients: GoogleClients, *outcomes: object) -> GoogleError:
    with pytest.raises(GoogleError) as raised:
        await clients.call(Api.IAM, WRITE, Method(*outcomes), "request", repeatable=True)
    return raised.value


async def test_write_without_a_token_certainly_has_no_effect(
    observer: Observer,
) -> None:
    assert not (await failed_write(GoogleClients("127.0.0.1:1", observer, tokens=NoTokens(0)))).undecided


async def test_write_without_the_lease_is_unavailable_and_has_no_effect(observer: Observer) -> None:
    error = await failed_write(GoogleClients("127.0.0.1:1", observer, holds_lease=lambda: False))

    assert isinstance(error, LeaseNotHeld)
    assert (error.fault, error.undecided) == (Fault.UNAVAILABLE, False)
    assert observer.calls == []


async def test_read_without_the_lease_is_sent(observer: Observer) -> None:
    clients = GoogleClients("127.0.0.1:1", observer, holds_lease=lambda: False)

    assert await clients.call(Api.IAM, READ, Method("answer"), "request") == "answer"


@pytest.mark.parametrize("derived", [False, True], ids=["own credential", "another credential"])
async def test_read_only_clients_refuse_writes_and_send_reads(observer: Observer, derived: bool) -> None:
    clients = GoogleClients("127.0.0.1:1", observer, read_only=True)
    if derived:
        clients = clients.with_credential(NumberedTokens(), "ops-1234")

    error = await failed_write(clients)

    assert isinstance(error, ReadOnlyClient)
    assert not error.undecided
    assert observer.calls == []
    assert await clients.call(Api.IAM, READ, Method("answer"), "request") == "answer"


async def test_outcome_of_a_sent_write_stays_unknown_if_its_retry_is_not_sent(
    observer: Observer,
) -> None:
    clients = GoogleClients("127.0.0.1:1", observer, tokens=NoTokens(1))
    assert (await failed_write(clients, unavailable())).undecided


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


def failing_default(exception: Exception) -> Callable[..., None]:
    def default(**_: object) -> None:
        raise exception

    return default


async def test_call_without_credentials_is_unauthenticated(
    monkeypatch: pytest.MonkeyPatch, observer: Observer
) -> None:
    monkeypatch.setattr(
        google.auth, "default", failing_default(google.auth.exceptions.DefaultCredentialsError("none found"))
    )
    method = Method("answer")

    with pytest.raises(GoogleError) as raised:
        await GoogleClients(None, observer).call(Api.IAM, READ, method, "request")

    assert raised.value.fault is Fault.UNAUTHENTICATED
    assert method.arguments == []


async def test_endpoint_needs_no_credentials(monkeypatch: pytest.MonkeyPatch, clients: GoogleClients) -> None:
    monkeypatch.setattr(google.auth, "default", failing_default(AssertionError("must not be called")))

    await clients.check_credentials()

    assert await clients.call(Api.IAM, READ, Method("answer"), "request") == "answer"
