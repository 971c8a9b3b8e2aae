"""The interface through which the policy engine and the controllers use ledgers."""

from collections.abc import Callable, Iterable
from typing import Protocol

from cloudrun_identity.iam.grants import Target

from .model import Ledger

Change = Callable[[Ledger], Ledger]
"""A pure function from a ledger to its successor."""


class LedgerStore(Protocol):
    """Ledgers of all policies, looked up in memory and persisted. Implemented by `ledger.store.Ledgers`.

    Owners of accounts, keys and attachments are written as `namespace/name`, owner keys as
    `Kind/namespace/name`.
    """

    def ledger(self, target: Target) -> Ledger:
        """Return the ledger of a policy as last known; an empty one if there is none."""
        ...

    async def update(self, target: Target, change: Change) -> Ledger:
        """Persist `change` of the newest ledger of a policy; return the stored ledger."""
        ...

    def account_home(self, owner: str) -> Target | None:
        """Return the target of the ledger with the account of a CloudRunIdentity."""
        ...

    def attachment_home(self, owner: str) -> Target | None:
        """Return the workload of an IdentityAttachment."""
        ...

    def held_by(self, owner_key: str) -> frozenset[Target]:
        """Return the targets with entries of an owner."""
        ...

    def targets(self, project_id: str) -> Iterable[Target]:
        """Return the targets in a project with any entry."""
        ...

    def check(self, target: Target) -> None:
        """Raise `LedgerInvalid` if the stored ledger of a policy is invalid now."""
        ...

    def invalid_ledger_of(self, owner_key: str) -> str:
        """Return what is wrong with an invalid ledger that names the owner; empty if there is none."""
        ...

    def check_complete(self) -> None:
        """Raise `LedgerInvalid` while a stored ledger was not read since the start."""
        ...
