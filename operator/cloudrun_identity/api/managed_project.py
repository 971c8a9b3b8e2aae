"""ManagedProject: a Google Cloud project that is delegated to namespaces, and its guardrails."""

from enum import StrEnum
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from .change_feed import ChangeFeed, ChangeFeedStatus
from .duration import Duration, at_least
from .group import ADMIN_CATEGORY
from .project_guardrails import MAX_ENTRIES, Guardrails, namespace_rules
from .references import Location, NamespaceName, ServiceAccountEmail, WorkloadKind
from .resource import Column, Scope
from .schema import SET, ApiModel, Clipped, Rule, Timestamp, cel_string, immutable, matches, set_once
from .spec import MESSAGE_COLUMN, READY_COLUMNS, STALLED_COLUMN, ReconciledResource, ReconciledSpec
from .status import ReconciledStatus

_PROJECT_ID: Final = r"^([a-z0-9.-]+:)?[a-z][-a-z0-9]{4,28}[a-z0-9]$"
_PROJECT_ID_FORM: Final = (
    "6-30 characters of a-z, 0-9 and -, starting with a letter, not ending with - (domain-scoped: DOMAIN:ID)"
)

ProjectID = Annotated[
    str, Field(max_length=128), matches(_PROJECT_ID, f"must be a project ID: {_PROJECT_ID_FORM}")
]


class CrossProjectUsage(StrEnum):
    """Action on the constraint iam.disableCrossProjectServiceAccountUsage."""

    VERIFY = "Verify"
    ALLOW = "Allow"


class LastUse(StrEnum):
    """Action on the last uses of accounts and keys that Google reports."""

    IGNORE = "Ignore"
    REPORT = "Report"


class EffectiveCrossProjectUsage(StrEnum):
    """Effect of the constraint iam.disableCrossProjectServiceAccountUsage in a project."""

    ALLOWED = "Allowed"
    DENIED = "Denied"
    UNKNOWN = "Unknown"


class GoogleRecommendations(StrEnum):
    """Use of the recommendations and insights of Google's Recommender."""

    IGNORE = "Ignore"
    REPORT = "Report"


class Credentials(ApiModel):
    """Credentials are the service accounts that the operator acts as in the project."""

    impersonate_service_account: ServiceAccountEmail
    """E-mail of the service account that the operator impersonates."""
    delegates: Annotated[tuple[ServiceAccountEmail, ...], Field(max_length=8)] = ()
    """E-mails of the service accounts in the delegation chain from the operator to the impersonated account,
    in order."""


class SelectorOperator(StrEnum):
    """Operators that compare a label with the values of a requirement."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class LabelRequirement(ApiModel):
    """LabelRequirement is one requirement on the labels of a namespace."""

    rules: ClassVar = (
        Rule(
            "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
            "must be set for operators In and NotIn, and for no other operator",
            field_path=".values",
        ),
    )

    key: Annotated[str, Field(min_length=1, max_length=317)]
    """Key of the label."""
    operator: SelectorOperator
    """Operator that compares the label with the values."""
    values: Annotated[tuple[Annotated[str, Field(max_length=63)], ...], Field(max_length=64), SET] = ()
    """Values for the operators In and NotIn."""


class LabelSelector(ApiModel):
    """LabelSelector selects namespaces whose labels meet all of its requirements."""

    atomic: ClassVar = True

    match_labels: Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=64)] = Field(
        default_factory=dict
    )
    """Labels with their required values."""
    match_expressions: Annotated[tuple[LabelRequirement, ...], Field(max_length=64)] = ()
    """Further requirements on labels."""


class AdmittedNamespaces(ApiModel):
    """AdmittedNamespaces are the namespaces that may use the project: the union of both fields."""

    names: Annotated[tuple[NamespaceName, ...], Field(max_length=MAX_ENTRIES), SET] = ()
    """Namespaces by name. Names are safer than labels, which every user with access to a namespace can
    set."""
    selector: LabelSelector | None = None
    """Namespaces by label. An empty selector selects no namespace, unlike elsewhere in Kubernetes."""


class ManagedProjectSpec(ReconciledSpec):
    """ManagedProjectSpec defines how a Google Cloud project is delegated to namespaces."""

    rules: ClassVar = (set_once("projectID"), *namespace_rules())

    project_id: Annotated[ProjectID, immutable("projectID")] | None = None
    """ID of the Google Cloud project. If unset, metadata.name. Immutable."""
    credentials: Credentials | None = None
    """Service accounts that the operator acts as in this project. If unset, the operator's own identity."""
    quota_project_id: ProjectID | None = None
    """ID of the project that API calls are charged to. If unset, the project of the credentials."""
    drift_interval: Annotated[Duration, at_least("1s")] = Duration("5m")
    """Interval at which the operator compares Google Cloud with the declared state."""
    change_feed: ChangeFeed | None = None
    """Delivery of the project's audit log. Without it, the operator finds drift at the next driftInterval."""
    locations: Annotated[tuple[Location, ...], Field(max_length=64), SET] = ()
    """Locations in which the operator looks for workloads: regions, and global for multi-region services. If
    unset, the locations of attachments and targets."""
    namespaces: AdmittedNamespaces = AdmittedNamespaces()
    """Namespaces that may use this project. If unset, no namespace may use it."""
    cross_project_usage: CrossProjectUsage = CrossProjectUsage.VERIFY
    """Use of service accounts of this project by workloads of other projects. Verify reports whether they
    may. Allow stops enforcing the organization policy constraint iam.disableCrossProjectServiceAccountUsage
    in this project."""
    recommendations: GoogleRecommendations = GoogleRecommendations.IGNORE
    """Use of the recommendations of Google's Recommender for the identities of this project. Ignore does not
    read them. Report reads them at most every six hours, and shows them in the status of the identities."""
    last_use: LastUse = LastUse.IGNORE
    """Last uses of service accounts and their keys. Report reads them once per hour from Policy Analyzer and
    Monitoring, and reports them in the status of identities and keys. Ignore does not read them."""
    guardrails: Guardrails = Guardrails()
    """Limits on what the admitted namespaces may do in this project."""


class MissingPermission(ApiModel):
    """MissingPermission is a permission that the operator seems to lack in the project."""

    permission: Annotated[str, Clipped(256)]
    """Permission, such as iam.serviceAccounts.create."""
    feature: Annotated[str, Clipped(256)]
    """Feature that does not work without the permission."""


class WorkloadOnDefaultIdentity(ApiModel):
    """WorkloadOnDefaultIdentity is a workload that runs as the default service account of the project."""

    kind: WorkloadKind
    """Kind of the workload."""
    location: Annotated[str, Clipped(63)]
    """Location of the workload."""
    name: Annotated[str, Clipped(255)]
    """Name of the workload."""


class Orphan(ApiModel):
    """Orphan is a resource or a grant that no object manages any more."""

    resource: Annotated[str, Clipped(1024)]
    """Full resource name of the orphan."""
    reason: Annotated[str, Clipped(256)]
    """Reason why it was left."""
    since: Timestamp
    """Time at which it was left."""


class ProjectOperator(ApiModel):
    """ProjectOperator identifies an operator by the Lease that its leader renews."""

    namespace: Annotated[str, Clipped(63)]
    """Namespace of the Lease and of the PolicyLedgers of the operator."""
    lease: Annotated[str, Clipped(253)]
    """Name of the Lease."""


class ManagedProjectStatus(ReconciledStatus):
    """ManagedProjectStatus is the observed state of the project."""

    operator: ProjectOperator | None = None
    """Operator that acts on the project and its objects. Another operator on the cluster acts on none of them
    while the Lease is renewed, and takes the project over only with the PolicyLedgers of this one."""
    project_number: Annotated[str, Clipped(32)] | None = None
    """Number of the project."""
    cloud_run_service_agent: Annotated[str, Clipped(254)] | None = None
    """E-mail of the Cloud Run service agent of the project."""
    operator_identity: Annotated[str, Clipped(512)] | None = None
    """E-mail of the service account that the operator acts as in this project."""
    missing_permissions: Annotated[tuple[MissingPermission, ...], Clipped(64)] = ()
    """Permissions that the operator seems to lack. Google Cloud calls the underlying check a hint."""
    cross_project_usage: EffectiveCrossProjectUsage | None = None
    """Effect of the constraint iam.disableCrossProjectServiceAccountUsage: Allowed if service accounts of
    this project may run workloads of other projects."""
    workloads_on_default_identity: Annotated[tuple[WorkloadOnDefaultIdentity, ...], Clipped(50)] = ()
    """Workloads that run as the default service account of the project."""
    orphans: Annotated[tuple[Orphan, ...], Clipped(50)] = ()
    """Resources and grants in Google Cloud that no object manages any more."""
    change_feed: ChangeFeedStatus | None = None
    """State of the change feed; unset without one."""


class ManagedProject(ReconciledResource):
    """ManagedProject delegates a Google Cloud project to namespaces, within guardrails."""

    plural: ClassVar = "managedprojects"
    singular: ClassVar = "managedproject"
    short_names: ClassVar = ("mproj", "mprojs")
    category: ClassVar = ADMIN_CATEGORY
    scope: ClassVar = Scope.CLUSTER
    columns: ClassVar = (
        Column("Project", ".status.projectID"),
        Column("Number", ".status.projectNumber"),
        *READY_COLUMNS[:2],
        Column("Degraded", '.status.conditions[?(@.type=="Degraded")].reason'),
        *READY_COLUMNS[2:],
        Column("Interval", ".spec.driftInterval", wide=True),
        Column("Identity", ".status.operatorIdentity", wide=True),
        Column("Operator", ".status.operator.namespace", wide=True),
        STALLED_COLUMN,
        MESSAGE_COLUMN,
        Column("Degradation", '.status.conditions[?(@.type=="Degraded")].message', wide=True),
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
