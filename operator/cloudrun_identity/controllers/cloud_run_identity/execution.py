"""Execution of the actions for an account: each is crash-safe and idempotent, and decides nothing.

The record in the ledger is written before the call that it describes. A process that ends between two steps
leaves a record from which the next plan goes on.
"""

from dataclasses import replace

from cloudrun_identity.api import AccountIntent, AccountText, LedgerAccount
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.service_accounts import ServiceAccount
from cloudrun_identity.gcp.unknown_outcomes import written_or_found
from cloudrun_identity.reconcile.executor import ASSUMED_UNIQUE_ID
from cloudrun_identity.reconcile.interfaces import Executed

from .account import AccountSeen, AccountWant, created_account, updated_account
from .account_records import creating, recorded, settled
from .actions import (
    AccountAction,
    CreateAccount,
    DeleteAccount,
    DisableBeforeDelete,
    ForgetAccount,
    LeaveBehind,
    RecordAction,
    RecordLoss,
    RecordSwitch,
    RecordUses,
    RecreateAccount,
    RetryCreate,
    SettleAccount,
    SwitchAccount,
    TakeOverAccount,
    UndeleteAccount,
    UpdateAccount,
)
from .observation import AccountDependencies
from .propagation import GOOD_READS

_CANNOT_UNDELETE = frozenset({Fault.NOT_FOUND, Fault.FAILED_PRECONDITION, Fault.ALREADY_EXISTS})


class AccountExecutor:
    """Execute the actions of a plan; methods raise GoogleError."""

    def __init__(self, deps: AccountDependencies) -> None:
        self._deps = deps

    async def execute(
        self, action: AccountAction, want: AccountWant, seen: AccountSeen
    ) -> Executed[AccountSeen]:
        """Execute one action of a plan."""
        match action:
            case CreateAccount() | RecreateAccount():
                return await self._create(want, seen)
            case RetryCreate():
                return await self._retry_create(want, seen)
            case UndeleteAccount(in_doubt=in_doubt):
                return await self._undelete(want, seen, in_doubt=in_doubt)
            case UpdateAccount():
                return Executed(await self._update(want, seen))
            case SwitchAccount(disable=disable):
                return Executed(await self._switch(want, seen, disable=disable))
            case DisableBeforeDelete():
                return await self._disable_before_delete(want, seen)
            case DeleteAccount():
                return await self._delete(want, seen)
            case _:
                return Executed(await self._record(action, want, seen))

    async def assume(self, action: AccountAction, want: AccountWant, seen: AccountSeen) -> AccountSeen:
        """Return what the action would leave behind: it writes records, and calls no method of Google.

        An account that the action brings about counts as settled at once. Later reads show it.
        """
        assumed = await self._assumed(action, want, seen)
        if assumed.account:
            self._deps.inventory.assume_account(assumed.account)
        return assumed

    async def _assumed(self, action: AccountAction, want: AccountWant, seen: AccountSeen) -> AccountSeen:
        match action:
            case CreateAccount() | RetryCreate() | RecreateAccount():
                record = creating(want, seen.record, self._deps.records.now())
                account = created_account(want, ASSUMED_UNIQUE_ID, disabled=False)
                assumed = settled(record, account).replace(appeared_time=None)
                return await self._put(want, AccountSeen(account), assumed)
            case UndeleteAccount():
                record = seen.known_record
                account = updated_account(
                    want, created_account(want, record.unique_id, disabled=record.disabled)
                )
                return await self._put(want, AccountSeen(account), settled(record, account))
            case RecordLoss():
                recorded = await self._record(action, want, seen)
                return replace(recorded, good_reads=GOOD_READS)
            case UpdateAccount():
                return replace(seen, account=updated_account(want, seen.known_account))
            case SwitchAccount(disable=disable):
                return await self._switched(want, seen, disable=disable)
            case DisableBeforeDelete():
                return await self._record_disabling(want, seen)
            case DeleteAccount():
                return replace(seen, account=None, deleted=True)
            case _:
                return await self._record(action, want, seen)

    # Actions on the record alone

    async def _record(self, action: RecordAction, want: AccountWant, seen: AccountSeen) -> AccountSeen:
        record, records = recorded(action, want, seen), self._deps.records
        match action:
            case LeaveBehind(reason=reason):
                await records.leave_behind(want.project_id, seen.known_record, reason)
            case ForgetAccount(is_deleted=is_deleted):
                await records.drop(want.project_id, seen.known_record, is_deleted=is_deleted)
            case RecordUses(dropped=dropped):
                known = seen.known_record
                record = await records.put_uses(want.project_id, known, want.places, dropped)
            case _ if record is None:
                await records.drop(want.project_id, seen.known_record)
            case _:
                record = await records.put(want.project_id, record)
        if isinstance(action, SettleAccount | TakeOverAccount):
            self._deps.checkpoint("account settled")
        if isinstance(action, RecordLoss | RecordSwitch | RecordUses):
            return replace(seen, record=record)
        self._deps.propagation.end(want.email)
        return AccountSeen(seen.account, record)

    async def _put(self, want: AccountWant, seen: AccountSeen, record: LedgerAccount) -> AccountSeen:
        return replace(seen, record=await self._deps.records.put(want.project_id, record))

    async def _restore(
        self, want: AccountWant, record: LedgerAccount, former: LedgerAccount | None
    ) -> LedgerAccount | None:
        """Undo the record of an intent."""
        if former is None:
            await self._deps.records.drop(want.project_id, record)
            return None
        return await self._deps.records.put(want.project_id, former)

    # Creation

    async def _create(self, want: AccountWant, seen: AccountSeen) -> Executed[AccountSeen]:
        """Record the intent, then create; an account that exists already is looked at and planned for."""
        former = seen.record
        # Count before the first await, so that concurrent plans do not use the same part of the share.
        self._deps.about_to_create[want.email] = want.obj.metadata.namespace
        try:
            record = await self._deps.records.put(
                want.project_id, creating(want, former, self._deps.records.now())
            )
        finally:
            del self._deps.about_to_create[want.email]
        self._deps.checkpoint("intent recorded")
        try:
            return await self._created(want, record)
        except GoogleError as error:
            if error.undecided:
                raise  # it may have taken effect: the intent stays
            await self._restore(want, record, former)
            if error.fault is not Fault.ALREADY_EXISTS:
                raise
        account = await self._read(want, want.email)
        return Executed(AccountSeen(account, former, taken=account is None), written=False)

    async def _read(self, want: AccountWant, email_or_unique_id: str) -> ServiceAccount | None:
        try:
            return await self._deps.service_accounts.get(want.project_id, email_or_unique_id)
        except GoogleError as error:
            if error.fault is not Fault.NOT_FOUND:
                raise
            return None

    async def _retry_create(self, want: AccountWant, seen: AccountSeen) -> Executed[AccountSeen]:
        """Send the recorded create again: with another text, what the first one made would be unmanaged."""
        record = seen.known_record.replace(appeared_time=self._deps.records.now())
        await self._deps.records.put(want.project_id, record)
        try:
            return await self._created(want, record)
        except GoogleError as error:
            if error.fault is not Fault.ALREADY_EXISTS:
                raise
        self._deps.propagation.begin(record.email)  # a read will show whose it is
        return Executed(AccountSeen(None, record, followed=True), written=False)

    async def _created(self, want: AccountWant, record: LedgerAccount) -> Executed[AccountSeen]:
        sent = record.sent or AccountText()

        async def create() -> ServiceAccount:
            return await self._deps.service_accounts.create(
                want.project_id, want.obj.account_id, sent.display_name, sent.description
            )

        async def find() -> ServiceAccount | None:
            account = await self._read(want, record.email)
            return account if account and AccountSeen(account).is_created(record, account) else None

        account = await written_or_found(create, find)
        self._deps.checkpoint("account created")
        self._deps.inventory.invalidate_account(want.project_id, account.email)
        if account.email != record.email:  # only the reply names the true e-mail
            moved = await self._deps.records.put(want.project_id, record.replace(email=account.email))
            await self._deps.records.drop(want.project_id, record)
            record = moved
        self._deps.propagation.begin(account.email, account.unique_id)
        return Executed(AccountSeen(account, record, followed=True, made=account.unique_id))

    async def _undelete(
        self, want: AccountWant, seen: AccountSeen, *, in_doubt: bool
    ) -> Executed[AccountSeen]:
        record = seen.known_record.replace(
            intent=AccountIntent.UNDELETE, appeared_time=self._deps.records.now()
        )
        await self._deps.records.put(want.project_id, record)
        self._deps.checkpoint("undelete recorded")

        async def undelete() -> ServiceAccount:
            return await self._deps.service_accounts.undelete(want.project_id, record.unique_id)

        async def find() -> ServiceAccount | None:
            return await self._read(want, record.unique_id)

        try:
            account = await written_or_found(undelete, find)
        except GoogleError as error:
            if error.undecided or error.fault not in _CANNOT_UNDELETE:
                raise
            if not in_doubt:
                refused = AccountSeen(None, record, undelete_refusal=error.message)
                return Executed(refused, written=False)
            self._deps.propagation.begin(record.email, record.unique_id)  # the one in doubt took effect
            return Executed(AccountSeen(None, record, made=record.unique_id), written=False)
        self._deps.checkpoint("account undeleted")
        self._deps.inventory.invalidate_account(want.project_id, record.email)
        self._deps.propagation.begin(record.email, account.unique_id)
        return Executed(AccountSeen(account, record, made=account.unique_id))

    # Changes of an account

    async def _update(self, want: AccountWant, seen: AccountSeen) -> AccountSeen:
        before, spec = seen.known_account, want.obj.spec
        await self._deps.service_accounts.patch(
            want.project_id, before.unique_id, display_name=spec.display_name, description=spec.description
        )
        after = updated_account(want, before)
        self._wrote(want, before, after)
        return replace(seen, account=after)

    async def _switch(self, want: AccountWant, seen: AccountSeen, *, disable: bool) -> AccountSeen:
        before = seen.known_account
        switch = self._deps.service_accounts.disable if disable else self._deps.service_accounts.enable
        await switch(want.project_id, before.unique_id)
        self._wrote(want, before, replace(before, disabled=disable))
        return await self._switched(want, seen, disable=disable)

    async def _switched(self, want: AccountWant, seen: AccountSeen, *, disable: bool) -> AccountSeen:
        account = replace(seen.known_account, disabled=disable)
        record = seen.known_record.replace(disabled=disable)
        return await self._put(want, replace(seen, account=account), record)

    async def _disable_before_delete(self, want: AccountWant, seen: AccountSeen) -> Executed[AccountSeen]:
        account = seen.known_account
        if not account.disabled:
            await self._deps.service_accounts.disable(want.project_id, account.unique_id)
            self._wrote(want, account, replace(account, disabled=True))
        self._deps.checkpoint("account disabled")
        return Executed(await self._record_disabling(want, seen), written=not account.disabled)

    async def _record_disabling(self, want: AccountWant, seen: AccountSeen) -> AccountSeen:
        record = seen.known_record.replace(disabled_time=self._deps.records.now(), disabled=True)
        account = replace(seen.known_account, disabled=True)
        return await self._put(want, replace(seen, account=account), record)

    async def _delete(self, want: AccountWant, seen: AccountSeen) -> Executed[AccountSeen]:
        self._deps.checkpoint("grants released")
        unique_id = seen.known_record.unique_id or seen.known_account.unique_id
        try:
            await self._deps.service_accounts.delete(want.project_id, unique_id)
        except GoogleError as error:
            if error.fault is not Fault.NOT_FOUND:
                raise
            self._deps.inventory.invalidate_account(want.project_id, want.email)
            misses = self._deps.propagation.missed(want.email)
            return Executed(replace(seen, account=None, not_found=True, misses=misses), written=False)
        self._deps.inventory.invalidate_account(want.project_id, want.email)
        self._deps.checkpoint("account deleted")
        return Executed(replace(seen, account=None, deleted=True))

    def _wrote(self, want: AccountWant, before: ServiceAccount, after: ServiceAccount) -> None:
        """Note what was sent: the reply echoes less, and a read may not show it yet."""
        self._deps.inventory.invalidate_account(want.project_id, before.email)
        self._deps.recent.wrote(before, after)
