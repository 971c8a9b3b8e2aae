"""How much fits into one ledger, shared out so that nobody is pushed out of it and nobody locked out.

A ledger is one object of the API server, which stores no more than so much in one. Objects of any namespace
may join in one grant, and a condition may be long: whoever comes when the ledger is full is left out, and
nobody else notices.
"""

import json
from collections.abc import Collection, Iterable
from typing import Final

from cloudrun_identity.api import LedgerEntry
from cloudrun_identity.iam.grants import BindingKey, Grant

MAX_CLAIMANTS: Final = 1500
"""The most objects that a ledger names for one grant."""

FOR_GRANTS: Final = 540_000
"""What all grants, with one object each that declares them, may come to, in characters of JSON: half of a
mebibyte."""

FOR_COMPANY: Final = 360_000
"""What the names of all further objects may come to: a third of a mebibyte. The rest is for accounts, keys
and roles."""


class Capacity:
    """What is left of one ledger's bounds."""

    def __init__(self, held: Iterable[tuple[Grant, LedgerEntry]]) -> None:
        """`held` is in it already."""
        self._for_grants = FOR_GRANTS
        self._for_company = FOR_COMPANY
        self._slots: set[BindingKey] = set()
        for grant, entry in held:
            owners = sorted(entry.owners)
            self._enter(grant, self._size(grant, (*owners[:1], *entry.unique_ids)))
            self._for_company -= sum(map(_written, owners[1:]))

    def takes(self, grant: Grant, owner: str) -> bool:
        """Enter another grant for one object, if it fits."""
        size = self._size(grant, (owner,))
        if size > self._for_grants:
            return False
        self._enter(grant, size)
        return True

    def joining(self, named: Collection[str], others: Collection[str]) -> frozenset[str]:
        """Enter as many others beside those that are named for one grant as fit; returns all of them.

        Who is left out shares the grant while it stands, and comes in as soon as there is room.
        """
        joined = set(named)
        for owner in sorted(set(others) - joined):
            if len(joined) >= MAX_CLAIMANTS or _written(owner) > self._for_company:
                break
            self._for_company -= _written(owner)
            joined.add(owner)
        return frozenset(joined)

    def _enter(self, grant: Grant, size: int) -> None:
        self._for_grants -= size
        self._slots.add(grant.binding_key)

    def _size(self, grant: Grant, listed: Iterable[str]) -> int:
        """How long the entry is; its role and condition are written once for all members."""
        size = _ENTRY + _written(grant.member) + sum(map(_written, listed))
        if grant.binding_key in self._slots:
            return size
        condition = grant.condition
        texts = (condition.title, condition.description, condition.expression) if condition else ()
        return size + _ENTRY + sum(map(_written, (grant.role, *texts)))


def _written(text: str) -> int:
    return len(json.dumps(text)) + len(", ")


_ENTRY = 128  # the names of an entry's fields, its state, and what JSON puts around them
