"""What a status is made of: conditions, drift, issues and grants."""

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
    """The conditions that the operator writes. `Ready` and `InSync` are always there."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    REFERENCES_RESOLVED = "ReferencesResolved"
    IN_SYNC = "InSync"
    SERVICE_AGENT_READY = "ServiceAgentReady"
    CROSS_PROJECT_READY = "CrossProjectReady"
    LEAST_PRIVILEGE = "LeastPrivilege"
    KEYS_AUDITED = "KeysAudited"


class ConditionStatus(StrEnum):
    """The three values of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Reason(StrEnum):
    """Why `Ready` is what it is; `UpToDate` alone goes with True."""

    UP_TO_DATE = "UpToDate"
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
    INTERNAL_ERROR = "InternalError"


class Condition(ApiModel):
    """One aspect of the object's state, observed at a generation."""

    type: str = Field(min_length=1, max_length=316)
    """What the condition is about, such as Ready."""
    status: ConditionStatus
    """True, False or Unknown."""
    reason: str = Field(min_length=1, max_length=1024)
    """Why, in one word."""
    message: Annotated[str, Clipped(32768)] = ""
    """Why, in a sentence for people."""
    last_transition_time: Timestamp
    """When status last changed; a new reason or message alone does not move it."""
    observed_generation: int | None = Field(default=None, ge=0)
    """The metadata.generation that the condition speaks of."""


class GrantState(StrEnum):
    """How far a grant has come; the ledger and the status speak the same words."""

    GRANTED = "Granted"
    PENDING = "Pending"
    REJECTED = "Rejected"
    RELEASING = "Releasing"


class GrantStatus(ApiModel):
    """One grant that the object declares: role, member and target, and how far it has come."""

    target: Annotated[str, Clipped(512)]
    """The resource whose policy holds the grant, such as `Service europe-west1/checkout`."""
    role: Annotated[str, Clipped(256)]
    """The role's full name."""
    condition: Annotated[str, Clipped(100)] | None = None
    """The title of the grant's condition."""
    member: Annotated[str, Clipped(1024)]
    """The member as the policy writes it."""
    state: GrantState
    """How far the grant has come."""
    reason: Annotated[str, Clipped(64)] | None = None
    """Why it is not granted, in one word; issues say more."""


class GrantCounts(ApiModel):
    """How many grants are in which state."""

    granted: int = Field(default=0, ge=0)
    """Seen in the policy."""
    pending: int = Field(default=0, ge=0)
    """Not written yet, or waiting."""
    rejected: int = Field(default=0, ge=0)
    """Refused by Google Cloud."""
    releasing: int = Field(default=0, ge=0)
    """On their way out."""

    @classmethod
    def of(cls, states: Iterable[GrantState]) -> Self:
        """Count grants by their states."""
        counted = Counter(states)
        return cls(
            granted=counted[GrantState.GRANTED],
            pending=counted[GrantState.PENDING],
            rejected=counted[GrantState.REJECTED],
            releasing=counted[GrantState.RELEASING],
        )


class Drift(ApiModel):
    """What was found changed in Google Cloud behind the operator's back."""

    count: int = Field(default=0, ge=0)
    """Repairs and reports since the object was created."""
    last_detected_time: Timestamp | None = None
    """When a difference was last found."""
    last_repaired_time: Timestamp | None = None
    """When a difference was last put right."""
    changes: Annotated[tuple[Annotated[str, Clipped(256)], ...], Clipped(16)] = ()
    """The differences found last, one sentence each."""


class ReconciledStatus(ApiModel):
    """The status of every kind that is reconciled."""

    observed_generation: int | None = Field(default=None, ge=NOT_OBSERVED)
    """metadata.generation of the object that the status was computed for. It is -1 before the first
    reconcile."""
    conditions: Annotated[tuple[Condition, ...], Field(max_length=16), MAP, map_keys("type")] = ()
    """The object's state: Ready and InSync always, Reconciling and Stalled only while True."""
    last_handled_reconcile_at: Annotated[str, Clipped(TOKEN_BOUND)] | None = None
    """The last value of the reconcile-requested-at annotation that a pass has answered."""
    project_id: Annotated[str, Clipped(128)] | None = None
    """The Google Cloud project that this object was found to be about, pinned."""
    issues: Annotated[tuple[Annotated[str, Clipped(256)], ...], Clipped(16)] = ()
    """What a person should know, one sentence each."""
    drift: Drift | None = None
    """What was found changed behind the operator's back."""

    def condition(self, condition_type: ConditionType) -> Condition | None:
        """Find the condition of this type; None where it is absent."""
        return next((each for each in self.conditions if each.type == condition_type), None)


class ProjectScopedStatus(ReconciledStatus):
    """The status of every kind that lives in a project."""

    grants: Annotated[tuple[GrantStatus, ...], Clipped(100)] = ()
    """The grants that this object declares, the first hundred."""
    grant_counts: GrantCounts | None = None
    """All grants that this object declares, counted by state."""
