"""Classification of failed calls."""

import google.auth.exceptions
import grpc
import grpc.aio
import pytest
from google.api_core import exceptions as api_exceptions
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

from cloudrun_identity.gcp.error_classification import classify, fault_of
from cloudrun_identity.gcp.errors import Fault, one_line

METHOD = "google.iam.admin.v1.IAM/CreateServiceAccount"

FAULT_OF_CODE = {
    grpc.StatusCode.OK: Fault.UNAVAILABLE,
    grpc.StatusCode.CANCELLED: Fault.UNAVAILABLE,
    grpc.StatusCode.UNKNOWN: Fault.UNAVAILABLE,
    grpc.StatusCode.INVALID_ARGUMENT: Fault.INVALID_ARGUMENT,
    grpc.StatusCode.DEADLINE_EXCEEDED: Fault.UNAVAILABLE,
    grpc.StatusCode.NOT_FOUND: Fault.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS: Fault.ALREADY_EXISTS,
    grpc.StatusCode.PERMISSION_DENIED: Fault.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED: Fault.UNAUTHENTICATED,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Fault.QUOTA_EXCEEDED,
    grpc.StatusCode.FAILED_PRECONDITION: Fault.FAILED_PRECONDITION,
    grpc.StatusCode.ABORTED: Fault.ABORTED,
    grpc.StatusCode.OUT_OF_RANGE: Fault.INVALID_ARGUMENT,
    grpc.StatusCode.UNIMPLEMENTED: Fault.UNIMPLEMENTED,
    grpc.StatusCode.INTERNAL: Fault.UNAVAILABLE,
    grpc.StatusCode.UNAVAILABLE: Fault.UNAVAILABLE,
    grpc.StatusCode.DATA_LOSS: Fault.UNAVAILABLE,
}


def grpc_error(
    code: grpc.StatusCode, message: str, *details: object, metadata: tuple[tuple[str, bytes], ...] = ()
) -> grpc.aio.AioRpcError:
    """Return an error as gRPC raises it, with google.rpc.Status details in its trailers."""
    status = status_pb2.Status(code=code.value[0], message=message)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    trailers = grpc.aio.Metadata(("grpc-status-details-bin", status.SerializeToString()), *metadata)
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailers, details=message)


def error_info(reason: str, **metadata: str) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(reason=reason, domain="googleapis.com", metadata=metadata)


@pytest.mark.parametrize("code", list(grpc.StatusCode))
def test_status_code_determines_the_fault(code: grpc.StatusCode) -> None:
    assert fault_of(code) is FAULT_OF_CODE[code]


@pytest.mark.parametrize(
    ("code", "reason", "fault"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, "SERVICE_DISABLED", Fault.API_DISABLED),
        (grpc.StatusCode.FAILED_PRECONDITION, "SERVICE_DISABLED", Fault.API_DISABLED),
        (grpc.StatusCode.PERMISSION_DENIED, "RATE_LIMIT_EXCEEDED", Fault.QUOTA_EXCEEDED),
        (grpc.StatusCode.PERMISSION_DENIED, "IAM_PERMISSION_DENIED", Fault.PERMISSION_DENIED),
        (grpc.StatusCode.INVALID_ARGUMENT, "UNKNOWN_REASON", Fault.INVALID_ARGUMENT),
        (grpc.StatusCode.PERMISSION_DENIED, "SECURITY_POLICY_VIOLATED", Fault.PERIMETER_VIOLATION),
        (grpc.StatusCode.PERMISSION_DENIED, "LOCATION_POLICY_VIOLATED", Fault.LOCATION_NOT_FOUND),
    ],
)
def test_specific_reason_overrides_the_status_code(code: grpc.StatusCode, reason: str, fault: Fault) -> None:
    assert fault_of(code, reason) is fault


def test_failure_without_status_has_an_unknown_outcome() -> None:
    assert fault_of(None) is Fault.UNAVAILABLE


def test_error_keeps_method_code_reason_and_metadata() -> None:
    raised = grpc_error(
        grpc.StatusCode.PERMISSION_DENIED,
        "IAM API has not been used\nin project 1 before",
        error_info("SERVICE_DISABLED", service="iam.googleapis.com", consumer="projects/1"),
    )

    error = classify(raised, METHOD)

    assert error.fault is Fault.API_DISABLED
    assert error.method == METHOD
    assert error.code == "PERMISSION_DENIED"
    assert error.reason == "SERVICE_DISABLED"
    assert error.metadata == {"service": "iam.googleapis.com", "consumer": "projects/1"}
    assert error.message == "IAM API has not been used in project 1 before"
    assert str(error) == f"{METHOD}: ApiDisabled: IAM API has not been used in project 1 before"


def test_error_names_the_resource_of_the_request() -> None:
    error = classify(api_exceptions.PermissionDenied("no"), METHOD, "projects/acme")

    assert error.resource == "projects/acme"
    assert str(error) == f"{METHOD} projects/acme: PermissionDenied: no"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "You don't have permission to get the role at projects/acme/roles/r.",
            "You don't have permission to get the role at projects/acme/roles/r "
            "(missing permission iam.roles.get)",
        ),
        ("Permission 'iam.roles.get' denied.", "Permission 'iam.roles.get' denied."),
    ],
)
def test_missing_permission_is_named(message: str, expected: str) -> None:
    info = error_info("IAM_PERMISSION_DENIED", permission="iam.roles.get")

    assert classify(grpc_error(grpc.StatusCode.PERMISSION_DENIED, message, info), METHOD).message == expected


def test_timeout_message_says_that_google_did_not_answer() -> None:
    error = classify(grpc_error(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"), METHOD)

    assert error.message == "Google Cloud did not answer in time (Deadline Exceeded)"


def test_error_without_a_message_shows_its_code() -> None:
    assert classify(grpc_error(grpc.StatusCode.INTERNAL, ""), METHOD).message == "INTERNAL without a message"


def test_client_library_errors_are_classified_like_grpc_errors() -> None:
    assert classify(api_exceptions.Aborted("stale"), METHOD).fault is Fault.ABORTED
    assert classify(api_exceptions.AlreadyExists("there"), METHOD).fault is Fault.ALREADY_EXISTS


def test_retry_info_is_the_retry_delay() -> None:
    retry = error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=2, nanos=500_000_000))
    error = classify(grpc_error(grpc.StatusCode.RESOURCE_EXHAUSTED, "slow down", retry), METHOD)

    assert error.retry_after == 2.5
    assert error.rate_limited


def test_exhausted_rate_is_distinguished_from_object_limit() -> None:
    rate = grpc_error(grpc.StatusCode.RESOURCE_EXHAUSTED, "rate", error_info("RATE_LIMIT_EXCEEDED"))
    number = grpc_error(grpc.StatusCode.RESOURCE_EXHAUSTED, "100 accounts at most")

    assert classify(rate, METHOD).rate_limited
    assert not classify(number, METHOD).rate_limited


@pytest.mark.parametrize("seconds", [61, 86_401])
def test_long_retry_delay_without_a_reason_is_no_rate(seconds: int) -> None:
    retry = error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=seconds))
    error = classify(grpc_error(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", retry), METHOD)

    assert not error.rate_limited


def test_perimeter_violation_is_recognized_without_an_error_info() -> None:
    violation = error_details_pb2.PreconditionFailure.Violation(
        type="VPC_SERVICE_CONTROLS", description="VQQnKf"
    )
    details = error_details_pb2.PreconditionFailure(violations=[violation])
    error = classify(grpc_error(grpc.StatusCode.PERMISSION_DENIED, "prohibited", details), METHOD)

    assert (error.fault, error.metadata["uid"]) == (Fault.PERIMETER_VIOLATION, "VQQnKf")


LIST, GET = "google.cloud.run.v2.Services/ListServices", "google.cloud.run.v2.Services/GetService"


@pytest.mark.parametrize(
    ("code", "method", "region", "fault"),
    [
        (grpc.StatusCode.UNIMPLEMENTED, GET, "europe-west11", Fault.LOCATION_NOT_FOUND),
        (grpc.StatusCode.UNIMPLEMENTED, GET, "", Fault.UNIMPLEMENTED),
        (grpc.StatusCode.NOT_FOUND, LIST, "europe-west11", Fault.LOCATION_NOT_FOUND),
        (grpc.StatusCode.NOT_FOUND, GET, "europe-west11", Fault.NOT_FOUND),
        (grpc.StatusCode.NOT_FOUND, LIST, "", Fault.NOT_FOUND),
    ],
)
def test_failure_of_a_regional_host_may_be_about_the_location(
    code: grpc.StatusCode, method: str, region: str, fault: Fault
) -> None:
    error = classify(grpc_error(code, "no"), method, region=region)

    assert error.fault is fault
    assert error.metadata.get("location", "") == (region if fault is Fault.LOCATION_NOT_FOUND else "")


def test_refused_credentials_error_omits_the_reply() -> None:
    error = classify(
        google.auth.exceptions.RefreshError("invalid_grant: Bad Request", {"assertion": "s3cr3t"}), METHOD
    )

    assert error.fault is Fault.UNAUTHENTICATED
    assert error.message == "invalid_grant: Bad Request"
    assert "s3cr3t" not in f"{error} {error.args}"


def test_unreachable_token_endpoint_is_unavailable() -> None:
    error = classify(google.auth.exceptions.TransportError("connection refused"), METHOD)

    assert error.fault is Fault.UNAVAILABLE


def test_other_exceptions_are_not_classified() -> None:
    with pytest.raises(TypeError, match="KeyError"):
        classify(KeyError("x"), METHOD)


@pytest.mark.parametrize(
    "secret",
    [
        "ya29.a0AfH6SMBx-_yz",
        "eyJhbGciOi.eyJpc3MiOi.c2ln-_bmF0",
        "-----BEGIN PRIVATE KEY----- MIIEvQ -----END PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY----- MIIEvQ",
    ],
)
def test_secrets_in_messages_are_redacted(secret: str) -> None:
    assert one_line(f"refused: {secret}") == "refused: [redacted]"


def test_message_is_one_bounded_line() -> None:
    line = one_line("a\n\t b " + "x" * 1000)

    assert line.startswith("a b x")
    assert len(line) == 400
    assert line.endswith("…")
