"""An emulator in the process, with a clock that only tests advance."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import grpc.aio
import pytest

from cloudrun_identity_playground.emulator import Emulator

from .clients import Bearer, Clients, Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def emulator(clock: Clock) -> AsyncIterator[Emulator]:
    async with Emulator(clock=clock, rest_port=0) as running:
        yield running


@pytest.fixture
async def clients(emulator: Emulator) -> AsyncIterator[Clients]:
    async with grpc.aio.insecure_channel(emulator.grpc_address) as channel:
        yield Clients(channel)


@pytest.fixture
async def sign_in(emulator: Emulator) -> AsyncIterator[Callable[[str], Clients]]:
    """Return clients that send a given token."""
    async with AsyncExitStack() as channels:

        def with_token(token: str) -> Clients:
            channel = grpc.aio.insecure_channel(emulator.grpc_address, interceptors=[Bearer(token)])
            channels.push_async_callback(channel.close)
            return Clients(channel)

        yield with_token
