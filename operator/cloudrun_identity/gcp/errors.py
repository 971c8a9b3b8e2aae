"""What went wrong in a call to Google Cloud, as one value that callers match on.

Faults are told apart by status code and ErrorInfo alone: Google rewords its messages without notice.
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
    """What kind of failure a call met, and so what a caller can do about it."""

    NOT_FOUND = "NotFound"
    ALREADY_EXISTS = "AlreadyExists"
    ABORTED = "Aborted"
    """The etag sent is no longer current: read again and start over."""
    INVALID_ARGUMENT = "InvalidArgument"
    PERMISSION_DENIED = "PermissionDenied"
    FAILED_PRECONDITION = "FailedPrecondition"
    QUOTA_EXCEEDED = "QuotaExceeded"
    """A rate (see `GoogleError.rate_limited`) or a number of objects is used up."""
    API_DISABLED = "ApiDisabled"
    """The service is not enabled in the project that is charged for the call."""
    UNAUTHENTICATED = "Unauthenticated"
    UNAVAILABLE = "Unavailable"
    """No answer, or none that says whether the call took effect; another try may succeed."""
    UNIMPLEMENTED = "Unimplemented"
    UNKNOWN = "Unknown"


class GoogleError(Exception):
    """A failed call to Google Cloud.

    `method` is `package.Service/Method`, `code` the name of the gRPC status, `message` Google's text on one
    line of at most 400 characters, `reason` and `metadata` those of its ErrorInfo (empty without one), and
    `retry_after` the seconds that the server asked to wait, if it did.
    """

    sent = True
    """False of a call that failed before it was made, such as for want of a token."""

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
    ) -> None:
        super().__init__(message)
        self.fault = fault
        self.method = method
        self.message = message
        self.code = code
        self.reason = reason
        self.metadata: Mapping[str, str] = dict(metadata or {})
        self.retry_after = retry_after

    @property
    def undecided(self) -> bool:
        """Whether it is open if the call took effect; otherwise it certainly did not."""
        return self.sent and self.fault in _UNDECIDED

    @property
    def rate_limited(self) -> bool:
        """Whether a rate is exhausted, which time heals, rather than a number of objects."""
        return self.fault is Fault.QUOTA_EXCEEDED and (
            self.reason == _RATE_LIMIT_EXCEEDED or self.retry_after is not None
        )

    def __str__(self) -> str:
        return f"{self.method}: {self.fault}: {self.message}"


class NotSent(GoogleError):  # noqa: N818 - it names what happened
    """A write that was not even tried, because it may not be made now."""

    def __init__(self, method: str, why: str) -> None:
        super().__init__(Fault.UNAVAILABLE, method, f"not sent: {why}")


class CredentialsError(Exception):
    """The operator has no usable Google Cloud credentials; the message is one line that says what to do."""


def fault_of(code: grpc.StatusCode | None, reason: str = "") -> Fault:
    """Judge a failure by its status code (None: it had none) and the reason of its ErrorInfo.

    No method needs a row of its own: Google uses the codes alike in every service the operator calls. What a
    fault means, such as a 404 soon after a create, is for the caller to know.
    """
    return _BY_REASON.get(reason) or _BY_CODE.get(code, Fault.UNKNOWN)


def classify(exception: Exception, method: str) -> GoogleError:
    """Turn what the client libraries raise into a GoogleError.

    Raises:
        TypeError: `exception` is none of theirs, and so a bug that must not pass for a fault of Google's.

    """
    match exception:
        case api_exceptions.GoogleAPICallError():
            return _from_call_error(exception, method)
        case grpc.RpcError():
            return _from_call_error(_call_error(exception), method)
        case google.auth.exceptions.TransportError():
            return GoogleError(Fault.UNAVAILABLE, method, credentials_message(exception))
        case google.auth.exceptions.GoogleAuthError():
            return GoogleError(Fault.UNAUTHENTICATED, method, credentials_message(exception))
        case _:
            raise TypeError(
                f"{type(exception).__name__} is no error of a call to Google Cloud"
            ) from exception


def one_line(text: str) -> str:
    """Fit foreign text into a status or a log line: one line, bounded, and without anything like a secret."""
    flat = _SECRETS.sub("[redacted]", legible(" ".join(text.split())))
    return flat if len(flat) <= _MESSAGE_LIMIT else flat[: _MESSAGE_LIMIT - 1] + "…"


def _from_call_error(error: api_exceptions.GoogleAPICallError, method: str) -> GoogleError:
    code = error.grpc_status_code
    reason = error.reason or ""
    return GoogleError(
        fault_of(code, reason),
        method,
        one_line(error.message or "no message"),
        code=code.name if code else "",
        reason=reason,
        metadata=error.metadata,
        retry_after=_retry_after(error),
    )


def _call_error(error: grpc.RpcError) -> api_exceptions.GoogleAPICallError:
    converted: api_exceptions.GoogleAPICallError = api_exceptions.from_grpc_error(error)  # type: ignore[no-untyped-call]
    return converted


def _retry_after(error: api_exceptions.GoogleAPICallError) -> float | None:
    for detail in error.details:
        if isinstance(detail, error_details_pb2.RetryInfo):
            return float(detail.retry_delay.ToTimedelta().total_seconds())
    return None


def credentials_message(error: google.auth.exceptions.GoogleAuthError) -> str:
    """Say what a credentials error says, without the token endpoint's reply that rides along in its args."""
    return one_line(str(error.args[0]) if error.args else type(error).__name__)


_MESSAGE_LIMIT = 400

_SECRETS = re.compile(
    r"ya29\.[\w.-]+"  # OAuth access tokens
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]*"  # JSON Web Tokens
    r"|-----BEGIN.*?(?:-----END[^-]*-----|$)"  # PEM keys
)

_UNDECIDED = frozenset({Fault.UNAVAILABLE, Fault.UNKNOWN})

_RATE_LIMIT_EXCEEDED = "RATE_LIMIT_EXCEEDED"

# These reasons say more than the code they come with: a disabled service is a plain PERMISSION_DENIED.
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
    # A front end that drops a request answers CANCELLED; our own cancellation never reaches this table.
    grpc.StatusCode.CANCELLED: Fault.UNAVAILABLE,
    grpc.StatusCode.UNIMPLEMENTED: Fault.UNIMPLEMENTED,
}
