"""CloudRunIdentity: a service account that Cloud Run workloads run as."""

from enum import StrEnum
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from .duration import Duration
from .group import FORCE_DELETE
from .references import (
    CONDITIONS_WHERE_ACCEPTED,
    NO_CONDITION_ON_BASIC_ROLES,
    BindingCondition,
    CustomRoleRef,
    Member,
    NamespaceName,
    ObjectName,
    Principal,
    ProjectRef,
    Role,
    TargetRef,
    WorkloadKind,
)
from .resource import Column
from .schema import (
    SET,
    ApiModel,
    Clipped,
    Rule,
    Timestamp,
    at_most_bytes,
    cel_string,
    exactly_one_of,
    immutable,
    matches,
    set_once,
)
from .spec import (
    MESSAGE_COLUMN,
    READY_COLUMNS,
    Adoption,
    ExistingGrants,
    Origin,
    ProjectScopedResource,
    ProjectScopedSpec,
)
from .status import ProjectScopedStatus

_ACCOUNT_ID: Final = r"^[a-z][-a-z0-9]{4,28}[a-z0-9]$"
_ACCOUNT_ID_FORM: Final = "6-30 characters of a-z, 0-9 and -, starting with a letter, not ending with -"

AccountID = Annotated[
    str, Field(max_length=63), matches(_ACCOUNT_ID, f"must be an account ID: {_ACCOUNT_ID_FORM}")
]


class WhenDeleted(StrEnum):
    """What to do about an account that somebody deleted."""

    UNDELETE = "Undelete"
    RECREATE = "Recreate"
    REPORT = "Report"


class WhenDisabled(StrEnum):
    """What to do about an account that somebody disabled or enabled."""

    REPAIR = "Repair"
    REPORT = "Report"


class WhenReplaced(StrEnum):
    """What to do about an account of the same e-mail and another unique ID."""

    REPORT = "Report"
    REGRANT = "Regrant"


class IdentityDeletionPolicy(StrEnum):
    """What becomes of the account when the object is deleted."""

    DELETE_IF_CREATED = "DeleteIfCreated"
    DELETE = "Delete"
    ABANDON = "Abandon"


class DeletionProtection(StrEnum):
    """What holds up the deletion of an account."""

    WHILE_IN_USE = "WhileInUse"
    NONE = "None"


class UnmanagedKeys(StrEnum):
    """What to do about user-managed keys that nobody declares."""

    REPORT = "Report"
    IGNORE = "Ignore"


class RoleGrant(ApiModel):
    """A role that the identity holds on something."""

    rules: ClassVar = (
        exactly_one_of("role", "customRoleRef"),
        CONDITIONS_WHERE_ACCEPTED,
        NO_CONDITION_ON_BASIC_ROLES,
    )

    role: Role | None = None
    """The role's full name, such as roles/cloudsql.client."""
    custom_role_ref: CustomRoleRef | None = None
    """A CustomRole of the same namespace."""
    target: TargetRef | None = None
    """What the role is granted on. Unset: the project."""
    project_ref: ProjectRef | None = None
    """The project of the target. Unset: the identity's own."""
    condition: BindingCondition | None = None
    """When the grant holds. Unset: always."""


class KubernetesServiceAccount(ApiModel):
    """A service account of a GKE cluster with workload identity."""

    project_ref: ProjectRef
    """The project of the cluster."""
    namespace: Annotated[
        NamespaceName, matches(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "must be the name of a namespace")
    ]
    """The namespace in the cluster."""
    service_account: Annotated[
        ObjectName,
        matches(r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", "must be the name of a Kubernetes service account"),
    ]
    """The Kubernetes service account's name."""


class WorkloadIdentityUser(ApiModel):
    """Somebody outside Cloud Run who may act as the identity."""

    rules: ClassVar = (exactly_one_of("kubernetes", "principal"),)

    kubernetes: KubernetesServiceAccount | None = None
    """A Kubernetes service account."""
    principal: Principal | None = None
    """A principal in IAM's notation, such as `principal://…`."""


class UsableFrom(ApiModel):
    """A project whose Cloud Run may run as the identity."""

    project_ref: ProjectRef
    """The project of the workloads."""


_NO_PUBLIC_MEMBERS = Rule(
    "self.all(m, !has(m.principal) || !(m.principal in ['allUsers', 'allAuthenticatedUsers']))",
    "allUsers and allAuthenticatedUsers are never admitted on a service account",
    reason="FieldValueForbidden",
)

Users = Annotated[tuple[Member, ...], Field(max_length=64), _NO_PUBLIC_MEMBERS]


class CloudRunIdentitySpec(ProjectScopedSpec):
    """A service account: what it may do, and who may act as it."""

    rules: ClassVar = (set_once("accountID"),)

    account_id: Annotated[AccountID, immutable("accountID")] | None = None
    """The part of the e-mail before the @. Unset: metadata.name."""
    display_name: Annotated[str, Field(max_length=100), at_most_bytes(100)] | None = None
    """The account's display name. Unset: left as it is."""
    description: Annotated[str, Field(max_length=256), at_most_bytes(256)] | None = None
    """The account's description. Unset: left as it is."""
    disabled: bool = False
    """A disabled account keeps its grants and can do nothing."""
    disable_before_delete: Duration = Duration("0s")
    """How long the account is disabled before it is deleted."""
    adoption: Adoption = Adoption.FAIL
    """Whether an account of this name that exists already is taken over; guardrails.adoptableAccounts must
    list it."""
    when_deleted: WhenDeleted = WhenDeleted.UNDELETE
    """What to do about an account that somebody deleted."""
    when_disabled: WhenDisabled = WhenDisabled.REPAIR
    """What to do about an account that somebody disabled or enabled."""
    when_replaced: WhenReplaced = WhenReplaced.REPORT
    """What to do about an account of the same e-mail and another unique ID, which has none of the grants."""
    existing_grants: ExistingGrants = ExistingGrants.KEEP
    """Whose a grant is that stood before this object: Keep leaves it on deletion, Claim removes it."""
    roles: Annotated[tuple[RoleGrant, ...], Field(max_length=64)] = ()
    """What the identity may do."""
    users: Users = ()
    """Who may deploy workloads that run as the identity (roles/iam.serviceAccountUser)."""
    token_creators: Users = ()
    """Who may make access tokens of the identity (roles/iam.serviceAccountTokenCreator)."""
    open_id_token_creators: Users = ()
    """Who may make ID tokens of the identity (roles/iam.serviceAccountOpenIdTokenCreator)."""
    workload_identity_users: Annotated[
        tuple[WorkloadIdentityUser, ...], Field(max_length=64), _NO_PUBLIC_MEMBERS
    ] = ()
    """Who may act as the identity from outside (roles/iam.workloadIdentityUser)."""
    usable_from: Annotated[tuple[UsableFrom, ...], Field(max_length=32)] = ()
    """Projects whose Cloud Run may run as the identity: their service agent gets Token Creator."""
    allowed_namespaces: Annotated[tuple[NamespaceName, ...], Field(max_length=64), SET] = ()
    """Other namespaces whose objects may name this identity as a member or attach it."""
    deletion_policy: IdentityDeletionPolicy = IdentityDeletionPolicy.DELETE_IF_CREATED
    """What becomes of the account when this object is deleted; DeleteIfCreated leaves an adopted one."""
    deletion_protection: DeletionProtection = DeletionProtection.WHILE_IN_USE
    """WhileInUse: the account is not deleted while a workload runs as it."""
    unmanaged_keys: UnmanagedKeys = UnmanagedKeys.REPORT
    """What to do about user-managed keys that nobody declares."""


class AttachedWorkload(ApiModel):
    """A workload that runs as the identity."""

    project_id: Annotated[str, Clipped(128)]
    """Its project."""
    kind: WorkloadKind
    """Service, Job or WorkerPool."""
    location: Annotated[str, Clipped(63)]
    """Where it runs."""
    name: Annotated[str, Clipped(255)]
    """Its name."""


class Recommendation(ApiModel):
    """Advice on the identity's grants."""

    kind: Annotated[str, Clipped(64)]
    """What it is about, in one word."""
    text: Annotated[str, Clipped(512)]
    """The advice."""


class UnmanagedKey(ApiModel):
    """A user-managed key that nobody declares."""

    id: Annotated[str, Clipped(64)]
    """The key's ID."""
    created_time: Timestamp | None = None
    """When it was made."""


class CloudRunIdentityStatus(ProjectScopedStatus):
    """What was found of the account."""

    email: Annotated[str, Clipped(254)] | None = None
    """The account's e-mail, as Google Cloud answered it."""
    unique_id: Annotated[str, Clipped(32)] | None = None
    """The account's unique ID; a recreated account has another one and none of the grants."""
    name: Annotated[str, Clipped(512)] | None = None
    """The account's resource name."""
    member: Annotated[str, Clipped(512)] | None = None
    """The account as a member of a policy."""
    origin: Origin | None = None
    """Whether the operator made the account or took it over."""
    attached_to: Annotated[tuple[AttachedWorkload, ...], Clipped(50)] = ()
    """Workloads that run as the identity."""
    recommendations: Annotated[tuple[Recommendation, ...], Clipped(10)] = ()
    """Advice on the identity's grants."""
    unmanaged_keys: Annotated[tuple[UnmanagedKey, ...], Clipped(10)] = ()
    """User-managed keys that nobody declares."""


class CloudRunIdentity(ProjectScopedResource):
    """A service account that is a Cloud Run service identity: what it may do, who may act as it."""

    plural: ClassVar = "cloudrunidentities"
    singular: ClassVar = "cloudrunidentity"
    short_names: ClassVar = ("crid",)
    columns: ClassVar = (
        Column("Email", ".status.email"),
        Column("Project", ".status.projectID"),
        *READY_COLUMNS,
        Column("UniqueID", ".status.uniqueID", wide=True),
        Column("Origin", ".status.origin", wide=True),
        MESSAGE_COLUMN,
    )
    rules: ClassVar = (
        Rule(
            f"has(self.spec.accountID) || self.metadata.name.matches({cel_string(_ACCOUNT_ID)})",
            f"must be set, because metadata.name is not an account ID ({_ACCOUNT_ID_FORM})",
            field_path=".spec.accountID",
            reason="FieldValueRequired",
        ),
    )

    kind: Literal["CloudRunIdentity"] = "CloudRunIdentity"
    spec: CloudRunIdentitySpec
    status: CloudRunIdentityStatus = CloudRunIdentityStatus()

    @property
    def account_id(self) -> str:
        """The part of the e-mail before the @, as declared."""
        return self.spec.account_id or self.metadata.name

    @property
    def is_force_deleted(self) -> bool:
        """The account is to be abandoned on deletion even while it is in use."""
        return self.metadata.annotations.get(FORCE_DELETE) == "true"
