"""The rules of every request, over gRPC."""

import asyncio
from pathlib import Path

import grpc
import pytest
from google.cloud.iam_admin_v1.services.iam import IAMAsyncClient
from google.cloud.resourcemanager_v3.services.projects import ProjectsAsyncClient
from google.cloud.run_v2.services.services import ServicesAsyncClient
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2

from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.projects import Projects
from cloudrun_identity.gcp.ratelimit import Api
from cloudrun_identity.gcp.requests import request_reason
from cloudrun_identity.gcp.token_file import TokenFile
from cloudrun_identity_playground.emulator.emulator import Emulator
from tests.gcp.conftest import Observer

GET_PROJECT = "google.cloud.resourcemanager.v3.Projects/GetProject"
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


async def test_request_reason_is_sent(clients: GoogleClients, emulator: Emulator) -> None:
    request_reason.set("payments/checkout@3")

    await Projects(clients).get("shop-1234")

    assert [call.reason for call in emulator.calls.log] == ["payments/checkout@3"]


async def test_unavailable_read_is_retried_and_every_attempt_observed(
    clients: GoogleClients, emulator: Emulator, observer: Observer
) -> None:
    emulator.faults.inject(GET_PROJECT, UNAVAILABLE, times=2)

    await Projects(clients).get("shop-1234")

    assert [call.code for call in emulator.calls.log] == ["UNAVAILABLE", "UNAVAILABLE", "OK"]
    assert observer.calls == [(GET_PROJECT, call.code) for call in emulator.calls.log]


async def test_client_libraries_do_not_retry(clients: GoogleClients, emulator: Emulator) -> None:
    emulator.faults.inject(GET_PROJECT, UNAVAILABLE, times=9)

    with pytest.raises(GoogleError) as raised:
        await Projects(clients).get("shop-1234")

    assert raised.value.fault is Fault.UNAVAILABLE
    assert emulator.calls[GET_PROJECT] == 3


async def test_refused_token_is_renewed(emulator: Emulator, observer: Observer, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("serviceAccount:deleted@shop-1234.iam.gserviceaccount.com")
    clients = GoogleClients(emulator.grpc_address, observer, tokens=TokenFile(file))
    await clients.check_credentials()
    file.write_text("admin")

    try:
        await Projects(clients).get("shop-1234")
    finally:
        await clients.close()

    assert observer.calls == [(GET_PROJECT, "UNAUTHENTICATED"), (GET_PROJECT, "OK")]


async def test_error_info_and_retry_info_are_received(clients: GoogleClients, emulator: Emulator) -> None:
    emulator.faults.inject(
        GET_PROJECT,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        details=[
            error_details_pb2.ErrorInfo(
                reason="RATE_LIMIT_EXCEEDED",
                domain="googleapis.com",
                metadata={"quota_limit": "ReadRequestsPerMinutePerProject", "quota_limit_value": "2400"},
            ),
            error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=7)),
        ],
    )

    with pytest.raises(GoogleError) as raised:
        await Projects(clients).get("shop-1234")

    assert raised.value.fault is Fault.QUOTA_EXCEEDED
    assert raised.value.rate_limited
    assert raised.value.retry_after == 7
    assert raised.value.metadata["quota_limit_value"] == "2400"


async def test_hanging_call_ends_at_its_timeout(clients: GoogleClients, emulator: Emulator) -> None:
    client = clients.client(IAMAsyncClient, Api.IAM)
    emulator.faults.delay("google.iam.admin.v1.IAM/GetServiceAccount", seconds=60)

    with pytest.raises(GoogleError) as raised:
        await clients.call(
            Api.IAM,
            "google.iam.admin.v1.IAM/GetServiceAccount",
            client.get_service_account,
            {"name": "projects/shop-1234/serviceAccounts/a@shop-1234.iam.gserviceaccount.com"},
            timeout=0.05,
        )

    assert raised.value.code == "DEADLINE_EXCEEDED"
    assert raised.value.fault is Fault.UNAVAILABLE


async def test_connection_failure_is_unavailable(observer: Observer) -> None:
    async with Emulator() as stopped:
        address = stopped.grpc_address
    clients = GoogleClients(address, observer)
    try:
        with pytest.raises(GoogleError) as raised:
            await Projects(clients).get("shop-1234")
    finally:
        await clients.close()

    assert raised.value.fault is Fault.UNAVAILABLE
    assert "\n" not in raised.value.message


async def test_channel_and_client_are_shared_by_all_callers(clients: GoogleClients) -> None:
    first = clients.client(ServicesAsyncClient, Api.RUN, "europe-west1")

    assert clients.client(ServicesAsyncClient, Api.RUN, "europe-west1") is first
    assert clients.client(ServicesAsyncClient, Api.RUN, "europe-west4").transport.grpc_channel is (
        first.transport.grpc_channel
    )


async def test_close_cancels_calls_in_flight(clients: GoogleClients, emulator: Emulator) -> None:
    emulator.faults.delay(GET_PROJECT, seconds=60)
    await clients.client(ProjectsAsyncClient, Api.RESOURCE_MANAGER).transport.grpc_channel.channel_ready()
    call = asyncio.create_task(Projects(clients).get("shop-1234"))
    await asyncio.sleep(0)

    await clients.close()

    with pytest.raises((GoogleError, asyncio.CancelledError)):
        await call
