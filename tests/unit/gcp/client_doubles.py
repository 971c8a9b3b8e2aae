"""Stand-ins for the generated methods, tokens and observer of `GoogleClients`."""

import asyncio
from typing import Any

import pytest
from google.api_core import exceptions as api_exceptions
from google.auth.credentials import TokenState

from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.credentials import TokenSource
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.ratelimit import Api

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


def unavailable() -> Exception:
    return api_exceptions.ServiceUnavailable("try again")


async def failed_write(clients: GoogleClients, *outcomes: object) -> GoogleError:
    with pytest.raises(GoogleError) as raised:
        await clients.call(Api.IAM, WRITE, Method(*outcomes), "request", repeatable=True)
    return raised.value
