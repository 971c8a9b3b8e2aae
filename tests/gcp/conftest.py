"""Fixtures that connect the clients over gRPC to an emulator in this process."""

from collections.abc import AsyncIterator

import pytest

from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity_playground.emulator.emulator import Emulator
from cloudrun_identity_playground.emulator.seed import Project, Seed, Workload

IMAGE = "europe-docker.pkg.dev/shop-1234/images/checkout:1"

SEED = Seed(
    strict=True,
    projects=(
        Project(
            project_id="shop-1234",
            project_number="123456789012",
            services=(
                Workload(location="europe-west1", name="checkout", image=IMAGE, labels={"team": "payments"}),
                Workload(location="europe-west1", name="pinned", image=IMAGE, revision="pinned-v1"),
            ),
            jobs=(
                Workload(location="europe-west1", name="nightly", image=IMAGE, labels={"team": "payments"}),
            ),
            worker_pools=(Workload(location="europe-west1", name="runner", image=IMAGE),),
        ),
    ),
)


class Observer:
    """Observer that records every attempt as (method, code)."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def observed(self, method: str, code: str, seconds: float) -> None:
        self.calls.append((method, code))


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(seed=SEED) as emulator:
        yield emulator


@pytest.fixture
def observer() -> Observer:
    return Observer()


@pytest.fixture
async def clients(emulator: Emulator, observer: Observer) -> AsyncIterator[GoogleClients]:
    clients = GoogleClients(emulator.grpc_address, observer)
    yield clients
    await clients.close()
