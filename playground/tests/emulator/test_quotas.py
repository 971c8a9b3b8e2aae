"""Quotas per minute."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import grpc.aio
import pytest
from google.api_core import exceptions
from google.cloud import run_v2 as run
from google.rpc import error_details_pb2

from cloudrun_identity_playground.emulator import Emulator, Seed

from .clients import Clients, Clock

Limited = Callable[[Mapping[str, Any]], AbstractAsyncContextManager[Clients]]
CRM = "cloudresourcemanager.googleapis.com"
RUN = "run.googleapis.com"
_RETRY_INFO: Any = error_details_pb2.RetryInfo


@pytest.fixture
def limited(clock: Clock) -> Limited:
    """Return clients of an emulator with these quotas."""

    @asynccontextmanager
    async def open_limited(limits: Mapping[str, Any]) -> AsyncIterator[Clients]:
        seed = Seed.model_validate({"requestsPerMinute": limits})
        async with (
            Emulator(seed=seed, clock=clock) as emulator,
            grpc.aio.insecure_channel(emulator.grpc_address) as channel,
        ):
            yield Clients(channel)

    return open_limited


async def test_exceeded_quota_is_refused_with_details(limited: Limited, clock: Clock) -> None:
    async with limited({CRM: {"reads": 2}}) as clients:
        await clients.policy()
        clock.advance(20)
        await clients.policy()
        with pytest.raises(exceptions.ResourceExhausted) as raised:
            await clients.policy()

    assert raised.value.reason == "RATE_LIMIT_EXCEEDED"
    assert raised.value.domain == "googleapis.com"
    assert raised.value.metadata == {
        "consumer": "projects/100000000001",
        "quota_limit": "ReadRequestsPerMinutePerProject",
        "quota_limit_value": "2",
        "quota_location": "global",
        "quota_metric": f"{CRM}/read_requests",
        "service": CRM,
    }
    [retry] = [each for each in raised.value.details if isinstance(each, _RETRY_INFO)]
    assert retry.retry_delay.seconds == 40


async def test_calls_succeed_after_the_retry_delay(limited: Limited, clock: Clock) -> None:
    async with limited({CRM: {"reads": 1}}) as clients:
        await clients.policy()
        clock.advance(59)
        with pytest.raises(exceptions.ResourceExhausted):
            await clients.policy()
        clock.advance(1)
        assert await clients.policy() is not None


async def test_quotas_count_reads_writes_and_apis_separately(limited: Limited) -> None:
    async with limited({CRM: {"writes": 1}}) as clients:
        written = await clients.grant("roles/viewer", "user:ann@example.com")
        with pytest.raises(exceptions.ResourceExhausted) as raised:
            await clients.set_policy(written)
        assert raised.value.metadata["quota_metric"] == f"{CRM}/write_requests"
        assert await clients.policy() == written
        assert await clients.create_account() is not None


async def test_quota_of_cloud_run_is_per_region(limited: Limited) -> None:
    async def missing(clients: Clients, region: str) -> None:
        with pytest.raises(exceptions.NotFound):
            await clients.services.get_service(
                request=run.GetServiceRequest(name=f"projects/shop/locations/{region}/services/none"),
                retry=None,
            )

    async with limited({RUN: {"reads": 1}}) as clients:
        await missing(clients, "europe-west1")
        await missing(clients, "us-central1")
        with pytest.raises(exceptions.ResourceExhausted) as raised:
            await clients.policy("projects/shop/locations/us-central1/services/none")
    assert raised.value.metadata["quota_limit"] == "ReadPerMinutePerProjectRegion"
    assert raised.value.metadata["quota_location"] == "us-central1"


async def test_update_counts_in_the_region_of_its_workload(limited: Limited) -> None:
    async with limited({RUN: {"writes": 2}}) as clients:
        service = await clients.create_service()
        service.labels["team"] = "shop"
        await clients.update_service(service)
        with pytest.raises(exceptions.ResourceExhausted):
            await clients.update_service(service)


async def test_seeding_does_not_use_quota(clock: Clock) -> None:
    seed = Seed.model_validate(
        {
            "requestsPerMinute": {"iam.googleapis.com": {"writes": 1}},
            "projects": [
                {"projectID": "shop", "serviceAccounts": [{"accountID": "first-1"}, {"accountID": "second"}]}
            ],
        }
    )
    async with (
        Emulator(seed=seed, clock=clock) as emulator,
        grpc.aio.insecure_channel(emulator.grpc_address) as channel,
    ):
        assert await Clients(channel).create_account("third-1")
