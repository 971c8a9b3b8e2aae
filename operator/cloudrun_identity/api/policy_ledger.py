"""PolicyLedger: per IAM policy, which grants are ours and for whom. Written by the operator alone."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from .identity_key import KeyState
from .references import BindingCondition
from .resource import Column, Resource
from .schema import SET, ApiModel, Clipped, Timestamp
from .spec import Origin
from .status import GrantCounts, GrantState
from .target_kinds import TargetKind, target_text

MAX_MEMBERS: Final = 1500
"""The most members that one ledger may hold over all its bindings: as many as an IAM policy takes."""

MAX_ROLES: Final = 300
"""The most custom roles that one ledger may record: as many as a project may have, deleted ones included."""

MAX_UNIQUE_IDS: Final = 8
"""The most accounts that a ledger remembers of one e-mail."""


def with_current_names(raw: Any, names: Mapping[str, str]) -> Any:
    """Return a stored object with its fields under their current names.

    A field under its earlier name was written by an earlier version. It replaces the field under the current
    name, which is absent then or holds the default that the API server set.
    """
    if not isinstance(raw, Mapping) or not any(earlier in raw for earlier in names):
        return raw
    renamed = dict(raw)
    for earlier, current in names.items():
        value = renamed.pop(earlier, None)
        if value is not None:
            renamed[current] = value
    return renamed


def _of_form(form: str, *, optional: bool = False) -> AfterValidator:
    """Require text with the same number of non-empty parts between slashes as `form`.

    Only the model checks this: the API server refuses CEL rules on nested lists for their cost.
    """

    def check(text: str) -> str:
        parts = text.split("/")
        if not (optional and not text) and (len(parts) != form.count("/") + 1 or not all(parts)):
            raise PydanticCustomError("form", "must be {form}", {"form": form})
        return text

    return AfterValidator(check)


_Text = Annotated[str, Field(max_length=512)]
_Member = Annotated[str, Field(min_length=1, max_length=1024)]
_Owner = Annotated[str, Field(max_length=317), _of_form("NAMESPACE/NAME")]
_OptionalOwner = Annotated[str, Field(max_length=317), _of_form("NAMESPACE/NAME", optional=True)]
_GrantOwner = Annotated[_Text, _of_form("KIND/NAMESPACE/NAME/UID")]
_UniqueID = Annotated[str, Field(max_length=64)]

_SORTED = AfterValidator(lambda values: tuple(sorted(set(values))))
"""Sort a set of strings, so that equal sets are equal values and equal objects."""


def _is_empty(text: str) -> bool:
    return not text


def _unset() -> Any:
    """Return the default of an optional text: empty, and left out of the object."""
    return Field(default="", exclude_if=_is_empty)


def _text_of(target: dict[str, Any]) -> str:
    return target_text(
        target["kind"], project_id=target["project_id"], location=target["location"], name=target["name"]
    )


class LedgerTarget(ApiModel):
    """The resource whose policy the ledger is about."""

    kind: TargetKind
    """The kind of the resource."""
    project_id: Annotated[str, Field(max_length=128)]
    """The project of the resource."""
    location: Annotated[str, Field(max_length=63)] = _unset()
    """The location of a Cloud Run resource."""
    name: Annotated[str, Field(max_length=255)] = _unset()
    """The name of the resource, of a service account its e-mail; unset for a project."""
    full_name: _Text
    """The full resource name, such as //cloudresourcemanager.googleapis.com/projects/payments-prod-1234."""
    text: _Text = Field(default_factory=_text_of)
    """The resource as statuses show it, such as `Project payments-prod-1234`."""


class AccountIntent(StrEnum):
    """What the operator is about to do with an account: recorded first, so that a crash is no riddle."""

    CREATE = "Create"
    UNDELETE = "Undelete"


class AccountLoss(StrEnum):
    """What somebody else did to an account, for as long as it is so."""

    DELETED = "Deleted"
    REPLACED = "Replaced"


class AccountText(ApiModel):
    """What a service account says of itself."""

    display_name: Annotated[str, Field(max_length=100)] = ""
    """Its display name."""
    description: Annotated[str, Field(max_length=256)] = ""
    """Its description."""


class Abandonment(ApiModel):
    """Why and when an account was left behind."""

    reason: Annotated[str, Clipped(256)]
    """Why it was left."""
    time: Timestamp
    """When it was left."""


class LedgerAccount(ApiModel):
    """What decides anything about a service account; statuses only mirror it."""

    email: Annotated[str, Field(max_length=254)] = _unset()
    """The account's e-mail, as Google Cloud answered it."""
    unique_id: _UniqueID = _unset()
    """The account's unique ID."""
    origin: Origin | None = None
    """Whether the operator made the account or took it over."""
    owner: _OptionalOwner = _unset()
    """The CloudRunIdentity that declares the account, as NAMESPACE/NAME; unset if it was left behind."""
    owner_uid: Annotated[str, Field(max_length=64)] = _unset()
    """The UID of that CloudRunIdentity."""
    intent: AccountIntent | None = None
    """What is about to be done with the account."""
    unique_ids: Annotated[tuple[_UniqueID, ...], Field(max_length=MAX_UNIQUE_IDS), SET] = ()
    """The unique IDs that were ours under this e-mail: what a tombstone must name to be removed."""
    lost: AccountLoss | None = None
    """What somebody else did to the account. While set, nothing is granted to it or on it."""
    disabled: bool = False
    """Whether the operator left it disabled; another state is somebody else's doing."""
    sent: AccountText | None = None
    """What a create was sent with whose answer is not known yet: by this the account is known for ours."""
    appeared_time: Timestamp | None = None
    """When the operator last made it or brought it back: for two minutes Google may not show it."""
    disabled_time: Timestamp | None = None
    """When it was disabled to be deleted later."""
    abandoned: Abandonment | None = None
    """Set for an account that was left behind when its CloudRunIdentity was deleted."""

    @property
    def is_steady(self) -> bool:
        """Return whether dependents may use the account: it exists, and is the recorded one."""
        return bool(self.unique_id) and self.intent is None and self.lost is None


class RoleState(StrEnum):
    """How far a custom role has come."""

    CREATING = "Creating"
    PRESENT = "Present"
    DELETED = "Deleted"


class LedgerRole(ApiModel):
    """What decides anything about a custom role of the project; statuses only mirror it."""

    role_id: Annotated[str, Field(min_length=1, max_length=64)]
    """The last part of the role's name."""
    owner: _Owner
    """The CustomRole that declares the role, as NAMESPACE/NAME."""
    owner_uid: Annotated[str, Field(max_length=64)]
    """The UID of that CustomRole."""
    origin: Origin
    """Whether the operator made the role or took it over."""
    state: RoleState
    """Creating: about to be made. Deleted: by the operator, which may bring it back."""
    deleted_time: Timestamp | None = None
    """When the operator deleted the role."""

    def is_owned_by(self, owner: str) -> bool:
        """Return whether the CustomRole `namespace/name` has the role, or is about to have it."""
        return self.owner == owner and self.state is not RoleState.DELETED


class LedgerKey(ApiModel):
    """What decides anything about a key of the account. Nothing of what the key is made of."""

    id: Annotated[str, Field(min_length=1, max_length=128)]
    """The key's ID."""
    owner: _Owner
    """The IdentityKey that it was made for, as NAMESPACE/NAME."""
    state: KeyState
    """How far it has come."""
    created_time: Timestamp
    """When it was made."""
    digest: Annotated[str, Field(max_length=64)] = _unset()
    """The SHA-256 of the credentials file, by which an edit of the Secret is known."""
    generation: Annotated[int, Field(ge=0)] = 0
    """The rotation.generation that it was made for."""
    expiry_time: Timestamp | None = None
    """When Google Cloud ends it by itself."""
    superseded_time: Timestamp | None = None
    """When the next key was in the Secret."""
    disabled_time: Timestamp | None = None
    """When it was disabled."""


class LedgerKeyAttempt(ApiModel):
    """A key is being made: recorded first, so that one that nobody heard of is found and deleted."""

    owner: _Owner
    """The IdentityKey that it is made for, as NAMESPACE/NAME."""
    time: Timestamp
    """When it began."""
    known: Annotated[
        tuple[Annotated[str, Field(max_length=128)], ...], Field(max_length=64), SET, _SORTED
    ] = ()
    """The IDs of the keys that the account had before."""


class LedgerAttachment(ApiModel):
    """What decides about putting back what a workload ran as; the attachment's status only mirrors it."""

    owner: _Owner
    """The IdentityAttachment that moved the workload, as NAMESPACE/NAME."""
    owner_uid: Annotated[str, Field(max_length=64)]
    """The UID of that IdentityAttachment."""
    workload_uid: Annotated[str, Field(max_length=64)]
    """The UID of the workload in Google Cloud: one that was created anew was never moved."""
    previous_service_account: Annotated[str, Field(max_length=254)] = ""
    """The e-mail of the account that the workload ran as before; empty: none was set."""
    service_account: Annotated[str, Field(max_length=254)]
    """The e-mail of the account that it was moved to last."""


class LedgerEntry(ApiModel):
    """A grant: a member of a binding, and who declares it."""

    member: _Member
    """The member as the policy writes it."""
    unique_id: _UniqueID = _unset()
    """The unique ID of the account that was granted, where the member is a declared identity."""
    former_unique_ids: Annotated[tuple[_UniqueID, ...], Field(max_length=MAX_UNIQUE_IDS), SET] = ()
    """The unique IDs that were granted before, while the policy may still show them as `deleted:`."""
    owners: Annotated[tuple[_GrantOwner, ...], Field(max_length=MAX_MEMBERS), SET, _SORTED] = ()
    """Objects that declare the grant, each as KIND/NAMESPACE/NAME/UID."""
    state: GrantState
    """How far the grant has come."""
    present_before: bool = False
    """Whether the policy contained the grant before any object declared it."""
    claimants: Annotated[tuple[_GrantOwner, ...], Field(max_length=MAX_MEMBERS), SET] | None = None
    """Deprecated: the earlier name of owners. The operator reads this field and no longer writes it."""
    foreign_before: bool | None = None
    """Deprecated: the earlier name of presentBefore. The operator reads this field and no longer writes
    it."""

    @model_validator(mode="before")
    @classmethod
    def _read_earlier_names(cls, raw: Any) -> Any:
        return with_current_names(raw, {"claimants": "owners", "foreignBefore": "presentBefore"})

    @property
    def unique_ids(self) -> tuple[str, ...]:
        """Every account that the policy may show for the member, as itself or as `deleted:`."""
        return (*self.former_unique_ids, self.unique_id) if self.unique_id else self.former_unique_ids

    @property
    def owner_keys(self) -> frozenset[str]:
        """Return the owners without their UIDs, each as KIND/NAMESPACE/NAME."""
        return frozenset(owner.rpartition("/")[0] for owner in self.owners)

    @property
    def is_rejected(self) -> bool:
        """Return whether Google Cloud refused the grant."""
        return self.state is GrantState.REJECTED


class LedgerBinding(ApiModel):
    """The grants of one role under one condition."""

    role: Annotated[str, Field(min_length=1, max_length=256)]
    """The role's full name."""
    condition: BindingCondition | None = None
    """The condition of the grants."""
    members: Annotated[tuple[LedgerEntry, ...], Field(max_length=MAX_MEMBERS)]
    """The grants."""


class PolicyLedgerSpec(ApiModel):
    """The grants that the operator holds on one policy."""

    resource: Annotated[LedgerTarget, Field(alias="target")]
    """The resource whose policy this is about."""
    target_uid: Annotated[str, Field(max_length=64)] = _unset()
    """The unique ID of the account whose policy this is; another one has a policy of its own, and the ledger
    starts anew."""
    account: LedgerAccount | None = None
    """What is known of the account. For a ServiceAccount target only."""
    keys: Annotated[tuple[LedgerKey, ...], Field(max_length=64)] = ()
    """What is known of keys that were made for the account. For a ServiceAccount target only."""
    key_attempt: LedgerKeyAttempt | None = None
    """The key that is being made. For a ServiceAccount target only."""
    roles: Annotated[tuple[LedgerRole, ...], Field(max_length=MAX_ROLES)] = ()
    """What is known of custom roles. For a Project target only."""
    attachment: LedgerAttachment | None = None
    """What is known of the workload's account. For a Service, Job or WorkerPool target only."""
    bindings: Annotated[tuple[LedgerBinding, ...], Field(max_length=MAX_MEMBERS)] = ()
    """The grants, at most 1500 in all."""
    grant_counts: GrantCounts = GrantCounts()
    """The grants counted by state."""
    unmanaged_members: Annotated[int, Field(ge=0)] = 0
    """Number of members of the policy that the operator does not manage."""
    foreign_members: Annotated[int, Field(ge=0)] | None = None
    """Deprecated: the earlier name of unmanagedMembers. The operator reads this field and no longer writes
    it."""
    last_write_time: Timestamp | None = None
    """Time of the operator's last write to the policy."""

    @model_validator(mode="before")
    @classmethod
    def _read_earlier_names(cls, raw: Any) -> Any:
        return with_current_names(raw, {"foreignMembers": "unmanagedMembers"})


class PolicyLedger(Resource):
    """Per IAM policy: which grants are ours and for whom. Written by the operator alone."""

    plural: ClassVar = "policyledgers"
    singular: ClassVar = "policyledger"
    short_names: ClassVar = ("pledger",)
    columns: ClassVar = (
        Column("Target", ".spec.target.text"),
        Column("Grants", ".spec.grantCounts.granted", "integer"),
        Column("Pending", ".spec.grantCounts.pending", "integer"),
        Column("Rejected", ".spec.grantCounts.rejected", "integer"),
        Column("Unmanaged", ".spec.unmanagedMembers", "integer"),
        Column("Age", ".metadata.creationTimestamp", "date"),
        Column("Releasing", ".spec.grantCounts.releasing", "integer", wide=True),
        Column("Project", ".spec.target.projectID", wide=True),
        Column("Resource", ".spec.target.fullName", wide=True),
    )

    kind: Literal["PolicyLedger"] = "PolicyLedger"
    spec: PolicyLedgerSpec
