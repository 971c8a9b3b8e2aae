from __future__ import annotations

import grpc
import grpc.aio
import pytest
from google.api_core import exceptions
from google.cloud import iam_admin_v1 as iam

from cloudrun_identity_playground.emulator import Emulator, Latency
from cloudrun_identity_playground.emulator.errors import error_info
from cloudrun_identity_playground.emulator.faults import Fault
from cloudrun_identity_playground.emulator.wire.methods import methods

from .clients import Clients, retry_seconds

GET = "google.cloud.resourcemanager.v3.Projects/GetIamPolicy"
SET = "google.cloud.resourcemanager.v3.Projects/SetIamPolicy"
CREATE = "google.iam.admin.v1.IAM/CreateServiceAccount"


async def test_injected_error_has_details_and_ends_after_its_times(
    clients: Clients, emulator: Emulator
) -> None:
    info = error_info("RATE_LIMIT_EXCEEDED", "googleapis.com", quota_limit="ReadsPerMinute")
    emulator.faults.inject(GET, grpc.StatusCode.RESOURCE_EXHAUSTED, 2, details=[info])
    for _ in range(2):
        with pytest.raises(exceptions.ResourceExhausted) as error:
            await clients.policy()
        assert error.value.reason == "RATE_LIMIT_EXCEEDED"
        assert error.value.metadata["quota_limit"] == "ReadsPerMinute"
    assert await clients.policy() is not None


async def test_fault_may_ask_to_wait(clients: Clients, emulator: Emulator) -> None:
    emulator.faults.add(Fault(method=GET, code="RESOURCE_EXHAUSTED", retry_after=86_401))
    with pytest.raises(exceptions.ResourceExhausted) as error:
        await clients.policy()
    assert (error.value.reason, retry_seconds(error.value)) == (None, 86_401)


async def test_applied_fault_loses_only_the_answer(clients: Clients, emulator: Emulator) -> None:
    emulator.faults.inject(CREATE, grpc.StatusCode.UNAVAILABLE, applied=True)
    with pytest.raises(exceptions.ServiceUnavailable):
        await clients.iam.create_service_account(name="projects/shop", account_id="checkout", retry=None)
    with pytest.raises(exceptions.AlreadyExists):
        await clients.create_account()


async def test_fault_pattern_matches_many_methods(clients: Clients, emulator: Emulator) -> None:
    emulator.faults.inject("google.cloud.run.*", grpc.StatusCode.PERMISSION_DENIED)
    assert await clients.policy() is not None
    with pytest.raises(exceptions.PermissionDenied):
        await clients.services.get_service(name="projects/shop/locations/europe-west1/services/web")


async def test_delay_exceeds_a_deadline(clients: Clients, emulator: Emulator) -> None:
    emulator.faults.delay(GET, 30)
    with pytest.raises(exceptions.DeadlineExceeded):
        await clients.projects.get_iam_policy(resource="projects/shop", timeout=0.05, retry=None)
    assert await clients.policy() is not None


async def test_cleared_faults_are_not_injected(clients: Clients, emulator: Emulator) -> None:
    emulator.faults.inject("*", grpc.StatusCode.INTERNAL, times=100)
    emulator.faults.clear()
    assert await clients.policy() is not None


async def test_calls_are_counted_with_failures_and_reasons(clients: Clients, emulator: Emulator) -> None:
    await clients.policy()
    with pytest.raises(exceptions.NotFound):
        await clients.iam.get_service_account(
            name="projects/shop/serviceAccounts/none@shop.iam.gserviceaccount.com",
            metadata=[("x-goog-request-reason", "payments/checkout@3")],
        )

    assert dict(emulator.calls) == {GET: 1, "google.iam.admin.v1.IAM/GetServiceAccount": 1}
    assert [(call.code, call.reason) for call in emulator.calls.log] == [
        ("OK", ""),
        ("NOT_FOUND", "payments/checkout@3"),
    ]
    assert emulator.calls[SET] == 0
    emulator.calls.reset()
    assert dict(emulator.calls) == {}


async def test_unsupported_method_is_named(clients: Clients) -> None:
    with pytest.raises(exceptions.MethodNotImplemented, match=r"google\.iam\.admin\.v1\.IAM/LintPolicy"):
        await clients.iam.lint_policy(iam.LintPolicyRequest())


def test_client_libraries_have_every_served_method_of_grpc() -> None:
    only_rest = {
        "google.cloud.policyanalyzer.v1.PolicyAnalyzer/QueryActivity",
        "google.monitoring.v3.MetricService/ListTimeSeries",
    }
    assert set(Emulator().cloud.handlers) - only_rest <= set(methods())


@pytest.mark.parametrize(
    ("rpc", "seconds"),
    [(GET, 0.176), (SET, 0.786), (CREATE, 0.606), ("google.cloud.run.v2.Services/UpdateService", 0.235)],
)
def test_recorded_latencies_are_the_medians_of_the_recordings(rpc: str, seconds: float) -> None:
    assert Latency.RECORDED.seconds(rpc) == seconds
    assert Latency.NONE.seconds(rpc) == 0


@pytest.mark.parametrize("rpc", sorted(methods()))
def test_every_method_has_a_recorded_latency(rpc: str) -> None:
    assert 0 < Latency.RECORDED.seconds(rpc) < 1
