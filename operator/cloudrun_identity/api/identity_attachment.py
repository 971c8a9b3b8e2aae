"""IdentityAttachment: the identity that an existing Cloud Run workload runs as."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from .references import IdentityRef, ServiceAccountEmail, WorkloadRef
from .resource import Column
from .schema import ApiModel, Clipped, Timestamp, exactly_one_of, immutable
from .spec import MESSAGE_COLUMN, READY_COLUMNS, STALLED_COLUMN, ProjectScopedResource, ProjectScopedSpec
from .status import ProjectScopedStatus


class AttachmentDeletionPolicy(StrEnum):
    """Policies for the workload when the object is deleted."""

    ABANDON = "Abandon"
    RESTORE = "Restore"


class IdentityAttachmentSpec(ProjectScopedSpec):
    """IdentityAttachmentSpec defines the identity that a workload runs as."""

    rules: ClassVar = (exactly_one_of("identityRef", "email"),)

    workload: Annotated[WorkloadRef, immutable("workload")]
    """Cloud Run service, job or worker pool. Immutable."""
    identity_ref: IdentityRef | None = None
    """CloudRunIdentity that the workload runs as. It may belong to another project."""
    email: ServiceAccountEmail | None = None
    """E-mail of a service account that no CloudRunIdentity declares. guardrails.accounts must list it."""
    deletion_policy: AttachmentDeletionPolicy = AttachmentDeletionPolicy.ABANDON
    """Policy for the workload when this object is deleted. Abandon leaves it as it is. Restore returns it to
    the service account that it ran as before, if the guardrails admit that account and no user has deployed
    another template since."""


class PreflightState(StrEnum):
    """Results of a preflight check."""

    PASSED = "Passed"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


class PreflightCheck(ApiModel):
    """PreflightCheck is the result of one check of what Cloud Run requires for the identity.

    A failed check is advice and blocks nothing.
    """

    check: Annotated[str, Clipped(64)]
    """Name of the check, in CamelCase."""
    state: PreflightState
    """Result of the check."""
    message: Annotated[str, Clipped(512)] | None = None
    """Problem and remedy."""


class Reassignment(ApiModel):
    """Reassignment is a write of the operator that changes the service account of the workload.

    The operator records it before it writes.
    """

    service_account: Annotated[str, Clipped(254)]
    """E-mail of the service account that the workload was reassigned to."""
    generation: int = Field(ge=0)
    """Generation of the workload before the write, or after a failed rollout. The operator tries once per
    generation."""
    time: Timestamp
    """Time of the write."""
    conflicts: int = Field(default=0, ge=0)
    """Number of consecutive reassignments that another deployer reverted shortly after."""
    error: Annotated[str, Clipped(512)] | None = None
    """Error of the failed rollout."""


class IdentityAttachmentStatus(ProjectScopedStatus):
    """IdentityAttachmentStatus is the observed state of the workload."""

    workload: Annotated[str, Clipped(512)] | None = None
    """Workload, such as `Service europe-west1/checkout`."""
    identity: Annotated[str, Clipped(320)] | None = None
    """Declared identity: NAME, NAMESPACE/NAME of another namespace, or an e-mail."""
    current_service_account: Annotated[str, Clipped(254)] | None = None
    """E-mail of the service account in the template of the workload."""
    previous_service_account: Annotated[str, Clipped(254)] | None = None
    """E-mail of the service account that the workload ran as before it was attached. If empty, none was
    set."""
    workload_uid: Annotated[str, Clipped(64)] | None = None
    """UID of the workload in Google Cloud."""
    latest_ready_revision: Annotated[str, Clipped(128)] | None = None
    """Latest ready revision."""
    serving_revisions: Annotated[tuple[Annotated[str, Clipped(128)], ...], Clipped(20)] = ()
    """Revisions that receive traffic, have a tag or run instances."""
    operation: Annotated[str, Clipped(512)] | None = None
    """Name of the operation in progress."""
    last_reassignment: Reassignment | None = None
    """Last write of the operator that changed the service account of the workload."""
    preflight: Annotated[tuple[PreflightCheck, ...], Clipped(16)] = ()
    """Results of the checks of what Cloud Run requires."""


class IdentityAttachment(ProjectScopedResource):
    """IdentityAttachment declares the identity that an existing Cloud Run workload runs as."""

    plural: ClassVar = "identityattachments"
    singular: ClassVar = "identityattachment"
    short_names: ClassVar = ("crattach", "crattaches")
    columns: ClassVar = (
        Column("Kind", ".spec.workload.kind"),
        Column("Location", ".spec.workload.location"),
        Column("Workload", ".spec.workload.name"),
        Column("Identity", ".status.identity"),
        *READY_COLUMNS,
        Column("Account", ".status.currentServiceAccount", wide=True),
        Column("Revision", ".status.latestReadyRevision", wide=True),
        STALLED_COLUMN,
        MESSAGE_COLUMN,
    )

    kind: Literal["IdentityAttachment"] = "IdentityAttachment"
    spec: IdentityAttachmentSpec
    status: IdentityAttachmentStatus = IdentityAttachmentStatus()
