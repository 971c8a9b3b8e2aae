"""Stored PolicyLedgers that do not fit the schema, and the owners that they concern."""

from dataclasses import dataclass

from cloudrun_identity.kube.resources import Object

from .model import Ledger
from .objects import LedgerInvalid, owner_keys_named_by


@dataclass(frozen=True, slots=True)
class _Invalid:
    """A stored object that does not fit the schema."""

    message: str
    """Reason why it is invalid, and how to repair it."""
    owner_keys: frozenset[str]
    """The owners in it, as far as they can be read, and those in the last valid version."""
    was_valid: bool
    """True if a valid version was read, which stays in memory."""


class InvalidLedgers:
    """The invalid objects by their names."""

    def __init__(self) -> None:
        self._by_name: dict[str, _Invalid] = {}

    def __len__(self) -> int:
        return len(self._by_name)

    def add(self, raw: Object, message: str, last_valid: Ledger | None) -> None:
        """Note that an object is invalid."""
        named = owner_keys_named_by(raw)
        if last_valid:
            named |= last_valid.owner_keys | last_valid.resource_owners
        self._by_name[raw["metadata"]["name"]] = _Invalid(message, named, was_valid=last_valid is not None)

    def remove(self, name: str) -> frozenset[str]:
        """Note that an object is deleted or valid again; return the owner keys that it concerned."""
        known = self._by_name.pop(name, None)
        return known.owner_keys if known else frozenset()

    def owner_keys(self, name: str) -> frozenset[str]:
        """Return the owner keys that an invalid object concerns."""
        return self._by_name[name].owner_keys

    def reason_for(self, owner_key: str) -> str:
        """Return what is wrong with an object that names the owner; empty if there is none."""
        found = (each.message for each in self._by_name.values() if owner_key in each.owner_keys)
        return next(found, "")

    def check(self, name: str) -> None:
        """Raise `LedgerInvalid` if the object of this name is invalid."""
        if invalid := self._by_name.get(name):
            raise LedgerInvalid(invalid.message)

    def check_complete(self) -> None:
        """Raise `LedgerInvalid` if an object was never valid since the start of the process."""
        for invalid in self._by_name.values():
            if not invalid.was_valid:
                raise LedgerInvalid(invalid.message)
