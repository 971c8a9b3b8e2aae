"""Types and base classes of statuses: conditions, drift, issues and grants."""

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import Field

from .group import TOKEN_BOUND
from .schema import MAP, ApiModel, Clipped, Timestamp, map_keys

NOT_OBSERVED: Final = -1
"""The observedGeneration of an object that the operator has not reconciled yet: the schema's default."""


class ConditionType(StrEnum):
    """Types of conditions that the operator writes. `Ready` and `InSync` are always present."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    REFERENCES_RESOLVED = "ReferencesResolved"
    IN_SYNC = "InSync"
    DEGRADED = "Degraded"
    SERVICE_AGENT_READY = "ServiceAgentReady"
    CROSS_PROJECT_READY = "CrossProjectReady"
    LEAST_PRIVILEGE = "LeastPrivilege"
    KEYS_AUDITED = "KeysAudited"
    EXPIRING = "Expiring"
    CHANGE_FEED_READY = "ChangeFeedReady"
    RECENTLY_USED = "RecentlyUsed"


class ConditionStatus(StrEnum):
    """Values of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Reason(StrEnum):
    """Reasons of the Ready condition. `UpToDate` and `Expired` are the only reasons of the value True."""

    UP_TO_DATE = "UpToDate"
    EXPIRED = "Expired"
    UPDATING = "Updating"
    DELETING = "Deleting"
    DRIFT_DETECTED = "DriftDetected"
    DEPENDENCY_NOT_FOUND = "DependencyNotFound"
    DEPENDENCY_NOT_READY = "DependencyNotReady"
    PROPAGATION_PENDING = "PropagationPending"
    PERMISSION_DENIED = "PermissionDenied"
    QUOTA_EXCEEDED = "QuotaExceeded"
    API_UNAVAILABLE = "ApiUnavailable"
    API_DISABLED = "ApiDisabled"
    PERIMETER_VIOLATION = "PerimeterViolation"
    LOCATION_NOT_FOUND = "LocationNotFound"
    CONFLICT = "Conflict"
    INVALID_SPEC = "InvalidSpec"
    DENIED_BY_GUARDRAIL = "DeniedByGuardrail"
    REJECTED = "Rejected"
    IN_USE = "InUse"
    REVISION_FAILED = "RevisionFailed"
    WORKLOAD_NOT_FOUND = "WorkloadNotFound"
    OLD_REVISION_SERVING = "OldRevisionServing"
    POLICY_UNWRITABLE = "PolicyUnwritable"
    SUSPENDED = "Suspended"
    LEDGER_INVALID = "LedgerInvalid"
    INTERNAL_ERROR = "InternalError"


class Condition(ApiModel):
    """Condition is one aspect of the state of the object."""

    type: str = Field(min_length=1, max_length=316)
    """Type of the condition, such as Ready."""
    status: ConditionStatus
    """Status of the condition: True, False or Unknown."""
    reason: str = Field(min_length=1, max_length=1024)
    """Reason for the status, in CamelCase."""
    message: Annotated[str, Clipped(32768)] = ""
    """Human-readable details."""
    last_transition_time: Timestamp
    """Time at which the status last changed. A new reason or message does not change it."""
    observed_generation: int | None = Field(default=None, ge=0)
    """metadata.generation of the object that the condition was computed for."""


class GrantState(StrEnum):
    """Progress of a grant, in statuses and in the ledger."""

    GRANTED = "Granted"
    PENDING = "Pending"
    REJECTED = "Rejected"
    RELEASING = "Releasing"
    EXPIRED = "Expired"


class GrantStatus(ApiModel):
    """GrantStatus is the state of one grant that the object declares."""

    target: Annotated[str, Clipped(512)]
    """Resource whose IAM policy contains the grant, such as `Service europe-west1/checkout`."""
    role: Annotated[str, Clipped(256)]
    """Full name of the role."""
    condition: Annotated[str, Clipped(100)] | None = None
    """Title of the IAM condition of the grant."""
    member: Annotated[str, Clipped(1024)]
    """Member as the IAM policy writes it."""
    registered_member: Annotated[str, Clipped(1024)] | None = None
    """Member as which Google Cloud registered it, if the IAM policy shows another address: the primary
    address of an alias, or the new address of a renamed user or group."""
    state: GrantState
    """Progress of the grant. Granted: the policy contains it. Pending: it waits. Rejected: it is refused.
    Releasing: it is being removed. Expired: its time is over, and the operator does not make it."""
    expires_at: Timestamp | None = None
    """Time at which the grant ends or ended. If unset, it is permanent, or was not made yet."""
    reason: Annotated[str, Clipped(64)] | None = None
    """Reason why it is not granted, in CamelCase. status.issues has the details."""


class GrantCounts(ApiModel):
    """GrantCounts is the number of grants in each state."""

    granted: int = Field(default=0, ge=0)
    """Number of grants that the policy contains."""
    pending: int = Field(default=0, ge=0)
    """Number of grants that wait or are not written yet."""
    rejected: int = Field(default=0, ge=0)
    """Number of grants that the guardrails or Google Cloud refused."""
    releasing: int = Field(default=0, ge=0)
    """Number of grants that are being removed."""
    expired: int | None = Field(default=None, ge=0)
    """Number of grants whose time is over; unset if there is none."""

    @classmethod
    def of(cls, states: Iterable[GrantState]) -> Self:
        """Return the number of grants in each state."""
        counted = Counter(states)
        return cls(
            granted=counted[GrantState.GRANTED],
            pending=counted[GrantState.PENDING],
            rejected=counted[GrantState.REJECTED],
            releasing=counted[GrantState.RELEASING],
            expired=counted[GrantState.EXPIRED] or None,
        )


class ChangeCause(ApiModel):
    """ChangeCause is the call that caused a difference, as the audit log of Google Cloud reports it."""

    method: Annotated[str, Clipped(256)]
    """Method of the API, such as SetIamPolicy."""
    time: Timestamp
    """Time of the call."""
    principal: Annotated[str, Clipped(512)] | None = None
    """Caller, such as user:dana@example.com. Unset unless spec.changeFeed.reportActors of the ManagedProject
    is true."""
    user_agent: Annotated[str, Clipped(256)] | None = None
    """User agent that the caller sent. Unset unless spec.changeFeed.reportActors is true."""


class Drift(ApiModel):
    """Drift records differences from the declared state that were not caused by the operator."""

    count: int = Field(default=0, ge=0)
    """Number of repairs and reports since the object was created."""
    last_detected_time: Timestamp | None = None
    """Time at which the operator last found a difference."""
    last_repaired_time: Timestamp | None = None
    """Time at which the operator last repaired a difference."""
    changes: Annotated[tuple[Annotated[str, Clipped(1024)], ...], Clipped(16)] = ()
    """Differences that the operator found last, one sentence each."""
    causes: Annotated[tuple[ChangeCause, ...], Clipped(4)] = ()
    """Calls that caused these differences, as far as the change feed reported them."""


class ReconciledStatus(ApiModel):
    """Base of the status of every kind that the operator reconciles."""

    observed_generation: int | None = Field(default=None, ge=NOT_OBSERVED)
    """metadata.generation of the object that the status was computed for. It is -1 before the first
    reconcile."""
    conditions: Annotated[tuple[Condition, ...], Field(max_length=16), MAP, map_keys("type")] = ()
    """Conditions of the object. Ready and InSync are always present, Reconciling and Stalled only while
    True."""
    last_handled_reconcile_at: Annotated[str, Clipped(TOKEN_BOUND)] | None = None
    """Last value of the annotation cloudrun-identity.dev/reconcile-requested-at that the operator handled."""
    project_id: Annotated[str, Clipped(128)] | None = None
    """ID of the Google Cloud project that the object belongs to. It does not change."""
    waiting_since: Timestamp | None = None
    """Time since which the object waits for another object, a workload or a permission. After
    spec.progressDeadline it is Stalled."""
    issues: Annotated[tuple[Annotated[str, Clipped(1024)], ...], Clipped(16)] = ()
    """Problems and advice for a person, one sentence each."""
    drift: Drift | None = None
    """Differences that were not caused by the operator."""

    def condition(self, condition_type: ConditionType) -> Condition | None:
        """Return the condition of this type, or None."""
        for each in self.conditions:  # a generator takes twice as long, and metrics ask for each object
            if each.type == condition_type:
                return each
        return None


class ProjectScopedStatus(ReconciledStatus):
    """Base of the status of every kind that belongs to a project."""

    grants: Annotated[tuple[GrantStatus, ...], Clipped(100)] = ()
    """Grants that the object declares. The list has at most 100 of them."""
    last_granted_time: Timestamp | None = None
    """Time at which a declared grant was last added to an IAM policy, or first found in one. Google Cloud
    applies a new grant within seven minutes, and does not report when."""
    grant_counts: GrantCounts | None = None
    """Number of all grants that the object declares, by state."""
    next_expiry_time: Timestamp | None = None
    """Time at which the next temporary grant of the object ends."""
