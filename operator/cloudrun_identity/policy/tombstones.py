"""Tombstones of members that no CloudRunIdentity declares.

After the deletion of a principal, policies show its grants in the deleted form, `deleted:user:…?uid=…`. After
it is restored, they show the member again, with the role. So the tombstone of a grant that the operator made
is released with the grant, or it would come back to life. Sources:
https://github.com/GoogleCloudPlatform/k8s-config-connector/issues/11946 and
https://github.com/hashicorp/terraform-provider-google/issues/7278.

The operator does not know the unique ids of these members. A tombstone belongs to a grant of the operator if
it was absent before the grant. Other tombstones stay.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from cloudrun_identity.api import MAX_UNIQUE_IDS, LedgerEntry
from cloudrun_identity.iam.grants import BindingKey, Grant
from cloudrun_identity.iam.principals import Tombstone
from cloudrun_identity.ledger.model import changed_entry

from .desired_grants import DesiredGrant

TombstoneIndex = Mapping[tuple[BindingKey, str], frozenset[str]]
"""Deleted forms by their binding and the member before its deletion."""


def index_tombstones(shown: Iterable[Grant]) -> TombstoneIndex:
    """Return the deleted forms in a policy."""
    found: defaultdict[tuple[BindingKey, str], set[str]] = defaultdict(set)
    for grant in shown:
        if tombstone := Tombstone.parse(grant.member):
            found[grant.binding_key, tombstone.member].add(grant.member)
    return {key: frozenset(members) for key, members in found.items()}


def tombstones_of(grant: Grant, shown: Iterable[Grant]) -> frozenset[str]:
    """Return the deleted forms of a grant's member in its binding."""
    return index_tombstones(shown).get((grant.binding_key, grant.member), frozenset())


def with_tombstones(grant: Grant, entry: LedgerEntry, index: TombstoneIndex, *, present: bool) -> LedgerEntry:
    """Return the entry of an undeclared member with the deleted forms that a read shows.

    If the member is present beside a new tombstone of its grant, another writer made the grant again for the
    recreated principal: the operator adds the member and removes the tombstone in one write.
    """
    addresses = (grant.member, *entry.registered_members)
    shown = frozenset(member for each in addresses for member in index.get((grant.binding_key, each), ()))
    if entry.unique_id or not (shown or entry.tombstones):
        return entry
    new = shown.difference(entry.tombstones, entry.unmanaged_tombstones)
    managed = shown & {*entry.tombstones}
    if not entry.is_made or entry.present_before:
        unmanaged = _latest({*entry.unmanaged_tombstones, *new})
        return changed_entry(entry, tombstones=_latest(managed), unmanaged_tombstones=unmanaged)
    return changed_entry(entry, tombstones=_latest(managed | new), present_before=bool(new) and present)


def unmanaged_tombstones(desired: DesiredGrant, index: TombstoneIndex) -> tuple[str, ...]:
    """Return the deleted forms in the policy before the grant, if no identity declares the member."""
    grant = desired.grant
    return () if desired.unique_id else _latest(index.get((grant.binding_key, grant.member), ()))


def without_removed_tombstones(grant: Grant, entry: LedgerEntry, shown: Collection[Grant]) -> LedgerEntry:
    """Return the entry without the deleted forms that the policy no longer shows."""
    tombstones = tuple(member for member in entry.tombstones if replace(grant, member=member) in shown)
    return changed_entry(entry, tombstones=tombstones)


def _latest(members: Iterable[str]) -> tuple[str, ...]:
    """Return as many members as a ledger entry can have."""
    return tuple(sorted(members)[-MAX_UNIQUE_IDS:])
