"""Errors of Google's APIs, and their formats in gRPC and REST."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import grpc
from google.protobuf import duration_pb2, json_format
from google.rpc import error_details_pb2, status_pb2

# google.rpc.Code → HTTP status (https://cloud.google.com/apis/design/errors).
_HTTP_STATUS = {
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNKNOWN: 500,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DATA_LOSS: 500,
    grpc.StatusCode.UNAUTHENTICATED: 401,
}

# The `errors[].reason` that the JSON APIs of version 1 (IAM, Resource Manager) add to the body.
_LEGACY_REASON = {
    400: "badRequest",
    401: "authError",
    403: "forbidden",
    404: "notFound",
    409: "alreadyExists",
    429: "rateLimitExceeded",
    503: "backendError",
}


class GoogleError(Exception):
    """An error of a Google API: a canonical code, a message, and typed details."""

    def __init__(self, code: grpc.StatusCode, message: str, *details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details

    @classmethod
    def of_status(cls, status: Any) -> GoogleError:
        """Return the error of a `google.rpc.Status`, such as that of an operation; without its details."""
        code = next(each for each in grpc.StatusCode if each.value[0] == status.code)
        return cls(code, status.message)

    def status(self) -> Any:
        """Return the `google.rpc.Status` that gRPC carries in `grpc-status-details-bin`."""
        status = status_pb2.Status(code=self.code.value[0], message=self.message)
        for detail in self.details:
            status.details.add().Pack(detail)
        return status

    @property
    def http_status(self) -> int:
        """HTTP status of the error."""
        return _HTTP_STATUS[self.code]

    def body(self, *, legacy: bool) -> dict[str, Any]:
        """Return the JSON body; `legacy` adds the `errors` list of the APIs of version 1."""
        error: dict[str, Any] = {
            "code": self.http_status,
            "message": self.message,
            "status": self.code.name,
        }
        if legacy:
            reason = (
                "aborted" if self.code is grpc.StatusCode.ABORTED else _LEGACY_REASON.get(self.http_status)
            )
            error["errors"] = [
                {"domain": "global", "message": self.message, "reason": reason or "backendError"}
            ]
        if self.details:
            error["details"] = json_format.MessageToDict(self.status())["details"]
        return {"error": error}


class NotServedError(GoogleError):
    """UNIMPLEMENTED, for a method that the emulator does not serve.

    Over REST it is 405 instead of 501. Clients such as gcloud retry 5xx for half a minute, and report a
    problem of the network. They take 404 for a missing resource.
    """

    def __init__(self, method: str) -> None:
        super().__init__(grpc.StatusCode.UNIMPLEMENTED, f"The emulator does not serve {method}.")

    @property
    def http_status(self) -> int:
        """HTTP status of the error."""
        return HTTPStatus.METHOD_NOT_ALLOWED


def error_info(reason: str, domain: str, **metadata: str) -> Any:
    """Return a `google.rpc.ErrorInfo`, the part of an error that programs match on."""
    return error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata=metadata)


def invalid(message: str) -> GoogleError:
    """Return INVALID_ARGUMENT (400)."""
    return GoogleError(grpc.StatusCode.INVALID_ARGUMENT, message)


def not_found(message: str) -> GoogleError:
    """Return NOT_FOUND (404)."""
    return GoogleError(grpc.StatusCode.NOT_FOUND, message)


def already_exists(message: str, *details: Any) -> GoogleError:
    """Return ALREADY_EXISTS (409)."""
    return GoogleError(grpc.StatusCode.ALREADY_EXISTS, message, *details)


def aborted(message: str) -> GoogleError:
    """Return ABORTED (409), for a stale etag."""
    return GoogleError(grpc.StatusCode.ABORTED, message)


def failed_precondition(message: str, *details: Any) -> GoogleError:
    """Return FAILED_PRECONDITION (400)."""
    return GoogleError(grpc.StatusCode.FAILED_PRECONDITION, message, *details)


def resource_info(name: str) -> Any:
    """Return a `google.rpc.ResourceInfo` with the name of a resource."""
    return error_details_pb2.ResourceInfo(resource_name=name)


def violated_constraint(constraint: str, subject: str, description: str) -> Any:
    """Return a `google.rpc.PreconditionFailure` that names the organization policy that refuses a call."""
    violation = error_details_pb2.PreconditionFailure.Violation(
        type=f"constraints/{constraint}", subject=subject, description=description
    )
    return error_details_pb2.PreconditionFailure(violations=[violation])


def retry_info(seconds: float) -> Any:
    """Return a `google.rpc.RetryInfo`, the time that Google asks a client to wait."""
    delay = duration_pb2.Duration()
    delay.FromNanoseconds(round(seconds * 1e9))
    return error_details_pb2.RetryInfo(retry_delay=delay)


def exhausted(message: str) -> GoogleError:
    """Return RESOURCE_EXHAUSTED (429) for a limit on objects.

    Users report it with a RetryInfo of a day and without an ErrorInfo, for accounts
    (https://github.com/kubeflow/pipelines/issues/1052) and for keys
    (https://github.com/googlearchive/k8s-service-catalog/issues/228).
    """
    return GoogleError(grpc.StatusCode.RESOURCE_EXHAUSTED, message, retry_info(_A_DAY))


def perimeter_violation(service: str, consumer: str, uid: str) -> GoogleError:
    """Return PERMISSION_DENIED (403) as VPC Service Controls answers it.

    `consumer` is `projects/NUMBER_OR_ID`, `uid` identifies the entry of the audit log
    (https://github.com/cloudquery/cloudquery/issues/1062).
    """
    violation = error_details_pb2.PreconditionFailure.Violation(type="VPC_SERVICE_CONTROLS", description=uid)
    return GoogleError(
        grpc.StatusCode.PERMISSION_DENIED,
        f"Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: {uid}",
        error_details_pb2.PreconditionFailure(violations=[violation]),
        error_info("SECURITY_POLICY_VIOLATED", "googleapis.com", service=service, uid=uid, consumer=consumer),
    )


_A_DAY = 86_401.0
