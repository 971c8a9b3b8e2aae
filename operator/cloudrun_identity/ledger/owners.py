"""Owners of ledger entries: the objects that declare a grant, as a ledger names them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Owner:
    """An object as the ledger names it. Another UID under the same name is its successor."""

    kind: str
    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        """`IAMBinding/payments/web/UID`, as it stands in the ledger."""
        return f"{self.kind}/{self.namespace}/{self.name}/{self.uid}"

    @classmethod
    def parse(cls, text: str) -> "Owner":
        """The inverse of `str`."""
        kind, namespace, name, uid = text.split("/", 3)
        return cls(kind, namespace, name, uid)

    @property
    def owner_key(self) -> str:
        """The claimant without its UID: what an object and its successor of the same name share."""
        return f"{self.kind}/{self.namespace}/{self.name}"


def owner_key_of(owner: str) -> str:
    """The seat of a claimant as the ledger names it."""
    return owner.rpartition("/")[0]
