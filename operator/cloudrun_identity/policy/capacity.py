"""Capacity of IAM policies and of ledgers.

A ledger is one object, and the API server limits its size. Objects of every namespace may own the same grant,
and conditions may be long. The capacity of a ledger is divided, so that many owners of few grants do not
prevent grants of other objects.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from cloudrun_identity.api import LedgerEntry
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.grants import BindingKey, Grant

from .desired_grants import DesiredGrant

MAX_POLICY_MEMBERS: Final = 1500
"""The members that a policy may have. Google Cloud counts a member once for each of its bindings."""

MAX_OWNERS: Final = 1500
"""The owners that a ledger records for one grant."""

GRANT_BUDGET: Final = 540_000
"""The characters of JSON for all grants with one owner each: half of the size limit of a ledger."""

OWNER_BUDGET: Final = 360_000
"""The characters of JSON for further owners: a third of the limit. Accounts, keys and roles use the rest."""

LEDGER_FULL: Final = GoogleError(
    Fault.INVALID_ARGUMENT,
    "",
    f"the ledger of this policy is full: the limit is {MAX_POLICY_MEMBERS} grants, and about one megabyte "
    "with their conditions and owners; declare fewer grants, or grant the role to a group instead of its "
    "members",
)

POLICY_FULL: Final = GoogleError(
    Fault.INVALID_ARGUMENT,
    "",
    f"the policy has {MAX_POLICY_MEMBERS} members, which is the limit of Google Cloud; remove some, or grant "
    "the role to a group instead of its members",
)


def over_capacity(
    desired_grants: Sequence[DesiredGrant], present: Collection[Grant], newest: Collection[Grant], free: int
) -> dict[Grant, GoogleError]:
    """Return the refusal of each desired grant that exceeds the `free` places of a policy, newest first.

    A grant that replaces a tombstone needs no free place.
    """
    missing = [
        desired for desired in desired_grants if (desired.tombstones | {desired.grant}).isdisjoint(present)
    ]
    excess = len(missing) - max(free, 0)
    if excess <= 0:
        return {}
    missing.sort(key=lambda desired: desired.grant in newest)
    return {desired.grant: POLICY_FULL for desired in missing[-excess:]}


class LedgerCapacity:
    """The free capacity of one ledger."""

    def __init__(self, entries: Iterable[tuple[Grant, LedgerEntry]]) -> None:
        """Initialize the capacity that is left beside existing entries."""
        self._for_grants = GRANT_BUDGET
        self._for_owners = OWNER_BUDGET
        self._bindings: set[BindingKey] = set()
        for grant, entry in entries:
            forms = (*entry.registered_members, *entry.tombstones, *entry.unmanaged_tombstones)
            self._add(grant, self._size(grant, (*entry.owners[:1], *entry.unique_ids, *forms)))
            self._for_owners -= sum(map(_written_size, entry.owners[1:]))

    def add(self, grant: Grant, owner: str) -> bool:
        """Add a grant with one owner. Return False if there is no room for it."""
        size = self._size(grant, (owner,))
        if size > self._for_grants:
            return False
        self._add(grant, size)
        return True

    def add_owners(self, recorded: Collection[str], others: Collection[str]) -> frozenset[str]:
        """Add further owners of a grant, as far as there is room. Return all recorded owners.

        An owner without room shares the grant while it is present, and is recorded as soon as there is room.
        """
        owners = set(recorded)
        for owner in sorted(set(others) - owners):
            if len(owners) >= MAX_OWNERS or _written_size(owner) > self._for_owners:
                break
            self._for_owners -= _written_size(owner)
            owners.add(owner)
        return frozenset(owners)

    def _add(self, grant: Grant, size: int) -> None:
        self._for_grants -= size
        self._bindings.add(grant.binding_key)

    def _size(self, grant: Grant, listed: Iterable[str]) -> int:
        """Return the size of an entry. A role and its condition are written once for all members."""
        size = _FIELDS_SIZE + _written_size(grant.member) + sum(map(_written_size, listed))
        if grant.binding_key in self._bindings:
            return size
        condition = grant.condition
        texts = (condition.title, condition.description, condition.expression) if condition else ()
        return size + _FIELDS_SIZE + sum(map(_written_size, (grant.role, *texts)))


def _written_size(text: str) -> int:
    return len(json.dumps(text)) + len(", ")


_FIELDS_SIZE = 128  # the names of an entry's fields, its state, and the punctuation of JSON
