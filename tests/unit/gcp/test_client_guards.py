"""Tokens, the lease guard and read-only clients."""

import asyncio
from collections.abc import Callable

import google.auth
import google.auth.exceptions
import pytest

from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.errors import ClientReadOnly, Fault, GoogleError, LeaseNotHeld
from cloudrun_identity.gcp.ratelimit import Api
from tests.unit.gcp.client_doubles import (
    READ,
    WRITE,
    Google,
    Method,
    NoTokens,
    NumberedTokens,
    Observer,
    failed_write,
    unavailable,
)

pytestmark = pytest.mark.looptime(start=0)


@pytest.fixture
def observer() -> Observer:
    return Observer()


@pytest.fixture
def clients(observer: Observer) -> GoogleClients:
    return GoogleClients("127.0.0.1:1", observer)


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

    assert isinstance(error, ClientReadOnly)
    assert not error.undecided
    assert observer.calls == []
    assert await clients.call(Api.IAM, READ, Method("answer"), "request") == "answer"


async def test_outcome_of_a_sent_write_stays_unknown_if_its_retry_is_not_sent(
    observer: Observer,
) -> None:
    clients = GoogleClients("127.0.0.1:1", observer, tokens=NoTokens(1))
    assert (await failed_write(clients, unavailable())).undecided


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
