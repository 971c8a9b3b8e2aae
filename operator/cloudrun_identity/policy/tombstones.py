"""Tombstones of the members of grants.

After the deletion of a principal, policies show its grants in the deleted form, `deleted:user:…?uid=…`. After
it is restored, they show the member again, with the role. So the tombstone of a grant that the operator made
is released with the grant, or it would come back to life. If the e-mail of an identity's account belongs to
the account of that tombstone again, the account was undeleted, and the grant is the operator's. Otherwise
another writer may have removed the tombstone and granted the role to a new account.
Sources: https://cloud.google.com/iam/docs/service-accounts-delete-undelete,
https://github.com/GoogleCloudPlatform/k8s-config-connector/issues/11946 and
https://github.com/hashicorp/terraform-provider-google/issues/7278.

The operator knows the unique ID of a CloudRunIdentity's account, and so its tombstone. It does not know the
unique IDs of other members. Their tombstone belongs to a grant of the operator if it was absent before the
grant. Other tombstones stay.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from cloudrun_identity.api import MAX_UNIQUE_IDS, GrantState, LedgerEntry
from cloudrun_identity.iam.grants import BindingKey, Grant
from cloudrun_identity.iam.principals import Tombstone
from cloudrun_identity.ledger.model import Ledger, changed_entry

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


def with_tombstones(
    ledger: Ledger,
    index: TombstoneIndex,
    shown: Collection[Grant],
    account_ids: Mapping[str, str],
    *,
    write_found: bool,
) -> Ledger:
    """Return the ledger with the deleted forms of members that a read shows.

    `account_ids` has the unique IDs that the accounts of reappearing grants have now, by member, as far as
    they are known. With `write_found`, the operator made the grants that the ledger records as pending.
    """
    entries = {}
    for grant, entry in ledger.entries.items():
        is_own = (entry.is_made or (write_found and not entry.is_rejected)) and not entry.present_before
        entries[grant] = (
            _with_own_tombstone(grant, entry, index, shown, account_ids, is_own=is_own)
            if entry.unique_id
            else _with_tombstones(grant, entry, index, shown, is_own=is_own)
        )
    return ledger if entries == ledger.entries else ledger.with_entries(entries)


def _with_own_tombstone(
    grant: Grant,
    entry: LedgerEntry,
    index: TombstoneIndex,
    shown: Collection[Grant],
    account_ids: Mapping[str, str],
    *,
    is_own: bool,
) -> LedgerEntry:
    """Return the entry of an identity's account with its deleted form, if the operator made the grant.

    The record proves that a grant that is present after an undeletion is the one that the operator made.
    """
    deleted = index.get((grant.binding_key, grant.member), frozenset())
    if not (deleted or entry.tombstones):
        return entry
    remaining = without_removed_tombstones(grant, entry, shown)
    if reappears(grant, entry, shown) and account_ids.get(grant.member) == entry.unique_id:
        return changed_entry(remaining, state=GrantState.GRANTED, present_before=False)
    own = _own_tombstone(grant, entry)
    if own not in deleted or grant in shown or own in entry.unmanaged_tombstones:
        return remaining
    if not is_own:  # a later write does not make it the operator's
        return changed_entry(remaining, unmanaged_tombstones=_latest({*entry.unmanaged_tombstones, own}))
    return changed_entry(remaining, tombstones=_latest({*remaining.tombstones, own}))


def _with_tombstones(
    grant: Grant, entry: LedgerEntry, index: TombstoneIndex, shown: Collection[Grant], *, is_own: bool
) -> LedgerEntry:
    """Return the entry of an undeclared member with its deleted forms.

    If the member is present beside a new tombstone of its grant, another writer made the grant again for the
    recreated principal: the operator adds the member and removes the tombstone in one write. If the member is
    present in place of a tombstone of its grant, the principal was restored.
    """
    addresses = (grant.member, *entry.registered_members)
    found = {member for each in addresses for member in index.get((grant.binding_key, each), ())}
    if not (found or entry.tombstones):
        return entry
    present = any(grant.of(address) in shown for address in addresses)
    remaining = without_removed_tombstones(grant, entry, shown)
    if present and remaining is not entry:
        return changed_entry(remaining, state=GrantState.GRANTED, present_before=False)
    new = found.difference(entry.tombstones, entry.unmanaged_tombstones)
    if not is_own:
        return changed_entry(remaining, unmanaged_tombstones=_latest({*entry.unmanaged_tombstones, *new}))
    tombstones = _latest({*remaining.tombstones, *new})
    return changed_entry(remaining, tombstones=tombstones, present_before=bool(new) and present)


def unmanaged_tombstones(desired: DesiredGrant, index: TombstoneIndex) -> tuple[str, ...]:
    """Return the deleted forms in the policy before the grant, if no identity declares the member."""
    grant = desired.grant
    return () if desired.unique_id else _latest(index.get((grant.binding_key, grant.member), ()))


def without_removed_tombstones(grant: Grant, entry: LedgerEntry, shown: Collection[Grant]) -> LedgerEntry:
    """Return the entry without the deleted forms that the policy no longer shows."""
    return changed_entry(
        entry, tombstones=tuple(member for member in entry.tombstones if grant.of(member) in shown)
    )


def reappears(grant: Grant, entry: LedgerEntry, shown: Collection[Grant]) -> bool:
    """Return whether a policy shows an identity's account in place of its recorded deleted form.

    The unique ID that the e-mail has now shows whether the account was undeleted, or created again.
    """
    own = _own_tombstone(grant, entry) if entry.tombstones else ""
    return own in entry.tombstones and grant in shown and grant.of(own) not in shown


def without_own_tombstone(grant: Grant, entry: LedgerEntry) -> tuple[str, ...]:
    """Return the recorded deleted forms but that of the present account, whose unique ID identifies it."""
    own = _own_tombstone(grant, entry) if entry.tombstones else ""
    return tuple(member for member in entry.tombstones if member != own)


def _own_tombstone(grant: Grant, entry: LedgerEntry) -> str:
    """Return the deleted form of the account for which a grant is recorded; empty if it is unknown."""
    return grant.deleted_form(entry.unique_id).member if entry.unique_id else ""


def _latest(members: Iterable[str]) -> tuple[str, ...]:
    """Return as many members as a ledger entry can have."""
    return tuple(sorted(members)[-MAX_UNIQUE_IDS:])
