"""A call that is logged, before its entry is built."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from cloudrun_identity_playground.emulator.apis.accounts import Account
from cloudrun_identity_playground.emulator.apis.actor import Caller
from cloudrun_identity_playground.emulator.apis.policies import PolicyWrite
from cloudrun_identity_playground.emulator.calls import only_reads
from cloudrun_identity_playground.emulator.errors import GoogleError
from cloudrun_identity_playground.emulator.sender import Sender

_DATA_ACCESS = frozenset(
    {
        "google.pubsub.v1.Publisher/Publish",
        *(
            f"google.pubsub.v1.Subscriber/{method}"
            for method in ("Pull", "StreamingPull", "Acknowledge", "ModifyAckDeadline", "Seek")
        ),
        "google.iam.admin.v1.IAM/SignBlob",
        "google.iam.admin.v1.IAM/SignJwt",
        "google.cloud.run.v2.Jobs/RunJob",
    }
)
"""Methods that write, but to the Data Access log (https://cloud.google.com/run/docs/audit-logging,
https://cloud.google.com/pubsub/docs/audit-logging, https://cloud.google.com/iam/docs/audit-logging)."""
_NEVER_LOGGED = ("google.longrunning.Operations/", "google.iam.credentials.v1.")


def timestamp(seconds: float) -> str:
    """Return a time, given in seconds since the epoch, as Google's JSON shows it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@cache
def is_logged(rpc: str) -> bool:
    """Return whether calls of a method (`package.Service/Method`) are in the Admin Activity log."""
    return not only_reads(rpc) and rpc not in _DATA_ACCESS and not rpc.startswith(_NEVER_LOGGED)


@dataclass(frozen=True, slots=True)
class Before:
    """The state before a call, by reference: nothing is copied."""

    account: Account | None = None
    """Service account that the call names."""
    permissions: tuple[str, ...] = ()
    """Permissions of the custom role that the call names."""


@dataclass(frozen=True, slots=True)
class Record:
    """A call that was answered."""

    rpc: str
    """Method, `package.Service/Method`."""
    request: Any
    """Request message."""
    response: Any
    """Response message; None after an error."""
    error: GoogleError | None
    """Error that the caller got; None for success."""
    caller: Caller
    """Principal of the caller."""
    sender: Sender
    """Sender in the headers of the request."""
    before: Before
    """State before the call."""
    policy: PolicyWrite | None
    """Write of a policy by the call; None for another call, and after an error."""
    time: float
    """Seconds since the epoch."""
    insert_id: str
    """Unique ID of the entry."""
    operation: str = ""
    """Name of the long-running operation that the call started."""
    ends_operation: bool = False
    """True for the entry at the end of the operation."""
    is_system_event: bool = False
    """True for the entry of Cloud Run about the readiness of a service, which has no caller."""

    @property
    def service(self) -> str:
        """Name of the gRPC service."""
        return self.rpc.partition("/")[0]

    @property
    def method(self) -> str:
        """Name of the method without its service."""
        return self.rpc.partition("/")[2]
