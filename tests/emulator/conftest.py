"""An emulator in process, with a clock that only moves when told to."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc.aio
import pytest

from cloudrun_identity_playground.emulator import Emulator

from .clients import Clients, Clock


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
