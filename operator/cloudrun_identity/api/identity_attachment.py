"""IdentityAttachment: an existing Cloud Run workload runs as an identity."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from .references import IdentityRef, ServiceAccountEmail, WorkloadRef
from .resource import Column
from .schema import ApiModel, Clipped, Timestamp, exactly_one_of, immutable
from .spec import MESSAGE_COLUMN, READY_COLUMNS, ProjectScopedResource, ProjectScopedSpec
from .status import ProjectScopedStatus


class AttachmentDeletionPolicy(StrEnum):
    """What the workload runs as when the object is deleted."""

    ABANDON = "Abandon"
    RESTORE = "Restore"


class IdentityAttachmentSpec(ProjectScopedSpec):
    """A workload and the identity it shall run as."""

    rules: ClassVar = (exactly_one_of("identityRef", "email"),)

    workload: Annotated[WorkloadRef, immutable("workload")]
    """The Cloud Run service, job or worker pool."""
    identity_ref: IdentityRef | None = None
    """The identity; it may belong to another project."""
    email: ServiceAccountEmail | None = None
    """The e-mail of a service account that no CloudRunIdentity declares; guardrails.accounts must list it."""
    deletion_policy: AttachmentDeletionPolicy = AttachmentDeletionPolicy.ABANDON
    """What the workload runs as when this object is deleted: Abandon leaves it, Restore puts back what ran
    before, if the guardrails still admit it."""


class PreflightState(StrEnum):
    """The result of a check."""

    PASSED = "Passed"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


class PreflightCheck(ApiModel):
    """A condition that must hold before Cloud Run lets a workload run as the identity. Advice only."""

    check: Annotated[str, Clipped(64)]
    """What was checked, in one word."""
    state: PreflightState
    """The result."""
    message: Annotated[str, Clipped(512)] | None = None
    """What is missing and what to do."""


class Move(ApiModel):
    """A write of the operator that gave the workload another account; recorded before it is made."""

    service_account: Annotated[str, Clipped(254)]
    """The e-mail of the account that the workload was moved to."""
    generation: int = Field(ge=0)
    """The workload's generation before the move, or after it where it failed: it is tried once for each."""
    time: Timestamp
    """When it was made."""
    contested: int = Field(default=0, ge=0)
    """How many times in a row somebody else had moved the workload away shortly before."""
    error: Annotated[str, Clipped(512)] | None = None
    """Why the platform gave it up."""


class IdentityAttachmentStatus(ProjectScopedStatus):
    """What the workload runs as."""

    workload: Annotated[str, Clipped(512)] | None = None
    """The workload, such as `Service europe-west1/checkout`."""
    identity: Annotated[str, Clipped(320)] | None = None
    """The identity as declared: NAME, NAMESPACE/NAME of another namespace, or an e-mail."""
    current_service_account: Annotated[str, Clipped(254)] | None = None
    """The e-mail of the account that the workload's template names."""
    previous_service_account: Annotated[str, Clipped(254)] | None = None
    """The e-mail of the account that the workload ran as before it was attached; empty: none was set."""
    workload_uid: Annotated[str, Clipped(64)] | None = None
    """The UID of the workload in Google Cloud."""
    latest_ready_revision: Annotated[str, Clipped(128)] | None = None
    """The newest revision that is ready."""
    serving_revisions: Annotated[tuple[Annotated[str, Clipped(128)], ...], Clipped(20)] = ()
    """The revisions that serve: those with traffic or tags, instance splits."""
    operation: Annotated[str, Clipped(512)] | None = None
    """The name of the operation under way."""
    last_move: Move | None = None
    """The last time that the operator gave the workload another account."""
    preflight: Annotated[tuple[PreflightCheck, ...], Clipped(12)] = ()
    """What Cloud Run will ask for."""


class IdentityAttachment(ProjectScopedResource):
    """An existing Cloud Run service, job or worker pool runs as an identity."""

    plural: ClassVar = "identityattachments"
    singular: ClassVar = "identityattachment"
    short_names: ClassVar = ("crattach",)
    columns: ClassVar = (
        Column("Kind", ".spec.workload.kind"),
        Column("Location", ".spec.workload.location"),
        Column("Workload", ".spec.workload.name"),
        Column("Identity", ".status.identity"),
        *READY_COLUMNS,
        Column("Account", ".status.currentServiceAccount", wide=True),
        Column("Revision", ".status.latestReadyRevision", wide=True),
        MESSAGE_COLUMN,
    )

    kind: Literal["IdentityAttachment"] = "IdentityAttachment"
    spec: IdentityAttachmentSpec
    status: IdentityAttachmentStatus = IdentityAttachmentStatus()
