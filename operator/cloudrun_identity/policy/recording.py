"""The ledger of one policy during one sync: stored ahead of each write, and after the last one."""

from cloudrun_identity.api import LedgerWrite
from cloudrun_identity.ledger.interface import LedgerStore
from cloudrun_identity.ledger.model import Ledger


class LedgerChanged(Exception):
    """Another writer changed the entries on which a sync was planned: a user, or a former leader."""


class LedgerRecord:
    """The ledger of a sync. Each change replaces the one that this sync read or stored last."""

    def __init__(self, before: Ledger, ledgers: LedgerStore) -> None:
        self._target = before.target
        self._ledgers = ledgers
        self.stored = before
        """The ledger as this sync read or stored it last."""

    async def store_ahead(self, ledger: Ledger, write: LedgerWrite | None) -> Ledger:
        """Store and return the ledger before a write of the policy; None if the write adds no grant.

        A removal needs no record: a grant that is absent after a crash is one that no write has to remove.
        """
        if write is not None or _planned(ledger) != _planned(self.stored):
            ledger = ledger.replace(pending_write=write)
            await self.store(ledger)
        return ledger

    async def store(self, ledger: Ledger) -> None:
        """Store the entries of `ledger` in place of those that it was planned on.

        The records of accounts, keys, roles and attachments have other writers, and are kept.

        Raises:
            LedgerChanged: another writer changed the entries.

        """
        planned_on = self.stored

        def change(current: Ledger) -> Ledger:
            if _planned(current) != _planned(planned_on):
                raise LedgerChanged(f"another writer changed the ledger of {self._target}")
            return current.bound_to(ledger.target_uid).replace(
                bindings=ledger.bindings,
                left_grants=ledger.left_grants,
                temporary_grants=ledger.temporary_grants,
                restored=ledger.restored,
                grant_counts=ledger.grant_counts,
                unmanaged_members=ledger.unmanaged_members,
                last_write_time=ledger.last_write_time,
                usage=ledger.usage,
                pending_write=ledger.pending_write,
                target_absent=ledger.target_absent,
            )

        if ledger != planned_on or self._ledgers.ledger(self._target) != planned_on:
            await self._ledgers.update(self._target, change)
        self.stored = ledger


def _planned(ledger: Ledger) -> tuple[object, ...]:
    """Return what a sync is planned on."""
    return (
        ledger.bindings,
        ledger.left_grants,
        ledger.temporary_grants,
        ledger.restored,
        ledger.target_uid,
        ledger.pending_write,
        ledger.target_absent,
    )
