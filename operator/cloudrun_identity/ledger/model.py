"""The ledger of one IAM policy: which grants the operator manages on it, and for which objects.

A ledger is a value. `ledger.store` persists it in a PolicyLedger object. `policy.planning` holds the rules
for writing entries ahead of the policy and removing them afterwards.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property

from cloudrun_identity.api import (
    Abandonment,
    AccountIntent,
    AccountLoss,
    AccountText,
    CloudRunIdentity,
    CustomRole,
    GrantState,
    IdentityAttachment,
    IdentityKey,
    Origin,
    RoleState,
)
from cloudrun_identity.api.policy_ledger import MAX_UNIQUE_IDS
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.keys import KeyRing
from cloudrun_identity.ledger.owners import owner_key_of


@dataclass(frozen=True, slots=True)
class AccountRecord:
    """Everything that decides about a service account; the identity's status only mirrors it.

    `owner` is `namespace/name` of the identity, empty for an account that was `abandoned`.
    `intent` is what is under way; a create was `sent` with this text, by which its account is known for ours.
    `unique_id` is set once reads of the account are steady.
    `unique_ids` are all the ids that the e-mail had under this owner, the newest last.
    `lost` is what somebody else did to it. `disabled` is how we left it, `disabled_at` the beginning of the
    time that it is disabled before it is deleted, `appeared` when we made it or brought it back last.
    """

    email: str
    owner: str
    owner_uid: str
    intent: AccountIntent | None = None
    origin: Origin | None = None
    unique_id: str = ""
    unique_ids: tuple[str, ...] = ()
    lost: AccountLoss | None = None
    disabled: bool = False
    sent: AccountText | None = None
    appeared: datetime | None = None
    disabled_at: datetime | None = None
    abandoned: Abandonment | None = None

    @property
    def is_steady(self) -> bool:
        """Whether dependants may go: the account is there, as far as we know, and is the one we mean."""
        return bool(self.unique_id) and self.intent is None and self.lost is None


@dataclass(frozen=True, slots=True)
class RoleRecord:
    """Everything that decides about a custom role of the project; the object's status only mirrors it.

    `state` CREATING is an intent: it may exist or not. DELETED keeps the memory that we deleted it, at
    `deleted_time`, so that we may bring it back.
    """

    role_id: str
    owner: str
    owner_uid: str
    origin: Origin
    state: RoleState
    deleted_time: datetime | None = None

    def is_had_by(self, owner: str) -> bool:
        """Whether this object, `namespace/name`, has the role, or is about to have it."""
        return self.owner == owner and self.state is not RoleState.DELETED


@dataclass(frozen=True, slots=True)
class AttachmentRecord:
    """Everything that decides about putting back what a workload ran as; a status only mirrors it.

    `owner` is `namespace/name` of the attachment that moved the workload of this `workload_uid` to `account`,
    and `before` what it ran as until then, empty where its template named nobody.
    """

    owner: str
    owner_uid: str
    workload_uid: str
    before: str
    account: str


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One grant that stands in the policy, or is about to, because objects of ours claim it.

    `claimants` are `Kind/namespace/name/UID`. `foreign_before`: the grant stood there before any of ours.
    `unique_id` is the account the member meant when we granted it, empty for other members; `former_ids` are
    those it meant before, the newest last, while their grants or tombstones may still stand in the policy.
    """

    owners: frozenset[str]
    state: GrantState = GrantState.PENDING
    present_before: bool = False
    unique_id: str = ""
    former_ids: tuple[str, ...] = ()

    @property
    def unique_ids(self) -> tuple[str, ...]:
        """Every account that the policy may show for the member, alive or as a tombstone."""
        return (*self.former_ids, self.unique_id) if self.unique_id else self.former_ids

    @property
    def owner_keys(self) -> frozenset[str]:
        """The seats of its claimants: their names without UIDs."""
        return frozenset(map(owner_key_of, self.owners))

    @property
    def is_refused(self) -> bool:
        """Whether Google refused it to us."""
        return self.state is GrantState.REJECTED

    def seen(self, *, stands: bool) -> "LedgerEntry":
        """The same after a look at the policy: what Google refused to us and stands, somebody else made."""
        return replace(self, present_before=True) if stands and self.is_refused else self

    def missing(self, *, withheld: bool) -> "LedgerEntry":
        """The same of a grant that does not stand, and would be ours if it did.

        It is pending, so that a loss is counted once, and so that a write of what had been refused is
        recorded ahead of it; what is withheld has been refused and still is.
        """
        state = GrantState.REJECTED if withheld and self.is_refused else GrantState.PENDING
        return replace(self, state=state, present_before=False)

    def meaning(self, unique_id: str) -> "LedgerEntry":
        """The same, its member now meaning that account; the former is kept until the grant stands."""
        if unique_id in ("", self.unique_id):
            return self
        former = tuple(former for former in self.unique_ids if former != unique_id)
        return replace(self, unique_id=unique_id, former_ids=former[-MAX_UNIQUE_IDS:])


@dataclass(frozen=True)  # without slots: what is worked out once is kept in the instance
class Ledger:
    """The record of one policy. An empty ledger is one that need not exist."""

    target: Target
    target_uid: str = ""  # of an account whose policy this is: its unique id, as soon as it is known
    account: AccountRecord | None = None
    keys: KeyRing = field(default_factory=KeyRing)
    roles: Mapping[str, RoleRecord] = field(default_factory=dict)
    attachment: AttachmentRecord | None = None
    entries: Mapping[Grant, LedgerEntry] = field(default_factory=dict)
    unmanaged_members: int = 0
    last_write_time: datetime | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing in it is worth keeping: no holding and no record."""
        recorded = self.account or self.attachment or self.roles or not self.keys.is_empty
        return not self.entries and not recorded

    @property
    def owner_keys(self) -> frozenset[str]:
        """The seats of all claimants."""
        return frozenset(self._by_owner_key)

    @property
    def resource_owners(self) -> frozenset[str]:
        """The seats of all objects that made something which is recorded: an account, keys, roles, a move."""
        resource_owners = {f"{IdentityKey.__name__}/{owner}" for owner in self.keys.owners}
        resource_owners |= {
            f"{CustomRole.__name__}/{role.owner}"
            for role in self.roles.values()
            if role.state is not RoleState.DELETED
        }
        if self.account and self.account.owner:
            resource_owners.add(f"{CloudRunIdentity.__name__}/{self.account.owner}")
        if self.attachment:
            resource_owners.add(f"{IdentityAttachment.__name__}/{self.attachment.owner}")
        return frozenset(resource_owners)

    def held_by(self, owner_key: str) -> frozenset[Grant]:
        """The grants that a claimant of this seat, or its predecessor, has a part in."""
        return frozenset(self._by_owner_key.get(owner_key, ()))

    def with_account(self, account: AccountRecord | None) -> "Ledger":
        """The same ledger with another account record.

        Another unique id is another account with a policy and keys of its own: the former's are gone.
        """
        unique_id = account.unique_id if account else ""
        if not unique_id or unique_id == self.target_uid:
            return replace(self, account=account)
        if not self.target_uid:
            return replace(self, account=account, target_uid=unique_id)
        return replace(self, account=account, target_uid=unique_id, entries={}, keys=KeyRing())

    def with_keys(self, keys: KeyRing) -> "Ledger":
        """The same ledger with this in mind of the account's keys."""
        return replace(self, keys=keys)

    def with_role(self, role: RoleRecord) -> "Ledger":
        """The same ledger with a record of this role."""
        return replace(self, roles={**self.roles, role.role_id: role})

    def without_role(self, role_id: str) -> "Ledger":
        """The same ledger without a record of this role."""
        return replace(self, roles={known: role for known, role in self.roles.items() if known != role_id})

    def with_attachment(self, attachment: AttachmentRecord | None) -> "Ledger":
        """The same ledger with this in mind of what the workload ran as."""
        return replace(self, attachment=attachment)

    @cached_property
    def _by_owner_key(self) -> Mapping[str, list[Grant]]:
        # Asked for by every object after every pass: each time anew would take objects times grants.
        grants: defaultdict[str, list[Grant]] = defaultdict(list)
        for grant, entry in self.entries.items():
            for owner_key in entry.owner_keys:
                grants[owner_key].append(grant)
        return grants
