"""PolicyLedger: the grants that the operator manages on one IAM policy, and their owners."""

import operator
import sys
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field, model_validator

from .group import ADMIN_CATEGORY
from .ledger_fields import SORTED, Text, UniqueID, no_items, of_form, unset
from .ledger_records import (
    MAX_ROLES,
    MAX_UNIQUE_IDS,
    LedgerAccount,
    LedgerAttachment,
    LedgerKey,
    LedgerKeyAttempt,
    LedgerRole,
    LedgerTarget,
    LedgerUsage,
    LedgerWrite,
)
from .references import BindingCondition
from .resource import Column, Resource
from .schema import SET, ApiModel, Timestamp
from .status import GrantCounts, GrantState

MAX_MEMBERS: Final = 1500
"""Maximum number of members in all bindings of a ledger: as many as an IAM policy accepts."""

MAX_TEMPORARY: Final = 2 * MAX_MEMBERS
"""Maximum number of records of temporary grants in a ledger: also those of grants that are over."""

_Member = Annotated[str, Field(min_length=1, max_length=1024)]
_GrantOwner = Annotated[Text, of_form("KIND/NAMESPACE/NAME/UID")]


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


class LedgerEntry(ApiModel):
    """LedgerEntry is the record of a grant: a member of a binding, and the objects that declare it."""

    member: _Member
    """Member as the policy writes it."""
    unique_id: UniqueID = unset()
    """Unique ID of the account, if the member is a CloudRunIdentity."""
    former_unique_ids: Annotated[tuple[UniqueID, ...], Field(max_length=MAX_UNIQUE_IDS), SET] = ()
    """Earlier unique IDs of the member, while the policy may still show them as `deleted:`."""
    registered_members: Annotated[tuple[_Member, ...], Field(max_length=MAX_MEMBERS), SET, SORTED] = (
        no_items()
    )
    """Members as which Google Cloud registered the member, if it shows another address, such as the primary
    address of an alias. They are removed with the grant."""
    registered_together: Annotated[bool, Field(exclude_if=operator.not_)] = False
    """Indicates that Google Cloud registered several members in one write. registeredMembers may then belong
    to another one of them. The operator distinguishes them when it releases one."""
    tombstones: Annotated[tuple[_Member, ...], Field(max_length=MAX_UNIQUE_IDS), SET, SORTED] = no_items()
    """Deleted forms of the member that the policy shows since the grant. The operator removes them with the
    grant. For the member of a CloudRunIdentity, the list has only the form of its present account, because
    the grant returns if the account is undeleted."""
    unmanaged_tombstones: Annotated[tuple[_Member, ...], Field(max_length=MAX_UNIQUE_IDS), SET, SORTED] = (
        no_items()
    )
    """Deleted forms of the member that the policy showed before the grant. The operator never removes
    them."""
    owners: Annotated[tuple[_GrantOwner, ...], Field(max_length=MAX_MEMBERS), SET, SORTED] = ()
    """Objects that declare the grant, each as KIND/NAMESPACE/NAME/UID."""
    state: GrantState
    """Progress of the grant."""
    present_before: bool = False
    """Indicates that the policy contained the grant before any object declared it."""
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
        return frozenset(sys.intern(owner.rpartition("/")[0]) for owner in self.owners)

    @property
    def is_made(self) -> bool:
        """Return whether the grant was present when the operator last wrote the ledger."""
        return self.state in (GrantState.GRANTED, GrantState.RELEASING)

    @property
    def is_rejected(self) -> bool:
        """Return whether Google Cloud refused the grant."""
        return self.state is GrantState.REJECTED


class LedgerBinding(ApiModel):
    """LedgerBinding contains the grants of one role under one condition."""

    role: Annotated[str, Field(min_length=1, max_length=256)]
    """Full name of the role."""
    condition: BindingCondition | None = None
    """IAM condition of the grants."""
    members: Annotated[tuple[LedgerEntry, ...], Field(max_length=MAX_MEMBERS)]
    """Grants of the role."""


class LedgerLeftGrant(ApiModel):
    """LedgerLeftGrant records a grant of a custom role that stayed when the last object released it.

    It is not managed any more, and nothing removes it. The operator asks the policy who holds the role before
    the role gains permissions.
    """

    role: Annotated[str, Field(min_length=1, max_length=256)]
    """Full name of the role."""
    condition: BindingCondition | None = None
    """IAM condition of the grant."""
    member: _Member
    """Member as the policy wrote it."""
    owner: Text
    """Object that left the grant, as KIND/NAMESPACE/NAME/UID."""


class LedgerTemporaryGrant(ApiModel):
    """LedgerTemporaryGrant records the time of a temporary grant of one object.

    It stays after the grant has ended, for as long as the object declares the grant.
    """

    role: Annotated[str, Field(min_length=1, max_length=256)]
    """Full name of the role."""
    condition: BindingCondition | None = None
    """IAM condition that the object declares for the grant."""
    member: _Member
    """Member as the object declares it."""
    owner: _GrantOwner
    """Object that declares the grant, as KIND/NAMESPACE/NAME/UID."""
    start_time: Timestamp
    """Time at which the grant was first made; the time of the last attempt before that."""
    expires_at: Timestamp
    """Time at which the grant ends."""
    granted: Annotated[bool, Field(exclude_if=operator.not_)] = False
    """Indicates that the grant was made. Its start does not change any more."""
    enforced_by_google: Annotated[bool, Field(exclude_if=operator.not_)] = False
    """Indicates that an IAM condition ends the grant, too. The condition follows from the other fields."""

    @property
    def owner_key(self) -> str:
        """Return the owner without its UID, as KIND/NAMESPACE/NAME."""
        return self.owner.rpartition("/")[0]


class PolicyLedgerSpec(ApiModel):
    """PolicyLedgerSpec records the grants that the operator manages on one IAM policy."""

    resource: Annotated[LedgerTarget, Field(alias="target")]
    """Resource whose IAM policy the ledger is about."""
    target_uid: Annotated[str, Field(max_length=64)] = unset()
    """Unique ID of the target. The operator reads it before it writes the policy. A target with another ID is
    another resource of the same name: the ledger then starts empty, and nothing that was granted on the new
    resource is removed."""
    account: LedgerAccount | None = None
    """Record of the account. For a ServiceAccount target only."""
    keys: Annotated[tuple[LedgerKey, ...], Field(max_length=64)] = ()
    """Records of the keys of the account. For a ServiceAccount target only."""
    key_attempt: LedgerKeyAttempt | None = None
    """Creation of a key in progress. For a ServiceAccount target only."""
    roles: Annotated[tuple[LedgerRole, ...], Field(max_length=MAX_ROLES)] = ()
    """Records of the custom roles of the project. For a Project target only."""
    attachment: LedgerAttachment | None = None
    """Record of the workload's reassignment. For a Service, Job or WorkerPool target only."""
    bindings: Annotated[tuple[LedgerBinding, ...], Field(max_length=2 * MAX_MEMBERS)] = ()
    """Grants by role and condition, with at most 1500 members in all. A grant and its successor with another
    end count as one."""
    left_grants: Annotated[tuple[LedgerLeftGrant, ...], Field(max_length=MAX_MEMBERS)] = no_items()
    """Grants of custom roles that objects left in the policy, in the order of role and member. A record ends
    when the grant is removed, or when an object declares it."""
    temporary_grants: Annotated[tuple[LedgerTemporaryGrant, ...], Field(max_length=MAX_TEMPORARY)] = (
        no_items()
    )
    """Time of the temporary grants, in the order of role, member and owner. Those that are over, but that an
    object still declares, are among them; they do not count against the members of the policy."""
    written_generation: Annotated[int, Field(ge=1)] | None = None
    """metadata.generation after the operator's last write. If metadata.generation differs, another client
    wrote the ledger, for example to restore a backup."""
    written_uid: Annotated[str, Field(max_length=64)] = unset()
    """metadata.uid at the operator's last write; unset if that write created the ledger. If metadata.uid
    differs, another client created the ledger again, for example from a backup."""
    restored: bool = False
    """Indicates that another client wrote the ledger, and that the operator has not compared it with the
    policy since. A grant that no object declares is then left in the policy."""
    grant_counts: GrantCounts = GrantCounts()
    """Number of grants by state."""
    unmanaged_members: Annotated[int, Field(ge=0)] = 0
    """Number of members of the policy that the operator does not manage."""
    foreign_members: Annotated[int, Field(ge=0)] | None = None
    """Deprecated: the earlier name of unmanagedMembers. The operator reads this field and no longer writes
    it."""
    last_write_time: Timestamp | None = None
    """Time of the operator's last write to the policy."""
    target_absent: bool = False
    """Indicates that the resource did not exist at the last sync. Granted entries are pending then, and may
    be present again if the resource returns."""
    usage: LedgerUsage | None = None
    """Use of the limits of the policy, as of the last change of the ledger, and always if a limit is nearly
    reached."""
    pending_write: LedgerWrite | None = None
    """Write of the policy that is in progress, or that ended without a known outcome."""

    @model_validator(mode="before")
    @classmethod
    def _read_earlier_names(cls, raw: Any) -> Any:
        return with_current_names(raw, {"foreignMembers": "unmanagedMembers"})


class PolicyLedger(Resource):
    """PolicyLedger records the grants that the operator manages on one IAM policy, and their owners.

    Only the operator writes it.
    """

    plural: ClassVar = "policyledgers"
    singular: ClassVar = "policyledger"
    short_names: ClassVar = ("pledger", "pledgers")
    category: ClassVar = ADMIN_CATEGORY
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
