"""Errors of Google Cloud calls, classified so that callers can decide what to do.

The classification uses the status code and the typed details only, because Google rewords messages without
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
    PERIMETER_VIOLATION = "PerimeterViolation"
    """A perimeter of VPC Service Controls blocks the call. No role changes that."""
    LOCATION_NOT_FOUND = "LocationNotFound"
    """The location of the call does not exist, or the project may not use it. Google does not say which."""
    UNAUTHENTICATED = "Unauthenticated"
    UNAVAILABLE = "Unavailable"
    """There was no answer, or one that does not say what happened. A retry may succeed."""
    UNIMPLEMENTED = "Unimplemented"


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

    in_doubt: bool
    """True if an earlier attempt of the call may have taken effect, or if its status does not exclude it."""

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
        self.in_doubt = False

    @property
    def undecided(self) -> bool:
        """True if the call may have taken effect. If False, it certainly did not.

        No other code decides this. `unknown_outcomes.written_or_found` looks up what happened.
        """
        return self.sent and (self.in_doubt or self.fault is Fault.UNAVAILABLE)

    @property
    def rate_limited(self) -> bool:
        """True if a rate is exhausted, which recovers within a minute, and not a number of objects.

        Google asks to wait for a day where a project has the maximum number of accounts
        (https://github.com/kubeflow/pipelines/issues/1052).
        """
        short = self.retry_after is not None and self.retry_after <= LONGEST_RATE_PAUSE
        return self.fault is Fault.QUOTA_EXCEEDED and (self.reason == _RATE_LIMIT_EXCEEDED or short)

    def __str__(self) -> str:
        called = f"{self.method} {self.resource}" if self.resource else self.method
        return f"{called}: {self.fault}: {self.message}"


class WriteNotSent(GoogleError):  # noqa: N818 - the name describes an event
    """A write that the client refused to send."""

    def __init__(self, method: str, message: str) -> None:
        super().__init__(Fault.UNAVAILABLE, method, f"not sent: {message}", sent=False)


class LeaseNotHeld(WriteNotSent):
    """The replica does not hold the lease. Another one may be writing."""

    def __init__(self, method: str) -> None:
        super().__init__(method, "this replica does not hold the lease")


class ClientReadOnly(WriteNotSent):
    """The clients are read-only. The write is a bug of the caller."""

    def __init__(self, method: str) -> None:
        super().__init__(method, "these clients are read-only")


class CredentialsError(Exception):
    """The operator has no usable Google Cloud credentials. The message is one line with the remedy."""


def fault_of(code: grpc.StatusCode | None, reason: str = "") -> Fault:
    """Return the fault of a status code (None if there is none) and the reason of its ErrorInfo.

    Google uses the codes alike in every API that the operator calls. The caller knows what a fault means for
    it, such as a 404 soon after a create.
    """
    return _BY_REASON.get(reason) or _BY_CODE.get(code, Fault.UNAVAILABLE)


def classify(exception: Exception, method: str, resource: str = "", region: str = "") -> GoogleError:
    """Convert an exception of the client libraries to a GoogleError.

    `resource` is the relative name of the resource in the request, if it is known. `region` is the region of
    the API host, empty for a global API.

    Raises:
        TypeError: `exception` is not one of theirs. It is a bug and must not look like an error of Google.

    """
    match exception:
        case api_exceptions.GoogleAPICallError():
            return _from_call_error(exception, method, resource, region)
        case grpc.RpcError():
            return _from_call_error(_call_error(exception), method, resource, region)
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


def location_not_found(method: str, region: str, message: str) -> GoogleError:
    """Return the error of a call that was not sent, because its location has no host."""
    return GoogleError(Fault.LOCATION_NOT_FOUND, method, message, metadata={_LOCATION: region}, sent=False)


def _from_call_error(
    error: api_exceptions.GoogleAPICallError, method: str, resource: str, region: str
) -> GoogleError:
    code = error.grpc_status_code
    reason = error.reason or ""
    fault, metadata = fault_of(code, reason), dict(error.metadata or {})
    if violation := _perimeter_violation(error):  # services differ in whether they add an ErrorInfo
        fault = Fault.PERIMETER_VIOLATION
        metadata.setdefault("uid", violation)
    elif region and _is_about_location(fault, method):
        fault = Fault.LOCATION_NOT_FOUND
        metadata.setdefault(_LOCATION, region)
    return GoogleError(
        fault,
        method,
        one_line(_message(error)),
        code=code.name if code else "",
        reason=reason,
        metadata=metadata,
        retry_after=_retry_after(error),
        resource=resource,
    )


def _perimeter_violation(error: api_exceptions.GoogleAPICallError) -> str:
    """Return the id of the violation of a perimeter in the details of an error; empty without one."""
    violations = (
        violation
        for detail in error.details
        if isinstance(detail, error_details_pb2.PreconditionFailure)
        for violation in detail.violations
    )
    return next((each.description for each in violations if each.type == "VPC_SERVICE_CONTROLS"), "")


def _is_about_location(fault: Fault, method: str) -> bool:
    """Return whether the failure of a call on a regional host is about the location.

    Google's front end answers HTTP 404 for the host of a region that does not exist, which gRPC converts to
    UNIMPLEMENTED (https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md,
    https://github.com/googleapis/google-cloud-dotnet/issues/9356). The parent of a list is the location.
    """
    lists = method.rpartition("/")[2].startswith("List")
    return fault is Fault.UNIMPLEMENTED or (fault is Fault.NOT_FOUND and lists)


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

LONGEST_RATE_PAUSE = 60.0
"""Longest pause in seconds after which a rate recovers: Google's quotas are per minute."""

_LOCATION = "location"  # in the metadata of an error, as in Google's ErrorInfo

_RATE_LIMIT_EXCEEDED = "RATE_LIMIT_EXCEEDED"

# These reasons are more specific than the code they come with: a disabled API is a PERMISSION_DENIED.
_BY_REASON = {
    "SERVICE_DISABLED": Fault.API_DISABLED,
    _RATE_LIMIT_EXCEEDED: Fault.QUOTA_EXCEEDED,
    "RESOURCE_QUOTA_EXCEEDED": Fault.QUOTA_EXCEEDED,
    # https://github.com/cloudquery/cloudquery/issues/1062
    "SECURITY_POLICY_VIOLATED": Fault.PERIMETER_VIOLATION,
    # https://github.com/firezone/firezone/pull/7711
    "LOCATION_POLICY_VIOLATED": Fault.LOCATION_NOT_FOUND,
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
    # A connection that ends during a call ("Stream removed"): https://github.com/grpc/grpc/issues/34076
    grpc.StatusCode.UNKNOWN: Fault.UNAVAILABLE,
    grpc.StatusCode.DATA_LOSS: Fault.UNAVAILABLE,
    grpc.StatusCode.UNIMPLEMENTED: Fault.UNIMPLEMENTED,
}
