"""Classification of the exceptions of the client libraries as `errors.GoogleError`.

It uses the status code and the typed details only, because Google rewords messages without notice.
"""

import google.auth.exceptions
import grpc
from google.api_core import exceptions as api_exceptions
from google.rpc import error_details_pb2

from .errors import RATE_LIMIT_EXCEEDED, Fault, GoogleError, one_line


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


_LOCATION = "location"  # in the metadata of an error, as in Google's ErrorInfo

# These reasons are more specific than the code they come with: a disabled API is a PERMISSION_DENIED.
_BY_REASON = {
    "SERVICE_DISABLED": Fault.API_DISABLED,
    RATE_LIMIT_EXCEEDED: Fault.QUOTA_EXCEEDED,
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
