"""The ledger of one IAM policy: the grants that the operator manages on it, and their owners.

A ledger is a value: the spec of a PolicyLedger object in canonical order, so that equal ledgers are equal
objects. `ledger.store` persists it. `policy.planning` holds the rules for writing entries ahead of the policy
and removing them afterwards.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from functools import cached_property
from types import MappingProxyType
from typing import Any, Self

from cloudrun_identity.api import (
    CloudRunIdentity,
    CustomRole,
    GrantCounts,
    GrantState,
    IdentityAttachment,
    IdentityKey,
    LedgerAccount,
    LedgerAttachment,
    LedgerEntry,
    LedgerRole,
    LedgerTarget,
    LedgerTemporaryGrant,
    PolicyLedgerSpec,
)
from cloudrun_identity.iam.grants import Grant, Target

from .bindings import Entries, bindings_of, entries_in, left_in, left_records
from .keys import KeyRing
from .owners import owner_key_of
from .temporary_grants import (
    OwnerAndGrant,
    TemporaryGrants,
    declared_by_granted,
    possible_grants,
    temporary_in,
    temporary_records,
)

_NO_ENTRIES: Entries = MappingProxyType({})
_INDEXES = {
    "target": {"resource"},
    "entries": {"resource", "bindings"},
    "_by_owner_key": {"resource", "bindings"},
    "temporary": {"resource", "temporary_grants"},
    "temporary_by_owner": {"resource", "temporary_grants"},
}
"""The cached properties, and the fields that they are derived from."""


class Ledger(PolicyLedgerSpec):
    """The record of one policy. The operator stores no object for an empty ledger."""

    @classmethod
    def of(cls, target: Target, entries: Entries = _NO_ENTRIES) -> Self:
        """Return the ledger of a target with these entries."""
        return cls(resource=_resource_of(target)).with_entries(entries)

    @classmethod
    def parse(cls, spec: object) -> Self:
        """Return the ledger in the spec of a stored object, in canonical order.

        Raises:
            ValidationError: the spec does not fit the schema.

        """
        read = cls.model_validate(spec)
        return (
            read.replace(resource=_resource_of(read.target), roles=_by_id(read.roles))
            .with_entries(read.entries)
            .with_temporary(read.temporary)
            .with_key_ring(read.key_ring)
        )

    @cached_property
    def target(self) -> Target:
        """The resource that carries the policy."""
        resource = self.resource
        return Target(
            resource.kind,
            resource.project_id,
            resource.location,
            resource.name,
            resource.parent,
            resource.service,
        )

    @cached_property
    def entries(self) -> Entries:
        """The entries by their grants, in the order of the object."""
        return MappingProxyType(entries_in(self.bindings, self.target))

    @property
    def left(self) -> Mapping[Grant, str]:
        """The grants of custom roles that objects left, each with the object as KIND/NAMESPACE/NAME/UID."""
        return left_in(self.left_grants, self.target)

    @cached_property
    def temporary(self) -> TemporaryGrants:
        """The records of temporary grants, by owner key and by the grant under its declared condition."""
        return MappingProxyType(temporary_in(self.temporary_grants, self.target))

    @cached_property
    def temporary_by_owner(self) -> Mapping[OwnerAndGrant, Grant]:
        """The temporary grants as declared, by owner key and by the grant as the policy contains it."""
        return MappingProxyType(declared_by_granted(self.temporary))

    @property
    def key_ring(self) -> KeyRing:
        """The keys of the account, and the attempt to create one."""
        return KeyRing({key.id: key for key in self.keys}, self.key_attempt)

    @property
    def is_empty(self) -> bool:
        """Return whether the ledger holds no entry and no record."""
        return not (
            self.bindings
            or self.left_grants
            or self.temporary_grants
            or self.account
            or self.attachment
            or self.roles
            or self.keys
            or self.key_attempt
        )

    @property
    def owner_keys(self) -> frozenset[str]:
        """The owners of all entries and of all temporary grants, also ended ones, without their UIDs."""
        return frozenset(self._by_owner_key).union(each.owner_key for each in self.temporary_grants)

    @property
    def resource_owners(self) -> frozenset[str]:
        """The owner keys of all objects with a recorded account, key, role or attachment."""
        owners = {f"{IdentityKey.__name__}/{owner}" for owner in self.key_ring.owners}
        owners |= {f"{CustomRole.__name__}/{role.owner}" for role in self.roles if role.is_managed}
        if self.account and self.account.owner:
            owners.add(f"{CloudRunIdentity.__name__}/{self.account.owner}")
        if self.attachment:
            owners.add(f"{IdentityAttachment.__name__}/{self.attachment.owner}")
        return frozenset(owners)

    @property
    def namespaces(self) -> frozenset[str]:
        """The namespaces with an attachment of the target, or with a grant on it that was made."""
        owners = {
            owner_key.split("/")[1]
            for owner_key, grants in self._by_owner_key.items()
            if any(self.entries[grant].is_made for grant in grants)
        }
        if self.attachment:
            owners.add(self.attachment.owner.partition("/")[0])
        return frozenset(owners)

    def held_by(self, owner_key: str) -> frozenset[Grant]:
        """Return the grants of an owner, or of its predecessor of the same name."""
        return frozenset(self._by_owner_key.get(owner_key, ()))

    def temporary_held_by(self, owner_key: str) -> Iterator[LedgerTemporaryGrant]:
        """Yield the records of the temporary grants that have an entry of their owner."""
        held = self.held_by(owner_key)
        for (owner, base), record in self.temporary.items():
            if owner == owner_key and not held.isdisjoint(possible_grants(base, record)):
                yield record

    def role(self, role_id: str) -> LedgerRole | None:
        """Return the record of a custom role."""
        return next((role for role in self.roles if role.role_id == role_id), None)

    def with_entries(self, entries: Entries) -> Self:
        """Return this ledger with other entries, which are known to be valid."""
        return self.replace(
            bindings=bindings_of(entries),
            grant_counts=GrantCounts.of(entry.state for entry in entries.values()),
        )

    def with_left(self, left: Mapping[Grant, str]) -> Self:
        """Return this ledger with other grants that objects left."""
        return self.replace(left_grants=left_records(left))

    def with_temporary(self, temporary: TemporaryGrants) -> Self:
        """Return this ledger with other records of temporary grants."""
        return self.replace(temporary_grants=temporary_records(temporary))

    def with_sync(self, *, unmanaged_members: int, written_at: datetime | None) -> Self:
        """Return this ledger after a sync, which wrote the policy at a time or not at all."""
        last_write_time = written_at.replace(microsecond=0) if written_at else self.last_write_time
        return self.replace(unmanaged_members=unmanaged_members, last_write_time=last_write_time)

    def with_account(self, account: LedgerAccount | None) -> Self:
        """Return this ledger with another account record, bound to the unique ID in the record.

        No grant is present on an account that was deleted or replaced.
        """
        bound = self.bound_to(account.unique_id if account else "").replace(account=account)
        return bound.with_pending_grants() if account and account.lost else bound

    def bound_to(self, unique_id: str) -> Self:
        """Return this ledger for the resource with this unique ID; an empty ID changes nothing.

        Another unique ID is another resource of the same name. It has a policy and keys of its own, so the
        entries and keys of the former resource are dropped.
        """
        if unique_id in ("", self.target_uid):
            return self
        if not self.target_uid:
            return self.replace(target_uid=unique_id)
        return (
            self.with_entries({})
            .with_left({})
            .replace(target_uid=unique_id, keys=(), key_attempt=None, pending_write=None, target_absent=False)
        )

    def with_pending_grants(self) -> Self:
        """Return this ledger for a target that does not exist: no entry is granted.

        The policy of an account returns when the account is undeleted, so the entries are kept.
        """
        return self.with_entries(
            {
                grant: changed_entry(entry, state=GrantState.PENDING)
                if entry.state is GrantState.GRANTED
                else entry
                for grant, entry in self.entries.items()
            }
        ).replace(target_absent=True)

    def with_key_ring(self, ring: KeyRing) -> Self:
        """Return this ledger with other key records."""
        keys = tuple(ring.records[key_id] for key_id in sorted(ring.records))
        return self.replace(keys=keys, key_attempt=ring.attempt)

    def with_role(self, role: LedgerRole) -> Self:
        """Return this ledger with a record of this role, in place of a former one."""
        return self.replace(roles=_by_id((*self.roles, role)))

    def without_role(self, role_id: str) -> Self:
        """Return this ledger without a record of this role."""
        return self.replace(roles=tuple(role for role in self.roles if role.role_id != role_id))

    def with_attachment(self, attachment: LedgerAttachment | None) -> Self:
        """Return this ledger with another record of the attached workload."""
        return self.replace(attachment=attachment)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with these fields, which are known to be valid, changed.

        The bounds of lists are not checked here: `ledger.limits` names the object that exceeds one.
        """
        changed = self.model_copy(update=changes)
        for name, sources in _INDEXES.items():
            if not sources.isdisjoint(changes):
                changed.__dict__.pop(name, None)
        return changed

    @cached_property
    def _by_owner_key(self) -> Mapping[str, list[Grant]]:
        # Every object looks up its grants after every sync: without an index that takes objects times grants.
        grants: defaultdict[str, list[Grant]] = defaultdict(list)
        for grant, entry in self.entries.items():
            for owner in entry.owners:
                grants[owner_key_of(owner)].append(grant)
        return grants


def entry_of(
    grant: Grant,
    owners: Collection[str],
    state: GrantState = GrantState.PENDING,
    *,
    present_before: bool = False,
    unique_id: str = "",
    former_unique_ids: tuple[str, ...] = (),
    unmanaged_tombstones: tuple[str, ...] = (),
) -> LedgerEntry:
    """Return the ledger entry of a grant. `owners` are written as KIND/NAMESPACE/NAME/UID."""
    return LedgerEntry(
        member=grant.member,
        owners=tuple(sorted(owners)),
        state=state,
        present_before=present_before,
        unique_id=unique_id,
        former_unique_ids=former_unique_ids,
        unmanaged_tombstones=unmanaged_tombstones,
    )


def changed_entry(entry: LedgerEntry, **changes: Any) -> LedgerEntry:
    """Return an entry with these valid fields changed; the same entry if none of them differs."""
    if all(getattr(entry, name) == value for name, value in changes.items()):
        return entry
    return entry.model_copy(update=changes)


def _resource_of(target: Target) -> LedgerTarget:
    return LedgerTarget(
        kind=target.kind,
        project_id=target.project_id,
        location=target.location,
        parent=target.parent,
        name=target.name,
        service=target.service,
        full_name=target.full_name,
        text=str(target),
    )


def _by_id(roles: Iterable[LedgerRole]) -> tuple[LedgerRole, ...]:
    """Return the last record of each role, in the order of their IDs."""
    last = {role.role_id: role for role in roles}
    return tuple(last[role_id] for role_id in sorted(last))
