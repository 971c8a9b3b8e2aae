"""Errors of Google Cloud calls, classified so that callers can decide what to do.

The classification uses the status code and the ErrorInfo only, because Google rewords messages without
notice.
"""

import re
from collections.abc import Mapping
from enum import StrEnum

import google.auth.exceptions
import grpc
from google.api_core import exceptions as api_exceptions
from google.rpc import error_details_pb2

from cloudrun_identity.api.schema import legible


class Fault(StrEnum):
    """Kind of failure. It determines what the caller can do."""

    NOT_FOUND = "NotFound"
    ALREADY_EXISTS = "AlreadyExists"
    ABORTED = "Aborted"
    """The etag that was sent is not the current one: read again and start over."""
    INVALID_ARGUMENT = "InvalidArgument"
    PERMISSION_DENIED = "PermissionDenied"
    FAILED_PRECONDITION = "FailedPrecondition"
    QUOTA_EXCEEDED = "QuotaExceeded"
    """A rate (see `GoogleError.rate_limited`) or a number of objects is exhausted."""
    API_DISABLED = "ApiDisabled"
    """The API is not enabled in the project that is charged for the call."""
    UNAUTHENTICATED = "Unauthenticated"
    UNAVAILABLE = "Unavailable"
    """There was no answer, or Google could not process the call now. A retry may succeed."""
    UNIMPLEMENTED = "Unimplemented"
    UNKNOWN = "Unknown"


class GoogleError(Exception):
    """A failed call to Google Cloud."""

    fault: Fault
    """Kind of failure."""

    method: str
    """Method that was called (`package.Service/Method`)."""

    resource: str
    """Relative name of the resource in the request (`projects/P/…`); empty if it is not known."""

    message: str
    """Google's message, or a description of the failure, on one line of at most 400 characters."""

    code: str
    """Name of the gRPC status; empty if there was none."""

    reason: str
    """Reason in Google's ErrorInfo; empty without one."""

    metadata: Mapping[str, str]
    """Metadata in Google's ErrorInfo; empty without one."""

    retry_after: float | None
    """Seconds that Google asked to wait, if it did."""

    sent: bool
    """False if the call failed before a request was sent, such as without a token."""

    def __init__(
        self,
        fault: Fault,
        method: str,
        message: str,
        *,
        code: str = "",
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
        sent: bool = True,
        resource: str = "",
    ) -> None:
        super().__init__(message)
        self.fault = fault
        self.method = method
        self.message = message
        self.code = code
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after
        self.sent = sent
        self.resource = resource

    @property
    def undecided(self) -> bool:
        """True if the call may have taken effect. If False, it certainly did not.

        No other code decides this.
        """
        return self.sent and self.fault in _UNDECIDED_FAULTS

    @property
    def rate_limited(self) -> bool:
        """True if a rate is exhausted, which recovers with time, and not a number of objects."""
        return self.fault is Fault.QUOTA_EXCEEDED and (
            self.reason == _RATE_LIMIT_EXCEEDED or self.retry_after is not None
        )

    def __str__(self) -> str:
        called = f"{self.method} {self.resource}" if self.resource else self.method
        return f"{called}: {self.fault}: {self.message}"


class NotSent(GoogleError):  # noqa: N818 - the name describes an event
    """A write that the client refused to send."""

    def __init__(self, method: str, message: str) -> None:
        super().__init__(Fault.UNAVAILABLE, method, f"not sent: {message}", sent=False)


class LeaseNotHeld(NotSent):
    """A write was not sent, because this replica does not hold the lease. Another replica may be writing."""

    def __init__(self, method: str) -> None:
        super().__init__(method, "this replica does not hold the lease")


class ReadOnlyClient(NotSent):
    """A write was attempted with read-only clients. This is a bug of the caller."""

    def __init__(self, method: str) -> None:
        super().__init__(method, "these clients are read-only")


class CredentialsError(Exception):
    """The operator has no usable Google Cloud credentials. The message is one line with the remedy."""


def fault_of(code: grpc.StatusCode | None, reason: str = "") -> Fault:
    """Return the fault of a status code (None if there is none) and the reason of its ErrorInfo.

    Google uses the codes alike in every API that the operator calls. The caller knows what a fault means for
    it, such as a 404 soon after a create.
    """
    return _BY_REASON.get(reason) or _BY_CODE.get(code, Fault.UNKNOWN)


def classify(exception: Exception, method: str, resource: str = "") -> GoogleError:
    """Convert an exception of the client libraries to a GoogleError.

    `resource` is the relative name of the resource in the request, if it is known.

    Raises:
        TypeError: `exception` is not one of theirs. It is a bug and must not look like an error of Google.

    """
    match exception:
        case api_exceptions.GoogleAPICallError():
            return _from_call_error(exception, method, resource)
        case grpc.RpcError():
            return _from_call_error(_call_error(exception), method, resource)
        case google.auth.exceptions.TransportError():
            return GoogleError(Fault.UNAVAILABLE, method, credentials_message(exception))
        case google.auth.exceptions.GoogleAuthError():
            return GoogleError(Fault.UNAUTHENTICATED, method, credentials_message(exception))
        case _:
            raise TypeError(
                f"{type(exception).__name__} is not an error of a Google Cloud call"
            ) from exception


def one_line(text: str) -> str:
    """Return untrusted text for a status or a log: on one line, bounded, and without secrets."""
    flat = _SECRETS.sub("[redacted]", legible(" ".join(text.split())))
    return flat if len(flat) <= _MESSAGE_LIMIT else flat[: _MESSAGE_LIMIT - 1] + "…"


def _from_call_error(error: api_exceptions.GoogleAPICallError, method: str, resource: str) -> GoogleError:
    code = error.grpc_status_code
    reason = error.reason or ""
    return GoogleError(
        fault_of(code, reason),
        method,
        one_line(_message(error)),
        code=code.name if code else "",
        reason=reason,
        metadata=error.metadata,
        retry_after=_retry_after(error),
        resource=resource,
    )


def _message(error: api_exceptions.GoogleAPICallError) -> str:
    """Return Google's message, with what a user needs to know and it omits."""
    code = error.grpc_status_code
    message = error.message or f"{code.name if code else type(error).__name__} without a message"
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"Google Cloud did not answer in time ({message})"
    permission = (error.metadata or {}).get("permission", "")
    if permission and permission not in message:
        return f"{message.rstrip('.')} (missing permission {permission})"
    return message


def _call_error(error: grpc.RpcError) -> api_exceptions.GoogleAPICallError:
    converted: api_exceptions.GoogleAPICallError = api_exceptions.from_grpc_error(error)  # type: ignore[no-untyped-call]
    return converted


def _retry_after(error: api_exceptions.GoogleAPICallError) -> float | None:
    for detail in error.details:
        if isinstance(detail, error_details_pb2.RetryInfo):
            return float(detail.retry_delay.ToTimedelta().total_seconds())
    return None


def credentials_message(error: google.auth.exceptions.GoogleAuthError) -> str:
    """Return the message of a credentials error, without the reply of the token endpoint in its args."""
    return one_line(str(error.args[0]) if error.args else type(error).__name__)


_MESSAGE_LIMIT = 400

_SECRETS = re.compile(
    r"ya29\.[\w.-]+"  # OAuth access tokens
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]*"  # JSON Web Tokens
    r"|-----BEGIN.*?(?:-----END[^-]*-----|$)"  # PEM keys
)

_UNDECIDED_FAULTS = frozenset({Fault.UNAVAILABLE, Fault.UNKNOWN})

_RATE_LIMIT_EXCEEDED = "RATE_LIMIT_EXCEEDED"

# These reasons are more specific than the code they come with: a disabled API is a PERMISSION_DENIED.
_BY_REASON = {
    "SERVICE_DISABLED": Fault.API_DISABLED,
    _RATE_LIMIT_EXCEEDED: Fault.QUOTA_EXCEEDED,
    "RESOURCE_QUOTA_EXCEEDED": Fault.QUOTA_EXCEEDED,
}

_BY_CODE = {
    grpc.StatusCode.NOT_FOUND: Fault.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS: Fault.ALREADY_EXISTS,
    grpc.StatusCode.ABORTED: Fault.ABORTED,
    grpc.StatusCode.INVALID_ARGUMENT: Fault.INVALID_ARGUMENT,
    grpc.StatusCode.OUT_OF_RANGE: Fault.INVALID_ARGUMENT,
    grpc.StatusCode.PERMISSION_DENIED: Fault.PERMISSION_DENIED,
    grpc.StatusCode.FAILED_PRECONDITION: Fault.FAILED_PRECONDITION,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Fault.QUOTA_EXCEEDED,
    grpc.StatusCode.UNAUTHENTICATED: Fault.UNAUTHENTICATED,
    grpc.StatusCode.UNAVAILABLE: Fault.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: Fault.UNAVAILABLE,
    grpc.StatusCode.INTERNAL: Fault.UNAVAILABLE,
    # A front end that drops a request answers CANCELLED. A cancellation by the operator never gets here.
    grpc.StatusCode.CANCELLED: Fault.UNAVAILABLE,
    grpc.StatusCode.UNIMPLEMENTED: Fault.UNIMPLEMENTED,
}
