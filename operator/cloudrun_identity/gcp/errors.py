"""Errors of Google Cloud calls, by what a caller can do about them."""

import re
from collections.abc import Mapping
from enum import StrEnum

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
    """The location does not exist, or the project may not use it. Google does not distinguish the two."""
    UNAUTHENTICATED = "Unauthenticated"
    UNAVAILABLE = "Unavailable"
    """There was no answer, or an answer without a known outcome. A retry may succeed."""
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

    caller: str
    """E-mail that made the call; empty if it is not known."""

    project_id: str
    """Project for which the call was made; empty if it is not known."""

    in_doubt: bool
    """True if an earlier attempt of the call may have taken effect, or if its status does not exclude it."""

    propagating: bool
    """True if the resource is so new that Google Cloud may not know it yet. The caller sets it: an answer of
    Google Cloud does not show the age."""

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
        self.caller = ""
        self.project_id = ""
        self.in_doubt = False
        self.propagating = False

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
        return self.fault is Fault.QUOTA_EXCEEDED and (self.reason == RATE_LIMIT_EXCEEDED or short)

    @property
    def is_transient(self) -> bool:
        """True if the same call may soon succeed: after no answer, a conflict, or an exhausted rate."""
        return self.rate_limited or self.fault in (Fault.UNAVAILABLE, Fault.ABORTED)

    def __str__(self) -> str:
        called = f"{self.method} {self.resource}" if self.resource else self.method
        return f"{called}: {self.fault}: {self.message}"


class WriteNotSent(GoogleError):
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


def one_line(text: str) -> str:
    """Return untrusted text for a status or a log: on one line, bounded, and without secrets."""
    flat = _SECRETS.sub("[redacted]", legible(" ".join(text.split())))
    return flat if len(flat) <= _MESSAGE_LIMIT else flat[: _MESSAGE_LIMIT - 1] + "…"


_MESSAGE_LIMIT = 400

_SECRETS = re.compile(
    r"ya29\.[\w.-]+"  # OAuth access tokens
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]*"  # JSON Web Tokens
    r"|-----BEGIN.*?(?:-----END[^-]*-----|$)"  # PEM keys
)

LONGEST_RATE_PAUSE = 60.0
"""Longest pause in seconds after which a rate recovers: Google's quotas are per minute."""

RATE_LIMIT_EXCEEDED = "RATE_LIMIT_EXCEEDED"
"""Reason in the ErrorInfo of an error about an exhausted rate."""
