"""Records in a PolicyLedger besides its grants: account, keys, custom roles and reassigned workload."""

import operator
from collections.abc import Collection
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field

from .generic_target import MAX_RESOURCE_NAME
from .identity_key import KeyState
from .ledger_fields import SORTED, ObjectOwner, OptionalOwner, Text, UniqueID, no_items, of_form, unset
from .schema import SET, ApiModel, Clipped, Timestamp
from .spec import Origin
from .target_descriptor import TargetKind
from .target_kinds import target_text

MAX_ROLES: Final = 300
"""Maximum number of custom roles in a ledger: as many as a project can have, with deleted ones."""

MAX_PRINCIPALS: Final = 1500
"""Maximum number of principals in an IAM policy.

See https://cloud.google.com/iam/docs/allow-policies#limits-all-principals for how Google Cloud counts.
"""

MAX_GROUPS: Final = 250
"""Maximum number of groups and domains in an IAM policy.

See https://cloud.google.com/iam/docs/allow-policies#limits-groups-domains for how Google Cloud counts.
"""

NEARLY: Final = 0.9
"""The used part of a limit from which the operator reports it."""

MAX_UNIQUE_IDS: Final = 8
"""Maximum number of unique IDs that a ledger records for one e-mail."""

MAX_PLACES: Final = 256
"""Maximum number of places of use that a ledger records for one account."""

_Digest = Annotated[str, Field(min_length=1, max_length=16)]
_Place = Annotated[str, Field(max_length=192), of_form("PROJECT/LOCATION")]


def _text_of(target: dict[str, Any]) -> str:
    return target_text(
        target["kind"],
        project_id=target["project_id"],
        location=target["location"],
        parent=target["parent"],
        name=target["name"],
        service=target["service"],
    )


class LedgerTarget(ApiModel):
    """LedgerTarget identifies the resource whose IAM policy the ledger is about."""

    kind: TargetKind
    """Kind of the resource."""
    project_id: Annotated[str, Field(max_length=128)]
    """ID of the project of the resource."""
    location: Annotated[str, Field(max_length=63)] = unset()
    """Location of the resource, for a kind with locations."""
    parent: Annotated[str, Field(max_length=64)] = unset()
    """Name of the resource of the project that contains the resource, such as a key ring."""
    name: Annotated[str, Field(max_length=MAX_RESOURCE_NAME)] = unset()
    """Name of the resource; for a service account its e-mail. Unset for a project."""
    service: Annotated[str, Field(max_length=63)] = unset()
    """API of a resource of the generic kind, such as cloudfunctions.googleapis.com."""
    full_name: Text
    """Full resource name, such as //cloudresourcemanager.googleapis.com/projects/payments-prod-1234."""
    text: Text = Field(default_factory=_text_of)
    """Resource as statuses show it, such as `Project payments-prod-1234`."""


class AccountIntent(StrEnum):
    """Operation on an account in progress.

    The operator records it first, to recognize the result after a crash.
    """

    CREATE = "Create"
    UNDELETE = "Undelete"


class AccountLoss(StrEnum):
    """Change to an account that the operator did not make."""

    DELETED = "Deleted"
    REPLACED = "Replaced"


class AccountText(ApiModel):
    """AccountText is the descriptive text of a service account."""

    display_name: Annotated[str, Field(max_length=100)] = ""
    """Display name of the account."""
    description: Annotated[str, Field(max_length=256)] = ""
    """Description of the account."""


class Abandonment(ApiModel):
    """Abandonment records why and when the operator abandoned an account."""

    reason: Annotated[str, Clipped(256)]
    """Reason for abandoning the account."""
    time: Timestamp
    """Time at which the account was abandoned."""


class LedgerAccount(ApiModel):
    """LedgerAccount is the record of a service account. Decisions use the record; statuses mirror it."""

    email: Annotated[str, Field(max_length=254)] = unset()
    """E-mail of the account, as Google Cloud returned it."""
    unique_id: UniqueID = unset()
    """Unique ID of the account."""
    origin: Origin | None = None
    """Origin of the account: created or adopted by the operator."""
    owner: OptionalOwner = unset()
    """CloudRunIdentity that declares the account, as NAMESPACE/NAME. Unset for an account that was left."""
    owner_uid: Annotated[str, Field(max_length=64)] = unset()
    """UID of that CloudRunIdentity."""
    intent: AccountIntent | None = None
    """Operation on the account in progress."""
    unique_ids: Annotated[tuple[UniqueID, ...], Field(max_length=MAX_UNIQUE_IDS), SET] = ()
    """Unique IDs that the operator managed under this e-mail. The operator removes `deleted:` members with
    these IDs only."""
    lost: AccountLoss | None = None
    """Change to the account that the operator did not make. While set, no role is granted to the account or
    on it."""
    disabled: bool = False
    """Indicates that the operator last left the account disabled."""
    sent: AccountText | None = None
    """Text of a create request whose result is unknown. It identifies the account as created by the
    operator."""
    appeared_time: Timestamp | None = None
    """Time at which the operator last created or undeleted the account. Google Cloud may not show it for two
    minutes."""
    disabled_time: Timestamp | None = None
    """Time at which the account was disabled before its deletion."""
    abandoned: Abandonment | None = None
    """Set for an account in use that the operator abandoned when its CloudRunIdentity was deleted."""
    left_by: OptionalOwner = unset()
    """CloudRunIdentity that left the account when it was deleted, as NAMESPACE/NAME. Set for an account that
    the operator created. Only an object of the same namespace and name takes it back automatically."""
    used_in: Annotated[tuple[_Place, ...], Field(max_length=MAX_PLACES), SET, SORTED] = no_items()
    """Places, as PROJECT/LOCATION, in which workloads could be attached to the account. A place is recorded
    before the first workload in it may use the account. It is removed when no object declares it and nothing
    there runs as the account."""
    used_elsewhere: bool = False
    """Indicates that there were more places than usedIn can contain. The account then counts as in use."""

    def with_uses(self, places: Collection[str], *, without: Collection[str] = ()) -> "LedgerAccount":
        """Return this record with further places of use, and without those in which nothing uses it."""
        found = sorted({*self.used_in}.difference(without).union(places))
        return self.replace(
            used_in=tuple(found[:MAX_PLACES]),
            used_elsewhere=self.used_elsewhere or len(found) > MAX_PLACES,
        )

    @property
    def is_steady(self) -> bool:
        """Return whether dependents may use the account: it exists, and is the recorded one."""
        return bool(self.unique_id) and self.intent is None and self.lost is None

    @property
    def is_appearing(self) -> bool:
        """True from the create or undelete of the account until Google Cloud knows it everywhere."""
        return self.intent is not None and self.lost is None

    @property
    def is_left(self) -> bool:
        """True if no object manages the account any more."""
        return self.abandoned is not None or bool(self.left_by)


class RoleState(StrEnum):
    """Progress of a custom role."""

    CREATING = "Creating"
    PRESENT = "Present"
    DELETED = "Deleted"
    ABANDONED = "Abandoned"


class LedgerRole(ApiModel):
    """LedgerRole is the record of a custom role. Decisions use the record; statuses mirror it."""

    role_id: Annotated[str, Field(min_length=1, max_length=64)]
    """Last part of the name of the role."""
    owner: ObjectOwner
    """CustomRole that declares the role, or left it, as NAMESPACE/NAME."""
    owner_uid: Annotated[str, Field(max_length=64)]
    """UID of that CustomRole."""
    origin: Origin
    """Origin of the role: created or adopted by the operator."""
    state: RoleState
    """Progress of the role. Creating: its creation or undelete is in progress. Present: it exists. Deleted:
    the operator deleted it and may undelete it. Abandoned: the operator created it, and left it when its
    CustomRole was deleted; only an object of the same namespace and name takes it back automatically."""
    deleted_time: Timestamp | None = None
    """Time at which the operator deleted the role."""

    @property
    def is_managed(self) -> bool:
        """True if a CustomRole owns the role, or is about to."""
        return self.state in (RoleState.CREATING, RoleState.PRESENT)

    def is_owned_by(self, owner: str) -> bool:
        """Return whether the CustomRole `namespace/name` owns the role, will own it, or may take it back."""
        return self.owner == owner and (self.is_managed or self.is_left_by(owner))

    def is_left_by(self, owner: str) -> bool:
        """Return whether the CustomRole `namespace/name` left the role, so that it may take it back."""
        return self.owner == owner and self.state is RoleState.ABANDONED


class LedgerKey(ApiModel):
    """LedgerKey is the record of a key of the account. It has no key material."""

    id: Annotated[str, Field(min_length=1, max_length=128)]
    """ID of the key."""
    owner: ObjectOwner
    """IdentityKey that the key was created for, as NAMESPACE/NAME."""
    state: KeyState
    """Progress of the key."""
    created_time: Timestamp
    """Time at which the key was created."""
    digest: Annotated[str, Field(max_length=64)] = unset()
    """SHA-256 of the credentials file. It shows whether the Secret was edited."""
    generation: Annotated[int, Field(ge=0)] = 0
    """rotation.generation that the key was created for."""
    expiry_time: Timestamp | None = None
    """Time at which Google Cloud ends the key."""
    superseded_time: Timestamp | None = None
    """Time at which the next key replaced it in the Secret."""
    disabled_time: Timestamp | None = None
    """Time at which the operator last disabled the key. In state Overlap, another user enabled it again."""
    left: Annotated[bool, Field(exclude_if=operator.not_)] = False
    """Indicates that the IdentityKey was deleted and left the key. An object of the same namespace and name
    takes it back."""


class LedgerUsage(ApiModel):
    """LedgerUsage contains the limits of Google Cloud that count a policy's content, and their use."""

    principals: Annotated[int, Field(ge=0)]
    """Number of principals, of at most 1500. Google Cloud counts a member once for each of its role bindings,
    and the principals that are exempted from audit logging."""
    exempted: Annotated[int, Field(ge=0)] = 0
    """Number of these that are exempted from audit logging."""
    groups: Annotated[int, Field(ge=0)] = 0
    """Number of groups and domains, of at most 250. Google Cloud counts a group once, and a domain once for
    each of its role bindings."""

    @property
    def is_nearly_full(self) -> bool:
        """Return whether 90 percent of a limit is used."""
        return self.principals >= NEARLY * MAX_PRINCIPALS or self.groups >= NEARLY * MAX_GROUPS


class LedgerWrite(ApiModel):
    """LedgerWrite is a write of the policy in progress, or with an unknown outcome.

    The operator records it before it writes grants, to recognize its own write after a crash.
    """

    etag: Annotated[str, Field(min_length=1, max_length=256)]
    """Etag of the policy that the write replaces, in base64."""
    digest: Annotated[str, Field(min_length=1, max_length=128)]
    """Digest of all grants in the policy that the write leaves, whether or not a member is deleted later."""
    members_before: Annotated[tuple[_Digest, ...], Field(max_length=2 * MAX_PRINCIPALS), SET, SORTED] = (
        no_items()
    )
    """Digests of the users and groups before the write, in the bindings to which it adds any. They show which
    addresses Google Cloud registered for them."""
    other_digest: Annotated[str, Field(max_length=128)] = unset()
    """Digest of these grants without the users and groups that membersBefore lacks."""


class LedgerKeyAttempt(ApiModel):
    """LedgerKeyAttempt is the creation of a key in progress.

    The operator records it first, to find and delete a key that was created before a crash.
    """

    owner: ObjectOwner
    """IdentityKey that the key is created for, as NAMESPACE/NAME."""
    time: Timestamp
    """Time at which the creation began."""
    known: Annotated[
        tuple[Annotated[str, Field(max_length=128)], ...], Field(max_length=64), SET, SORTED
    ] = ()
    """IDs of the keys that the account had before."""


class LedgerAttachment(ApiModel):
    """LedgerAttachment is the record of a workload's reassignment.

    Decisions use the record; the status mirrors it.
    """

    owner: ObjectOwner
    """IdentityAttachment that reassigned the workload, as NAMESPACE/NAME."""
    owner_uid: Annotated[str, Field(max_length=64)]
    """UID of that IdentityAttachment."""
    workload_uid: Annotated[str, Field(max_length=64)]
    """UID of the workload in Google Cloud. A recreated workload has another one."""
    previous_service_account: Annotated[str, Field(max_length=254)] = ""
    """E-mail of the account that the workload ran as before. If empty, none was set."""
    service_account: Annotated[str, Field(max_length=254)]
    """E-mail of the account that the workload was last reassigned to."""
    template_digest: Annotated[str, Field(max_length=64)] = unset()
    """SHA-256 of the workload's template, apart from its account, before the first reassignment. The former
    account is restored only to this template."""
