"""Owners of ledger entries: the objects that declare a grant, as a ledger names them."""

import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Owner:
    """An object as a ledger names it. An object of the same name with another UID is its successor."""

    kind: str
    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        """Return `IAMBinding/payments/web/UID`, the form in the ledger."""
        return f"{self.kind}/{self.namespace}/{self.name}/{self.uid}"

    @classmethod
    def parse(cls, text: str) -> "Owner":
        """Return the owner that a ledger names so; the inverse of `str`."""
        kind, namespace, name, uid = text.split("/", 3)
        return cls(kind, namespace, name, uid)

    @property
    def owner_key(self) -> str:
        """The owner without its UID, which an object and its successor have in common."""
        return sys.intern(f"{self.kind}/{self.namespace}/{self.name}")  # a key of many indexes


def owner_key_of(owner: str) -> str:
    """Return the owner key of an owner in the form of the ledger."""
    return sys.intern(owner.rpartition("/")[0])
