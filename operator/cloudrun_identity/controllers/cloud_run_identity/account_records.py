"""Records of accounts in the ledgers of the accounts' own policies.

A record is written before the action that it describes, and removed after that action is undone.
"""

from collections.abc import Callable
from datetime import datetime

from cloudrun_identity.api import Abandonment, AccountIntent, AccountLoss, LedgerAccount, Origin
from cloudrun_identity.api.ledger_records import MAX_UNIQUE_IDS
from cloudrun_identity.gcp.service_accounts import ServiceAccount
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.ledger.interface import LedgerStore
from cloudrun_identity.ledger.model import Ledger

from .account import AccountSeen, AccountWant
from .actions import (
    AdoptAccount,
    ForgetAccount,
    LeaveBehind,
    RecordAction,
    RecordLoss,
    RecordSwitch,
    RecordUses,
    SettleAccount,
    TakeBackAccount,
    TakeOverAccount,
    WithdrawCreate,
)


def creating(want: AccountWant, record: LedgerAccount | None, now: datetime) -> LedgerAccount:
    """Return the record of an account that is about to be created, perhaps in the place of a former one."""
    begun = record or LedgerAccount(email=want.email, owner=want.owner, owner_uid=want.obj.metadata.uid)
    return begun.with_uses(want.places()).replace(
        intent=AccountIntent.CREATE,
        origin=Origin.CREATED,
        unique_id="",
        lost=None,
        disabled=False,
        sent=want.text,
        appeared_time=now,
    )


def withdrawn(record: LedgerAccount) -> LedgerAccount | None:
    """Return the record as before the intent to create; None if there was no account before."""
    if not record.unique_ids:
        return None
    return record.replace(intent=None, sent=None, appeared_time=None, unique_id=record.unique_ids[-1])


def adopted(want: AccountWant, account: ServiceAccount) -> LedgerAccount:
    """Return the record of an account that the object adopts as it is."""
    record = LedgerAccount(
        email=account.email,
        owner=want.owner,
        owner_uid=want.obj.metadata.uid,
        origin=Origin.ADOPTED,
        disabled=account.disabled,
    )
    return settled(record.with_uses(want.places()), account)


def may_take_back(want: AccountWant, seen: AccountSeen) -> bool:
    """Return whether the account is the one that an object of the same namespace and name left."""
    return (
        seen.account is not None
        and seen.left is not None
        and seen.left.left_by == want.owner
        and seen.left.unique_id == seen.account.unique_id
    )


def taken_back(want: AccountWant, left: LedgerAccount, account: ServiceAccount) -> LedgerAccount:
    """Return the record of an account that an object of the same namespace and name left."""
    record = left.replace(
        owner=want.owner,
        owner_uid=want.obj.metadata.uid,
        left_by="",
        abandoned=None,
        disabled=account.disabled,
    )
    return settled(record.with_uses(want.places()), account)


def taken_over(record: LedgerAccount, account: ServiceAccount) -> LedgerAccount:
    """Return the record of an account that replaced the recorded one and is managed from now on."""
    return settled(record.replace(origin=Origin.ADOPTED, disabled=account.disabled), account)


def settled(record: LedgerAccount, account: ServiceAccount) -> LedgerAccount:
    """Return the completed record of an account that reads show consistently."""
    unique_ids = tuple(each for each in record.unique_ids if each != account.unique_id)
    return record.replace(
        intent=None,
        sent=None,
        lost=None,
        unique_id=account.unique_id,
        unique_ids=(*unique_ids, account.unique_id)[-MAX_UNIQUE_IDS:],
    )


def lost(record: LedgerAccount, loss: AccountLoss) -> LedgerAccount:
    """Return the record of an account that another client deleted or replaced."""
    return record.replace(intent=None, lost=loss, appeared_time=None)


def recorded(action: RecordAction, want: AccountWant, seen: AccountSeen) -> LedgerAccount | None:
    """Return the record after an action on it; None if the action removes it."""
    match action:
        case AdoptAccount():
            return adopted(want, seen.known_account)
        case TakeBackAccount():
            return taken_back(want, seen.known_left, seen.known_account)
        case WithdrawCreate():
            return withdrawn(seen.known_record)
        case TakeOverAccount():
            return taken_over(seen.known_record, seen.known_account)
        case SettleAccount():
            return settled(seen.known_record, seen.known_account)
        case RecordLoss(loss=loss):
            return lost(seen.known_record, loss)
        case RecordSwitch(disabled=disabled):
            return seen.known_record.replace(disabled=disabled)
        case RecordUses(added=added, dropped=dropped):
            return seen.known_record.with_uses(added, without=dropped)
        case ForgetAccount() | LeaveBehind():
            return None


def _with_uses_of(stored: LedgerAccount | None, record: LedgerAccount) -> LedgerAccount:
    """Return the record with the places of use that are stored."""
    if stored is None:
        return record
    kept = record.with_uses(stored.used_in)
    return kept.replace(used_elsewhere=kept.used_elsewhere or stored.used_elsewhere)


class AccountRecords:
    """Read and write the records of accounts."""

    def __init__(self, ledgers: LedgerStore, wall_clock: Callable[[], datetime]) -> None:
        self._ledgers = ledgers
        self._wall_clock = wall_clock

    def now(self) -> datetime:
        """Return the time in whole seconds, as records hold it."""
        return self._wall_clock().replace(microsecond=0)

    def at(self, target: Target) -> LedgerAccount | None:
        """Return the record of an account, whichever object owns it; None for one that was left behind."""
        record = self._ledgers.ledger(target).account
        return None if record is None or record.is_left else record

    def left_at(self, target: Target) -> LedgerAccount | None:
        """Return the record of an account that was left behind."""
        record = self._ledgers.ledger(target).account
        return record if record and record.is_left else None

    def of(self, owner: str) -> LedgerAccount | None:
        """Return the record of the account that this object (`namespace/name`) owns."""
        home = self._ledgers.account_home(owner)
        return self.at(home) if home else None

    async def put(self, project_id: str, record: LedgerAccount) -> LedgerAccount:
        """Write the record; nothing is written if it is unchanged.

        Attachments record places of use at the same time, so those in the stored record are kept.
        """

        def change(ledger: Ledger) -> Ledger:
            return ledger.with_account(_with_uses_of(ledger.account, record))

        return await self._write(project_id, record, change)

    async def put_uses(
        self,
        project_id: str,
        record: LedgerAccount,
        declared: Callable[[], frozenset[str]],
        dropped: frozenset[str],
    ) -> LedgerAccount:
        """Record the declared places of use, and remove those that were dropped.

        `declared` is evaluated with the write: an attachment that was created since then keeps its place.
        """

        def change(ledger: Ledger) -> Ledger:
            places, newest = declared(), _with_uses_of(ledger.account, record)
            return ledger.with_account(newest.with_uses(places, without=dropped - places))

        return await self._write(project_id, record, change)

    async def _write(
        self, project_id: str, record: LedgerAccount, change: Callable[[Ledger], Ledger]
    ) -> LedgerAccount:
        ledger = await self._ledgers.update(Target.service_account(project_id, record.email), change)
        return ledger.account or record

    async def drop(self, project_id: str, record: LedgerAccount, *, is_deleted: bool = False) -> None:
        """Remove the record of an account, if this owner still has it.

        No grant is present on an account that `is_deleted`.
        """
        await self._replace(project_id, record, None, is_deleted=is_deleted)

    async def leave_behind(self, project_id: str, record: LedgerAccount, reason: str) -> None:
        """Record that the account was left without an owner; a reason is for the project's status."""
        left = LedgerAccount(
            email=record.email,
            owner="",
            owner_uid="",
            origin=record.origin,
            unique_id=record.unique_id,
            unique_ids=record.unique_ids,
            abandoned=Abandonment(reason=reason, time=self.now()) if reason else None,
            left_by=record.owner if record.origin is Origin.CREATED else "",
            used_in=record.used_in,
            used_elsewhere=record.used_elsewhere,
        )
        await self._replace(project_id, record, left)

    async def _replace(
        self, project_id: str, record: LedgerAccount, new: LedgerAccount | None, *, is_deleted: bool = False
    ) -> None:
        def change(ledger: Ledger) -> Ledger:
            if ledger.account is None or ledger.account.owner != record.owner:
                return ledger
            replaced = ledger.with_account(new)
            if not is_deleted:
                return replaced
            return replaced.with_key_ring(replaced.key_ring.without_left()).with_pending_grants()

        await self._ledgers.update(Target.service_account(project_id, record.email), change)
