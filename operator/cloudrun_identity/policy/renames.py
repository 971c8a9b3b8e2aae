"""Renames of members between two reads of a policy, without a write."""

from collections.abc import Iterator, Mapping

from google.iam.v1.policy_pb2 import Policy

from cloudrun_identity.api import LedgerEntry
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.iam.principals import PrincipalKind, normalise, parse
from cloudrun_identity.ledger.model import Ledger, changed_entry

from .merge import RoleAndCondition, key_of, role_and_condition


def with_renames(ledger: Ledger, before: Policy, now: Policy) -> Ledger:
    """Return the ledger with the new addresses of members that were renamed between two reads of the policy.

    Google Cloud renders members when the policy is read. A rename changes neither the etag nor the order of
    the members, so under an equal etag the members at one place are the same principal.
    """
    if not before.etag or before.etag != now.etag or before == now:
        return ledger
    renamed = _renamed(before, now)
    entries = {
        grant: _with_new_address(grant, entry, renamed.get(role_and_condition(grant), {}))
        for grant, entry in ledger.entries.items()
    }
    return ledger if entries == ledger.entries else ledger.with_entries(entries)


def renamed_owners(before: Ledger, renamed: Ledger) -> Iterator[str]:
    """Return the owner keys of the grants with a new address."""
    if renamed is before:
        return
    for grant, entry in renamed.entries.items():
        if entry != before.entries[grant]:
            yield from entry.owner_keys


def _renamed(before: Policy, now: Policy) -> dict[RoleAndCondition, dict[str, str]]:
    """Return the new addresses by the former ones, for each binding of a policy with an equal etag."""
    renamed: dict[RoleAndCondition, dict[str, str]] = {}
    if len(before.bindings) != len(now.bindings):
        return renamed
    for former, current in zip(before.bindings, now.bindings, strict=True):
        if key_of(former) == key_of(current) and len(former.members) == len(current.members):
            pairs = zip(map(normalise, former.members), map(normalise, current.members), strict=True)
            renamed.setdefault(key_of(former), {}).update(
                (old, new)
                for old, new in pairs
                if old != new and parse(old).kind is parse(new).kind is not PrincipalKind.DELETED
            )
    return renamed


def _with_new_address(grant: Grant, entry: LedgerEntry, renamed: Mapping[str, str]) -> LedgerEntry:
    if not renamed or not entry.is_made:
        return entry
    addresses = entry.registered_members or (grant.member,)
    current = {renamed.get(address, address) for address in addresses}
    return changed_entry(entry, registered_members=tuple(sorted(current - {grant.member})))
