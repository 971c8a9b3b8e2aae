"""ManagedProject: a Google Cloud project lent to namespaces, and what they may do in it."""

from enum import StrEnum
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from .duration import Duration, at_least
from .project_guardrails import Guardrails
from .references import Location, NamespaceName, ServiceAccountEmail, WorkloadKind
from .resource import Column, Scope
from .schema import SET, ApiModel, Clipped, Rule, Timestamp, cel_string, immutable, matches, set_once
from .spec import MESSAGE_COLUMN, READY_COLUMNS, ReconciledResource, ReconciledSpec
from .status import ReconciledStatus

_PROJECT_ID: Final = r"^([a-z0-9.-]+:)?[a-z][-a-z0-9]{4,28}[a-z0-9]$"
_PROJECT_ID_FORM: Final = (
    "6-30 characters of a-z, 0-9 and -, starting with a letter, not ending with - (domain-scoped: DOMAIN:ID)"
)

ProjectID = Annotated[
    str, Field(max_length=128), matches(_PROJECT_ID, f"must be a project ID: {_PROJECT_ID_FORM}")
]


class CrossProjectUsage(StrEnum):
    """What to do about iam.disableCrossProjectServiceAccountUsage."""

    VERIFY = "Verify"
    ALLOW = "Allow"


class EffectiveCrossProjectUsage(StrEnum):
    """What iam.disableCrossProjectServiceAccountUsage comes to in a project."""

    ALLOWED = "Allowed"
    DENIED = "Denied"
    UNKNOWN = "Unknown"


class Credentials(ApiModel):
    """Whom the operator acts as in the project."""

    impersonate_service_account: ServiceAccountEmail
    """The service account that the operator impersonates."""
    delegates: Annotated[tuple[ServiceAccountEmail, ...], Field(max_length=8)] = ()
    """The chain of service accounts between the operator and the impersonated one, in order."""


class SelectorOperator(StrEnum):
    """How a label is compared with the values of a requirement."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class LabelRequirement(ApiModel):
    """One requirement on a namespace's labels."""

    rules: ClassVar = (
        Rule(
            "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
            "must be set for operators In and NotIn, and for no other operator",
            field_path=".values",
        ),
    )

    key: Annotated[str, Field(min_length=1, max_length=317)]
    """The label's key."""
    operator: SelectorOperator
    """In, NotIn, Exists or DoesNotExist."""
    values: Annotated[tuple[Annotated[str, Field(max_length=63)], ...], Field(max_length=64), SET] = ()
    """The values for In and NotIn."""


class LabelSelector(ApiModel):
    """A selector over namespace labels: all its requirements must hold."""

    atomic: ClassVar = True

    match_labels: Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=64)] = Field(
        default_factory=dict
    )
    """Labels and the values they must have."""
    match_expressions: Annotated[tuple[LabelRequirement, ...], Field(max_length=64)] = ()
    """Requirements on labels."""


class AdmittedNamespaces(ApiModel):
    """The namespaces that may use the project: the union of both fields."""

    names: Annotated[tuple[NamespaceName, ...], Field(max_length=256), SET] = ()
    """Namespaces by name: safer than labels, which whoever may edit a namespace can set."""
    selector: LabelSelector | None = None
    """Namespaces by label. An empty selector selects none, because a project is closed unless opened."""


class ManagedProjectSpec(ReconciledSpec):
    """A project lent to namespaces. Closed unless opened."""

    rules: ClassVar = (set_once("projectID"),)

    project_id: Annotated[ProjectID, immutable("projectID")] | None = None
    """The Google Cloud project's ID. Unset: metadata.name."""
    credentials: Credentials | None = None
    """Whom the operator acts as in this project. Unset: the operator's own identity."""
    quota_project_id: ProjectID | None = None
    """The project that API quota is charged to. Unset: the credentials' own."""
    drift_interval: Annotated[Duration, at_least("1s")] = Duration("5m")
    """How often Google Cloud is compared with what is declared."""
    locations: Annotated[tuple[Location, ...], Field(max_length=64), SET] = ()
    """Where workloads are looked for. Unset: the locations of attachments and targets."""
    namespaces: AdmittedNamespaces = AdmittedNamespaces()
    """The namespaces that may use this project. Unset: nobody."""
    cross_project_usage: CrossProjectUsage = CrossProjectUsage.VERIFY
    """Whether accounts of this project may run another project's workloads: Verify looks, Allow sets the
    organization policy iam.disableCrossProjectServiceAccountUsage."""
    guardrails: Guardrails = Guardrails()
    """What the admitted namespaces may do in this project."""


class MissingPermission(ApiModel):
    """A permission that the operator seems to lack in the project."""

    permission: Annotated[str, Clipped(256)]
    """The permission, such as iam.serviceAccounts.create."""
    feature: Annotated[str, Clipped(256)]
    """What does not work without it."""


class WorkloadOnDefaultIdentity(ApiModel):
    """A workload that runs as the project's default service account."""

    kind: WorkloadKind
    """Service, Job or WorkerPool."""
    location: Annotated[str, Clipped(63)]
    """Where it runs."""
    name: Annotated[str, Clipped(255)]
    """Its name."""


class Orphan(ApiModel):
    """Something in Google Cloud that was left behind."""

    resource: Annotated[str, Clipped(1024)]
    """Its full resource name."""
    reason: Annotated[str, Clipped(256)]
    """Why it was left."""
    since: Timestamp
    """When it was left."""


class ManagedProjectStatus(ReconciledStatus):
    """What was found of the project."""

    project_number: Annotated[str, Clipped(32)] | None = None
    """The project's number."""
    cloud_run_service_agent: Annotated[str, Clipped(254)] | None = None
    """The e-mail of Google's own account that runs the project's workloads."""
    operator_identity: Annotated[str, Clipped(512)] | None = None
    """Whom the operator acts as in this project."""
    missing_permissions: Annotated[tuple[MissingPermission, ...], Clipped(64)] = ()
    """Permissions that the operator seems to lack; a hint, it can be wrong."""
    cross_project_usage: EffectiveCrossProjectUsage | None = None
    """Whether accounts of this project may run another project's workloads."""
    workloads_on_default_identity: Annotated[tuple[WorkloadOnDefaultIdentity, ...], Clipped(50)] = ()
    """Workloads that run as the project's default service account."""
    orphans: Annotated[tuple[Orphan, ...], Clipped(50)] = ()
    """What was left behind in Google Cloud."""


class ManagedProject(ReconciledResource):
    """A Google Cloud project lent to namespaces: credentials, guardrails, drift interval."""

    plural: ClassVar = "managedprojects"
    singular: ClassVar = "managedproject"
    short_names: ClassVar = ("mproj",)
    scope: ClassVar = Scope.CLUSTER
    columns: ClassVar = (
        Column("Project", ".status.projectID"),
        Column("Number", ".status.projectNumber"),
        *READY_COLUMNS,
        Column("Interval", ".spec.driftInterval", wide=True),
        Column("Identity", ".status.operatorIdentity", wide=True),
        MESSAGE_COLUMN,
    )
    rules: ClassVar = (
        Rule(
            f"has(self.spec.projectID) || self.metadata.name.matches({cel_string(_PROJECT_ID)})",
            f"must be set, because metadata.name is not a project ID ({_PROJECT_ID_FORM})",
            field_path=".spec.projectID",
            reason="FieldValueRequired",
        ),
    )

    kind: Literal["ManagedProject"] = "ManagedProject"
    spec: ManagedProjectSpec
    status: ManagedProjectStatus = ManagedProjectStatus()

    @property
    def project_id(self) -> str:
        """The Google Cloud project's ID as declared."""
        return self.spec.project_id or self.metadata.name
