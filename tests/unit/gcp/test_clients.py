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
from cloudrun_identity.gcp.credentials import Tokens
from cloudrun_identity.gcp.errors import Fault, GoogleError
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
    """A method of a generated client that meets one outcome after the other: an exception, or an answer."""

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


async def test_a_call_has_a_deadline_a_reason_and_no_retries_of_the_library(
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


async def test_a_call_of_nobodys_has_no_reason(clients: GoogleClients) -> None:
    method = Method("answer")

    await clients.call(Api.IAM, READ, method, "request", timeout=3)

    assert method.arguments[0]["metadata"] == ()
    assert method.arguments[0]["timeout"] == 3


async def test_an_unanswered_read_is_sent_again(clients: GoogleClients, observer: Observer) -> None:
    method = Method(unavailable(), unavailable(), "answer")

    assert await clients.call(Api.IAM, READ, method, "request") == "answer"
    assert observer.codes == ["UNAVAILABLE", "UNAVAILABLE", "OK"]


async def test_a_read_is_given_up_after_three_attempts(clients: GoogleClients, observer: Observer) -> None:
    method = Method(*(unavailable() for _ in range(4)))

    with pytest.raises(GoogleError) as raised:
        await clients.call(Api.IAM, READ, method, "request")

    assert raised.value.fault is Fault.UNAVAILABLE
    assert observer.codes == ["UNAVAILABLE"] * 3


async def test_an_unanswered_write_is_not_sent_again(clients: GoogleClients, observer: Observer) -> None:
    with pytest.raises(GoogleError):
        await clients.call(Api.IAM, WRITE, Method(unavailable()), "request")

    assert observer.codes == ["UNAVAILABLE"]


async def test_a_repeatable_write_is_sent_again(clients: GoogleClients) -> None:
    method = Method(unavailable(), "answer")

    assert await clients.call(Api.IAM, WRITE, method, "request", repeatable=True) == "answer"


class NoTokens(Tokens):
    """Has a token for so many calls, and then nobody who gives one can be reached."""

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
        raise GoogleError(Fault.UNAVAILABLE, "test/Renew", "nobody there")


class NumberedTokens(Tokens):
    """Gives a new one whenever asked, in a second."""

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
    """A method that lets in certain tokens only."""

    def __init__(self, *lets_in: int) -> None:
        self.lets_in = {f"Bearer {number}" for number in lets_in}
        self.shown: list[str] = []

    async def __call__(self, request: object, metadata: tuple[tuple[str, str], ...], **_: Any) -> str:
        token = dict(metadata)["authorization"]
        self.shown.append(token)
        await asyncio.sleep(1)
        if token not in self.lets_in:
            raise api_exceptions.Unauthenticated("the token was revoked")
        return "answer"


async def test_a_call_whose_token_google_refuses_is_sent_once_more_with_another(observer: Observer) -> None:
    clients, google = GoogleClients("127.0.0.1:1", observer, tokens=NumberedTokens()), Google(2)

    assert await clients.call(Api.IAM, WRITE, google, "request") == "answer"

    assert google.shown == ["Bearer 1", "Bearer 2"]
    assert observer.codes == ["UNAUTHENTICATED", "OK"]


async def test_calls_refused_with_one_token_replace_it_once_and_the_next_begins_with_the_new_one(
    observer: Observer,
) -> None:
    tokens = NumberedTokens()
    clients, google = GoogleClients("127.0.0.1:1", observer, tokens=tokens), Google(2)

    async def later(seconds: float) -> str:
        await asyncio.sleep(seconds)
        return await clients.call(Api.IAM, READ, google, "request")

    # The third is refused while the token is being replaced, the fourth comes just before it is.
    assert await asyncio.gather(later(0), later(0), later(0.5), later(1.9)) == ["answer"] * 4
    assert tokens.given == 2
    assert google.shown[-1] == "Bearer 2"
    assert await clients.call(Api.IAM, READ, Google(2), "request") == "answer"


async def test_a_call_that_google_refuses_whatever_its_token_ends_and_asks_for_no_token_each_time(
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


async def test_a_replica_that_loses_its_lease_while_a_refused_token_is_replaced_writes_nothing(
    observer: Observer,
) -> None:
    tokens, google = NumberedTokens(), Google(2)
    clients = GoogleClients("127.0.0.1:1", observer, may_write=lambda: tokens.given == 1, tokens=tokens)

    with pytest.raises(GoogleError) as raised:
        await clients.call(Api.IAM, WRITE, google, "request")

    assert "lease" in raised.value.message
    assert not raised.value.undecided
    assert google.shown == ["Bearer 1"]


async def failed_write(clients: GoogleClients, *outcomes: object) -> GoogleError:
    with pytest.raises(GoogleError) as raised:
        await clients.call(Api.IAM, WRITE, Method(*outcomes), "request", repeatable=True)
    return raised.value


async def test_it_is_certain_that_a_write_did_not_happen_for_which_there_was_no_token(
    observer: Observer,
) -> None:
    assert not (await failed_write(GoogleClients("127.0.0.1:1", observer, tokens=NoTokens(0)))).undecided


async def test_it_is_certain_that_a_write_did_not_happen_which_a_replica_may_not_make(
    observer: Observer,
) -> None:
    clients = GoogleClients("127.0.0.1:1", observer, may_write=lambda: False)
    assert not (await failed_write(clients)).undecided


async def test_a_write_that_was_sent_once_may_have_happened_though_a_token_fails_the_next_try(
    observer: Observer,
) -> None:
    clients = GoogleClients("127.0.0.1:1", observer, tokens=NoTokens(1))
    assert (await failed_write(clients, unavailable())).undecided


async def test_what_is_to_be_done_before_a_request_is_done_once_its_rate_admits_it(
    observer: Observer,
) -> None:
    slow = RateLimiter({(api, access): Rate(60, 1) for api in Api for access in CallKind})
    clients, times = GoogleClients("127.0.0.1:1", observer, slow), []

    async def before() -> None:
        times.append(round(asyncio.get_running_loop().time()))

    for _ in range(2):
        await clients.call(Api.IAM, WRITE, Method("answer"), "request", before=before)

    assert times == [0, 1]


async def test_a_request_is_not_sent_if_what_is_to_be_done_before_fails(
    clients: GoogleClients, observer: Observer
) -> None:
    async def before() -> None:
        raise GoogleError(Fault.UNAVAILABLE, READ, "no")

    with pytest.raises(GoogleError) as raised:
        await clients.call(Api.IAM, WRITE, Method("answer"), "request", before=before)

    assert not raised.value.undecided
    assert observer.calls == []


async def test_a_request_that_waits_for_its_rate_while_the_clients_are_closed_is_not_sent(
    observer: Observer,
) -> None:
    slow = RateLimiter({(api, access): Rate(60, 1) for api in Api for access in CallKind})
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
async def test_nothing_but_unavailable_is_sent_again(clients: GoogleClients, exception: Exception) -> None:
    method = Method(exception)

    with pytest.raises(GoogleError):
        await clients.call(Api.IAM, READ, method, "request")

    assert len(method.arguments) == 1


async def test_a_used_up_rate_holds_back_the_next_call(clients: GoogleClients) -> None:
    retry = error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=20))
    exhausted = api_exceptions.ResourceExhausted("slow down", details=[retry])
    with pytest.raises(GoogleError) as raised:
        await clients.call(Api.IAM, READ, Method(exhausted), "request")

    await clients.call(Api.IAM, READ, Method("answer"), "request")

    assert raised.value.retry_after == 20
    assert asyncio.get_running_loop().time() >= 20


async def test_a_used_up_number_of_objects_holds_back_nobody(clients: GoogleClients) -> None:
    with pytest.raises(GoogleError):
        await clients.call(Api.IAM, WRITE, Method(api_exceptions.ResourceExhausted("100 at most")), "request")

    await clients.call(Api.IAM, WRITE, Method("answer"), "request")

    assert asyncio.get_running_loop().time() == 0


async def test_the_priority_of_the_pass_decides_who_waits(observer: Observer) -> None:
    slow = RateLimiter({(api, access): Rate(60, 1) for api in Api for access in CallKind})
    clients = GoogleClients("127.0.0.1:1", observer, slow)
    order: list[Priority] = []

    async def one_pass(priority: Priority) -> None:
        call_priority.set(priority)
        await clients.call(Api.IAM, READ, Method("answer"), "request")
        order.append(priority)

    await one_pass(Priority.EDIT)
    await asyncio.gather(one_pass(Priority.RESYNC), one_pass(Priority.EDIT))

    assert order == [Priority.EDIT, Priority.EDIT, Priority.RESYNC]


async def test_a_cancelled_call_is_observed(clients: GoogleClients, observer: Observer) -> None:
    async def hang(request: object, **_: Any) -> None:
        await asyncio.Event().wait()

    call = asyncio.create_task(clients.call(Api.IAM, READ, hang, "request"))
    await asyncio.sleep(1)
    call.cancel()

    with pytest.raises(asyncio.CancelledError):
        await call
    assert observer.codes == ["CANCELLED"]


async def test_a_bug_is_not_disguised(clients: GoogleClients, observer: Observer) -> None:
    with pytest.raises(KeyError):
        await clients.call(Api.IAM, READ, Method(KeyError("bug")), "request")
    assert observer.codes == ["UNKNOWN"]


@pytest.mark.parametrize("region", ["evil.example/", "europe-west1.evil", "a:443,b", "Europe", "-"])
def test_no_region_leads_the_token_to_another_host(observer: Observer, region: str) -> None:
    with pytest.raises(GoogleError) as raised:
        GoogleClients(None, observer).client(ServicesAsyncClient, Api.RUN, region)

    assert raised.value.fault is Fault.INVALID_ARGUMENT
    assert repr(region) in raised.value.message


def failing_default(exception: Exception) -> Callable[..., None]:
    def default(**_: object) -> None:
        raise exception

    return default


async def test_a_call_without_credentials_is_unauthenticated(
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


async def test_an_endpoint_needs_no_credentials(
    monkeypatch: pytest.MonkeyPatch, clients: GoogleClients
) -> None:
    monkeypatch.setattr(google.auth, "default", failing_default(AssertionError("must not be asked for")))

    await clients.check_credentials()

    assert await clients.call(Api.IAM, READ, Method("answer"), "request") == "answer"
