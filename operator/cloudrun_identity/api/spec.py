"""Types and base classes that the specs of several kinds share."""

from enum import StrEnum
from typing import Annotated

from .duration import Duration, at_least
from .references import ProjectRef
from .resource import Column, Resource
from .schema import ApiModel, immutable
from .status import ProjectScopedStatus, ReconciledStatus


class ManagementPolicy(StrEnum):
    """Modes of managing Google Cloud."""

    MANAGE = "Manage"
    OBSERVE = "Observe"


class Adoption(StrEnum):
    """Action if the resource already exists."""

    FAIL = "Fail"
    ADOPT = "Adopt"


class ExistingGrants(StrEnum):
    """Policies for a grant that the IAM policy contained before the object declared it."""

    KEEP = "Keep"
    CLAIM = "Claim"


class Origin(StrEnum):
    """Origins of a managed resource."""

    CREATED = "Created"
    ADOPTED = "Adopted"


class ReconciledSpec(ApiModel):
    """Base of the spec of every kind that the operator reconciles."""

    suspend: bool = False
    """Suspends reconciliation: the operator reads and writes nothing for the object. Its grants remain.
    Temporary grants still end at their recorded end, unless the ManagedProject is suspended or
    observed."""
    management_policy: ManagementPolicy = ManagementPolicy.MANAGE
    """Manage creates, updates and repairs resources in Google Cloud. Observe only reports the differences."""
    progress_deadline: Annotated[Duration, at_least("1s")] = Duration("10m")
    """Time after which an object that waits for another object, a workload or a permission is Stalled. The
    operator still retries at each driftInterval of the project."""


class ProjectScopedSpec(ReconciledSpec):
    """Base of the spec of every kind that belongs to a project."""

    project_ref: Annotated[ProjectRef, immutable("projectRef")]
    """ManagedProject that the object belongs to. Immutable."""


class ReconciledResource(Resource):
    """Base of every kind that declares the desired state of resources in Google Cloud."""

    spec: ReconciledSpec
    status: ReconciledStatus = ReconciledStatus()

    @property
    def is_edited(self) -> bool:
        """True if the status was computed for another spec, or never."""
        return self.metadata.generation != self.status.observed_generation

    @property
    def is_requested(self) -> bool:
        """True if a user edited the spec or requested a reconcile, and the status does not show it yet."""
        token = self.reconcile_requested_at
        return self.is_edited or (bool(token) and token != self.status.last_handled_reconcile_at)


class ProjectScopedResource(ReconciledResource):
    """Base of every namespaced kind that belongs to a project."""

    spec: ProjectScopedSpec
    status: ProjectScopedStatus = ProjectScopedStatus()


READY_COLUMNS = (
    Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
    Column("Reason", '.status.conditions[?(@.type=="Ready")].reason'),
    Column("Age", ".metadata.creationTimestamp", "date"),
)
EXPIRY_COLUMN = Column("Expires", ".status.nextExpiryTime", wide=True)
STALLED_COLUMN = Column("Stalled", '.status.conditions[?(@.type=="Stalled")].status', wide=True)
MESSAGE_COLUMN = Column("Message", '.status.conditions[?(@.type=="Ready")].message', wide=True)
