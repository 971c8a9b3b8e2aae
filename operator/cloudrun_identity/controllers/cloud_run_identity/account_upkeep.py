"""A steady account: kept as declared, and what is done about what somebody else did to it."""

from dataclasses import replace
from typing import assert_never

from cloudrun_identity.api import (
    AccountIntent,
    AccountLoss,
    LedgerAccount,
    Origin,
    Reason,
    WhenDeleted,
    WhenDisabled,
    WhenReplaced,
)
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.mutations import log_mutation
from cloudrun_identity.gcp.service_accounts import ServiceAccount
from cloudrun_identity.reconcile.interfaces import Applied, Change
from cloudrun_identity.reconcile.outcomes import InSync, Paused, Refused

from .account_creation import AccountCreation
from .account_dependencies import AccountDependencies, AccountSeen, propagating
from .account_records import AccountOwner


class AccountUpkeep:
    """Keeps accounts, and brings them back; raises GoogleError."""

    def __init__(self, deps: AccountDependencies, creation: AccountCreation) -> None:
        self._deps = deps
        self._creation = creation

    async def keep(
        self, owner: AccountOwner, record: LedgerAccount, seen: ServiceAccount | None
    ) -> Applied[AccountSeen]:
        """Put right what differs, or one step of it."""
        if seen is None:
            return await self._missing(owner, record)
        if seen.unique_id != record.unique_id:
            return await self._replaced(owner, record, seen)
        if record.is_steady:
            return await self.update(owner, record, seen)
        return await self._returned(owner, record, seen)

    async def update(
        self, owner: AccountOwner, record: LedgerAccount, seen: ServiceAccount
    ) -> Applied[AccountSeen]:
        """Write the fields that differ, each by its own call."""
        described = await self._describe(owner, seen)
        wanted = owner.obj.spec.disabled
        if seen.disabled != wanted and record.disabled == wanted and _leaves_switch(owner):
            change = Change("disabled", str(seen.disabled).lower(), str(wanted).lower())
            message = f"{change}, which spec.whenDisabled: Report leaves as it is"
            return Applied(Paused(Reason.DRIFT_DETECTED, message), AccountSeen(described), left=(change,))
        switched = await self._switch(owner, described, disabled=wanted)
        await self._deps.records.put(owner, record.replace(disabled=wanted))
        return Applied(InSync(), AccountSeen(switched))

    async def _missing(self, owner: AccountOwner, record: LedgerAccount) -> Applied[AccountSeen]:
        propagation = self._deps.propagation
        propagation.read(record.email, "")
        is_unanswered = record.intent is AccountIntent.UNDELETE and not propagation.made(record.email)
        if propagation.is_fresh(record.email) and not is_unanswered:
            return propagating(record.email, None)
        match owner.obj.spec.when_deleted:
            case WhenDeleted.UNDELETE:
                return await self._undelete(owner, record)
            case WhenDeleted.RECREATE:
                return await self._creation.anew(owner, record)
            case WhenDeleted.REPORT:
                await self._lose(owner, record, AccountLoss.DELETED)
                message = (
                    f"account {record.email} (unique ID {record.unique_id}) was deleted, which "
                    "spec.whenDeleted: Report leaves as it is"
                )
                return Applied(Paused(Reason.DRIFT_DETECTED, message), AccountSeen(None), retains=True)
            case _:
                assert_never(owner.obj.spec.when_deleted)

    async def _undelete(self, owner: AccountOwner, record: LedgerAccount) -> Applied[AccountSeen]:
        deps, email = self._deps, record.email
        may_be_done = record.intent is AccountIntent.UNDELETE and deps.propagation.is_fresh(email)
        intended = record.replace(intent=AccountIntent.UNDELETE, appeared_time=deps.records.now())
        await deps.records.put(owner, intended)
        deps.checkpoint("undelete recorded")
        try:
            account = await deps.service_accounts.undelete(owner.project_id, record.unique_id)
        except GoogleError as error:
            if error.fault not in (Fault.NOT_FOUND, Fault.FAILED_PRECONDITION, Fault.ALREADY_EXISTS):
                raise
            if may_be_done:  # by a process that did not live to hear so
                deps.propagation.begin(email, record.unique_id)
                return propagating(email, None)
            await self._lose(owner, record, AccountLoss.DELETED)
            message = (
                f"account {email} (unique ID {record.unique_id}) was deleted and cannot be undeleted: "
                f"{error.message}; set spec.whenDeleted to Recreate, or delete this object"
            )
            return Applied(Refused(Reason.CONFLICT, message), AccountSeen(None))
        deps.checkpoint("account undeleted")
        deps.inventory.invalidate_account(owner.project_id, email)
        log_mutation("undelete", owner.target(email).full_name, before="deleted", after="present")
        deps.propagation.begin(email, account.unique_id)
        return propagating(email, account)

    async def _replaced(
        self, owner: AccountOwner, record: LedgerAccount, seen: ServiceAccount
    ) -> Applied[AccountSeen]:
        lost = await self._lose(owner, record, AccountLoss.REPLACED)
        match owner.obj.spec.when_replaced:
            case WhenReplaced.REPORT:
                message = (
                    f"account {record.email} was deleted and created anew by somebody else (unique ID "
                    f"{seen.unique_id}, ours was {record.unique_id}); delete that account, set "
                    "spec.whenReplaced to Regrant to take it over, or delete this object to give it up"
                )
                return Applied(Refused(Reason.CONFLICT, message), AccountSeen(seen))
            case WhenReplaced.REGRANT:
                taken = lost.replace(origin=Origin.ADOPTED, disabled=seen.disabled)
                return await self._returned(owner, taken, seen)
            case _:
                assert_never(owner.obj.spec.when_replaced)

    async def _returned(
        self, owner: AccountOwner, record: LedgerAccount, seen: ServiceAccount
    ) -> Applied[AccountSeen]:
        """Let dependants go again once the account is seen steadily."""
        if not self._deps.propagation.read(record.email, seen.unique_id):
            return propagating(record.email, seen)
        self._deps.propagation.end(record.email)
        settled = await self._deps.records.settle(owner, record, seen)
        self._deps.checkpoint("account settled")
        if seen.unique_id != record.unique_id:
            name = owner.target(record.email).full_name
            log_mutation("take over", name, before=record.unique_id, after=seen.unique_id)
        return await self.update(owner, settled, seen)

    async def _lose(self, owner: AccountOwner, record: LedgerAccount, loss: AccountLoss) -> LedgerAccount:
        """Record what became of the account, so that nothing is granted to it or on it meanwhile."""
        return await self._deps.records.put(owner, record.replace(intent=None, lost=loss, appeared_time=None))

    async def _describe(self, owner: AccountOwner, seen: ServiceAccount) -> ServiceAccount:
        spec = owner.obj.spec
        wanted = replace(
            seen,
            display_name=spec.display_name if spec.display_name is not None else seen.display_name,
            description=spec.description if spec.description is not None else seen.description,
        )
        if wanted == seen:
            return seen
        await self._deps.service_accounts.patch(
            owner.project_id, seen.unique_id, display_name=spec.display_name, description=spec.description
        )
        before, after = (f"{each.display_name!r}, {each.description!r}" for each in (seen, wanted))
        log_mutation("patch", owner.target(seen.email).full_name, before=before, after=after)
        return self._wrote(owner, seen, wanted)

    async def _switch(self, owner: AccountOwner, seen: ServiceAccount, *, disabled: bool) -> ServiceAccount:
        if seen.disabled == disabled:
            return seen
        service_accounts = self._deps.service_accounts
        switch = service_accounts.disable if disabled else service_accounts.enable
        await switch(owner.project_id, seen.unique_id)
        words = {True: "disabled", False: "enabled"}
        name = owner.target(seen.email).full_name
        log_mutation("switch", name, before=words[seen.disabled], after=words[disabled])
        return self._wrote(owner, seen, replace(seen, disabled=disabled))

    def _wrote(self, owner: AccountOwner, before: ServiceAccount, after: ServiceAccount) -> ServiceAccount:
        """What was sent counts: the reply echoes less, and a read may not show it yet."""
        self._deps.inventory.invalidate_account(owner.project_id, before.email)
        self._deps.recent.wrote(before, after)
        return after


def _leaves_switch(owner: AccountOwner) -> bool:
    return owner.obj.spec.when_disabled is WhenDisabled.REPORT
