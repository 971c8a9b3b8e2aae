"""CloudRunIdentity: a service account that Cloud Run workloads run as."""

from enum import StrEnum
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from .duration import Duration
from .group import FORCE_DELETE
from .identity_grants import NO_PUBLIC_MEMBERS, RoleGrant, UsableFrom, Users, WorkloadIdentityUser
from .references import (
    NamespaceName,
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
    immutable,
    matches,
    set_once,
)
from .spec import (
    EXPIRY_COLUMN,
    MESSAGE_COLUMN,
    READY_COLUMNS,
    STALLED_COLUMN,
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
    """Action if the account is deleted outside Kubernetes."""

    UNDELETE = "Undelete"
    RECREATE = "Recreate"
    REPORT = "Report"


class WhenDisabled(StrEnum):
    """Action if the account is disabled or enabled outside Kubernetes."""

    REPAIR = "Repair"
    REPORT = "Report"


class WhenReplaced(StrEnum):
    """Action if an account with the same e-mail and another unique ID exists."""

    REPORT = "Report"
    REGRANT = "Regrant"


class IdentityDeletionPolicy(StrEnum):
    """Policies for the account when the object is deleted."""

    DELETE_IF_CREATED = "DeleteIfCreated"
    DELETE = "Delete"
    ABANDON = "Abandon"


class DeletionProtection(StrEnum):
    """Condition that delays the deletion of the account."""

    WHILE_IN_USE = "WhileInUse"
    NONE = "None"


class UnmanagedKeys(StrEnum):
    """Action on user-managed keys that no IdentityKey declares."""

    REPORT = "Report"
    IGNORE = "Ignore"


class CloudRunIdentitySpec(ProjectScopedSpec):
    """CloudRunIdentitySpec defines a service account, its roles, and the principals that may act as it."""

    rules: ClassVar = (set_once("accountID"),)

    account_id: Annotated[AccountID, immutable("accountID")] | None = None
    """ID of the service account: the part of its e-mail before the @. If unset, metadata.name. Immutable."""
    display_name: Annotated[str, Field(max_length=100), at_most_bytes(100)] | None = None
    """Human-readable name of the account. If unset, the operator does not change it."""
    description: Annotated[str, Field(max_length=256), at_most_bytes(256)] | None = None
    """Human-readable description of the account. If unset, the operator does not change it."""
    disabled: bool = False
    """Disables the account. A disabled account keeps its grants and cannot authenticate."""
    disable_before_delete: Duration = Duration("0s")
    """Time for which the account is disabled before it is deleted."""
    adoption: Adoption = Adoption.FAIL
    """Action if the account already exists. Fail reports a conflict. Adopt manages the existing account;
    guardrails.adoptableAccounts must list it."""
    when_deleted: WhenDeleted = WhenDeleted.UNDELETE
    """Action if the account is deleted outside Kubernetes. Undelete undeletes it by its unique ID. Recreate
    creates another account with the same e-mail and grants it all roles again. Report reports it."""
    when_disabled: WhenDisabled = WhenDisabled.REPAIR
    """Action if the account is disabled or enabled outside Kubernetes. Repair restores the declared state.
    Report reports it."""
    when_replaced: WhenReplaced = WhenReplaced.REPORT
    """Action if an account with the same e-mail and another unique ID exists. Report reports it. Regrant
    adopts it and grants it all roles again; guardrails.adoptableAccounts must list it."""
    existing_grants: ExistingGrants = ExistingGrants.KEEP
    """Policy on deletion for a grant that the IAM policy contained before this object. Keep leaves it. Claim
    removes it."""
    roles: Annotated[tuple[RoleGrant, ...], Field(max_length=64)] = ()
    """Roles that the identity is granted."""
    users: Users = ()
    """Members that may deploy workloads that run as the identity (roles/iam.serviceAccountUser)."""
    token_creators: Users = ()
    """Members that may create access tokens of the identity (roles/iam.serviceAccountTokenCreator)."""
    open_id_token_creators: Users = ()
    """Members that may create ID tokens of the identity (roles/iam.serviceAccountOpenIdTokenCreator)."""
    workload_identity_users: Annotated[
        tuple[WorkloadIdentityUser, ...], Field(max_length=64), NO_PUBLIC_MEMBERS
    ] = ()
    """Principals outside Google Cloud that may act as the identity (roles/iam.workloadIdentityUser)."""
    usable_from: Annotated[tuple[UsableFrom, ...], Field(max_length=32)] = ()
    """Other projects whose Cloud Run workloads may run as the identity. The operator grants their Cloud Run
    service agents roles/iam.serviceAccountTokenCreator on the account."""
    allowed_namespaces: Annotated[tuple[NamespaceName, ...], Field(max_length=64), SET] = ()
    """Other namespaces whose objects may refer to this identity as a member or attach it."""
    deletion_policy: IdentityDeletionPolicy = IdentityDeletionPolicy.DELETE_IF_CREATED
    """Policy for the account when this object is deleted. DeleteIfCreated deletes an account that the
    operator created and leaves an adopted one. Delete deletes the account. Abandon leaves the account."""
    deletion_protection: DeletionProtection = DeletionProtection.WHILE_IN_USE
    """Condition that delays the deletion of the account. WhileInUse waits until no workload runs as it, for
    the time in abandonInUseAfter. None does not wait."""
    abandon_in_use_after: Duration = Duration("2m")
    """Time after which the deletion of this object abandons an account that is still in use: the account
    and the grants of the identity stay. The time starts with the deletion of the object."""
    unmanaged_keys: UnmanagedKeys = UnmanagedKeys.REPORT
    """Action on user-managed keys that no IdentityKey declares. Report lists them in the status. Ignore does
    not look for them."""


class AttachedWorkload(ApiModel):
    """AttachedWorkload is a workload that runs as the identity."""

    project_id: Annotated[str, Clipped(128)]
    """ID of the project of the workload."""
    kind: WorkloadKind
    """Kind of the workload."""
    location: Annotated[str, Clipped(63)]
    """Location of the workload."""
    name: Annotated[str, Clipped(255)]
    """Name of the workload."""


class Recommendation(ApiModel):
    """Recommendation is advice on the grants of the identity."""

    kind: Annotated[str, Clipped(64)]
    """Subject of the advice, in CamelCase."""
    text: Annotated[str, Clipped(512)]
    """Text of the advice."""


class UnmanagedKey(ApiModel):
    """UnmanagedKey is a user-managed key that no IdentityKey declares."""

    id: Annotated[str, Clipped(64)]
    """ID of the key."""
    created_time: Timestamp | None = None
    """Time at which the key was created."""
    last_used: Annotated[str, Clipped(10)] | None = None
    """Date in US Pacific time of the last use that Google reports. If unset, none is known."""


class CloudRunIdentityStatus(ProjectScopedStatus):
    """CloudRunIdentityStatus is the observed state of the service account."""

    email: Annotated[str, Clipped(254)] | None = None
    """E-mail of the account, as Google Cloud returned it."""
    unique_id: Annotated[str, Clipped(32)] | None = None
    """Unique ID of the account. A recreated account has another ID and none of the grants."""
    name: Annotated[str, Clipped(512)] | None = None
    """Resource name of the account."""
    member: Annotated[str, Clipped(512)] | None = None
    """Account as a member of an IAM policy."""
    origin: Origin | None = None
    """Origin of the account: created or adopted by the operator."""
    attached_to: Annotated[tuple[AttachedWorkload, ...], Clipped(50)] = ()
    """Workloads that run as the identity."""
    last_used: Annotated[str, Clipped(10)] | None = None
    """Date in US Pacific time of the last use of the account that Google reports. If unset, none is known."""
    recommendations: Annotated[tuple[Recommendation, ...], Clipped(10)] = ()
    """Advice on the grants of the identity."""
    unmanaged_keys: Annotated[tuple[UnmanagedKey, ...], Clipped(10)] = ()
    """User-managed keys that no IdentityKey declares."""


class CloudRunIdentity(ProjectScopedResource):
    """CloudRunIdentity declares a service account that Cloud Run workloads run as."""

    plural: ClassVar = "cloudrunidentities"
    singular: ClassVar = "cloudrunidentity"
    short_names: ClassVar = ("crid", "crids")
    columns: ClassVar = (
        Column("Email", ".status.email"),
        Column("Project", ".status.projectID"),
        *READY_COLUMNS,
        Column("UniqueID", ".status.uniqueID", wide=True),
        Column("Origin", ".status.origin", wide=True),
        EXPIRY_COLUMN,
        STALLED_COLUMN,
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
        """The ID of the service account, as declared."""
        return self.spec.account_id or self.metadata.name

    @property
    def is_force_deleted(self) -> bool:
        """True if deletion abandons the account even while it is in use."""
        return self.metadata.annotations.get(FORCE_DELETE) == "true"
