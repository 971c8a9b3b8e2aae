"""What the specs of several kinds share."""

from enum import StrEnum
from typing import Annotated

from .references import ProjectRef
from .resource import Column, Resource
from .schema import ApiModel, immutable
from .status import ProjectScopedStatus, ReconciledStatus


class ManagementPolicy(StrEnum):
    """How far the operator goes."""

    MANAGE = "Manage"
    OBSERVE = "Observe"


class Adoption(StrEnum):
    """What to do where the resource exists already."""

    FAIL = "Fail"
    ADOPT = "Adopt"


class ExistingGrants(StrEnum):
    """Whose a grant is that stood in the policy before it was declared here."""

    KEEP = "Keep"
    CLAIM = "Claim"


class Origin(StrEnum):
    """How a cloud resource came under the operator's care."""

    CREATED = "Created"
    ADOPTED = "Adopted"


class ReconciledSpec(ApiModel):
    """The brakes of every kind that is reconciled."""

    suspend: bool = False
    """Nothing is read or written while true; the claims of a suspended object still protect its grants."""
    management_policy: ManagementPolicy = ManagementPolicy.MANAGE
    """Observe never writes to Google Cloud: differences are reported instead of repaired."""


class ProjectScopedSpec(ReconciledSpec):
    """The spec of every kind that lives in a project."""

    project_ref: Annotated[ProjectRef, immutable("projectRef")]
    """The ManagedProject that this object is about."""


class ReconciledResource(Resource):
    """A kind that declares what Google Cloud shall look like."""

    spec: ReconciledSpec
    status: ReconciledStatus = ReconciledStatus()


class ProjectScopedResource(ReconciledResource):
    """A kind that lives in a project and in a namespace that the project admits."""

    spec: ProjectScopedSpec
    status: ProjectScopedStatus = ProjectScopedStatus()


READY_COLUMNS = (
    Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
    Column("Reason", '.status.conditions[?(@.type=="Ready")].reason'),
    Column("Age", ".metadata.creationTimestamp", "date"),
)
MESSAGE_COLUMN = Column("Message", '.status.conditions[?(@.type=="Ready")].message', wide=True)
