"""Deleting an identity: never under what runs as it, disabled for a while if asked, the account last."""

from dataclasses import replace
from datetime import datetime

from cloudrun_identity.api import (
    AccountLoss,
    CloudRunIdentity,
    DeletionProtection,
    IdentityDeletionPolicy,
    LedgerAccount,
    Origin,
    Reason,
)
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.mutations import log_mutation
from cloudrun_identity.gcp.service_accounts import ServiceAccount
from cloudrun_identity.reconcile.cluster_state import ClusterState
from cloudrun_identity.reconcile.events import EventReporter
from cloudrun_identity.reconcile.grants.release import Releaser
from cloudrun_identity.reconcile.outcomes import InSync, Outcome, Waiting

from .account_dependencies import AccountDependencies, AccountSeen, propagating
from .account_records import AccountOwner
from .accounts import Accounts
from .usage import SHARED, Usage

LOOK_AGAIN = 15.0
"""Seconds until what runs as the identity is looked at again: nothing tells us when it stops to."""

_NAMED = 3


class IdentityDeletion:
    """Undoes what was done for an identity."""

    def __init__(
        self,
        deps: AccountDependencies,
        accounts: Accounts,
        usage: Usage,
        releaser: Releaser,
        event_reporter: EventReporter,
    ) -> None:
        self._deps = deps
        self._accounts = accounts
        self._usage = usage
        self._releaser = releaser
        self._event_reporter = event_reporter

    async def delete(self, obj: CloudRunIdentity, cluster: ClusterState, *, abandon: bool) -> Outcome:
        """One step of it; InSync once nothing is left to undo. `abandon` leaves Google Cloud as it is."""
        record = cluster.account(obj)
        home = self._deps.records.home(f"{obj.metadata.namespace}/{obj.metadata.name}")
        if record is None or home is None:
            return await self._releaser.release(obj, abandon=abandon)
        owner = AccountOwner(obj, home.project_id)
        if abandon or obj.spec.deletion_policy is IdentityDeletionPolicy.ABANDON:
            return await self._release(owner, record, abandon=True)
        seen = await self._accounts.look(owner.project_id, record.email, record, max_age=0.0)
        if seen.account and not self._is_ours(record, seen.account):
            return await self._give_up(owner, record, seen.account)
        if seen.account is None and not seen.lagging:
            return await self._release(owner, record)
        if obj.spec.deletion_protection is DeletionProtection.WHILE_IN_USE:
            age = self._accepted_age(obj)
            users = await self._usage.users(obj, record.email, owner.project_id, cluster, age)
            if users and not (obj.is_force_deleted or cluster.is_terminating(obj.metadata.namespace)):
                return _in_use(record, users)
            if users:
                return await self._leave_behind(owner, record, users[0])
        if not _is_to_go(obj, record):
            return await self._release(owner, record)
        return await self._end(owner, record, seen)

    def _accepted_age(self, obj: CloudRunIdentity) -> float:
        """How old lists of workloads may be: what was deployed before the deletion must be in them."""
        asked = obj.metadata.deletion_timestamp
        waited = (self._deps.records.now() - asked).total_seconds() if asked else _LONG
        return SHARED if waited >= _LONG else 0.0

    async def _end(self, owner: AccountOwner, record: LedgerAccount, seen: AccountSeen) -> Outcome:
        """Take the account away, after the time that it is to be disabled before."""
        if seen.account is None and not record.unique_id:
            # Made a moment ago and hidden by lag, or never made: to finish now could leave it behind.
            return propagating(record.email, None).outcome
        waiting = await self._disable(owner, record, seen.account)
        if waiting:
            return waiting
        released = await self._releaser.release(owner.obj, abandon=False)
        if not isinstance(released, InSync):
            return released
        self._deps.checkpoint("grants released")
        await self._delete_account(owner, record, seen.account)
        self._deps.checkpoint("account deleted")
        return await self._forget(owner, record)

    async def _disable(
        self, owner: AccountOwner, record: LedgerAccount, account: ServiceAccount | None
    ) -> Outcome | None:
        """Have the account disabled for `disableBeforeDelete`; None once that has been so long enough."""
        period = owner.obj.spec.disable_before_delete.timedelta
        if not period or account is None:
            return None
        disabled_at = record.disabled_time
        if disabled_at is None:
            if not account.disabled:
                await self._deps.service_accounts.disable(owner.project_id, account.unique_id)
                self._deps.inventory.invalidate_account(owner.project_id, record.email)
                self._deps.recent.wrote(account, replace(account, disabled=True))
                name = owner.target(record.email).full_name
                log_mutation("switch", name, before="enabled", after="disabled, to be deleted")
            self._deps.checkpoint("account disabled")
            disabled_at = self._deps.records.now()
            await self._deps.records.put(owner, record.replace(disabled_time=disabled_at, disabled=True))
        elif not account.disabled:
            return _enabled_again(record)
        until = disabled_at + period
        left = (until - self._deps.records.now()).total_seconds()
        return _disabled(record, until, left) if left > 0 else None

    async def _delete_account(
        self, owner: AccountOwner, record: LedgerAccount, account: ServiceAccount | None
    ) -> None:
        unique_id = record.unique_id or (account.unique_id if account else "")
        try:
            await self._deps.service_accounts.delete(owner.project_id, unique_id)
        except GoogleError as error:
            if error.fault is not Fault.NOT_FOUND:
                raise
            return
        self._deps.inventory.invalidate_account(owner.project_id, record.email)
        log_mutation("delete", owner.target(record.email).full_name, before="present", after="deleted")

    def _is_ours(self, record: LedgerAccount, account: ServiceAccount) -> bool:
        if record.unique_id:
            return account.unique_id == record.unique_id
        return self._accounts.made(record, account)

    async def _give_up(self, owner: AccountOwner, record: LedgerAccount, account: ServiceAccount) -> Outcome:
        """Leave somebody else's account of the same e-mail alone, with its policy."""
        await self._deps.records.put(owner, record.replace(lost=AccountLoss.REPLACED))
        outcome = await self._release(owner, record)
        if isinstance(outcome, InSync):
            message = (
                f"account {record.email} (unique ID {account.unique_id}) is left: it is not the one that was "
                "declared here"
            )
            self._event_reporter.warn(owner.obj, "Replaced", message)
        return outcome

    async def _leave_behind(self, owner: AccountOwner, record: LedgerAccount, user: str) -> Outcome:
        """Let go by force of an account in use, and keep in mind that it was left."""
        released = await self._releaser.release(owner.obj, abandon=True)
        if not isinstance(released, InSync):
            return released
        reason = f"left with its grants when CloudRunIdentity {owner.name} was deleted: {user} runs as it"
        self._event_reporter.warn(owner.obj, "Abandoned", f"account {record.email} is {reason}")
        await self._deps.records.leave_behind(owner, record, reason)
        self._deps.propagation.end(record.email)
        return InSync()

    async def _release(self, owner: AccountOwner, record: LedgerAccount, *, abandon: bool = False) -> Outcome:
        """Release the grants, or with `abandon` leave them, and forget the account."""
        released = await self._releaser.release(owner.obj, abandon=abandon)
        return await self._forget(owner, record) if isinstance(released, InSync) else released

    async def _forget(self, owner: AccountOwner, record: LedgerAccount) -> Outcome:
        await self._deps.records.drop(owner, record.email)
        self._deps.propagation.end(record.email)
        return InSync()


def _is_to_go(obj: CloudRunIdentity, record: LedgerAccount) -> bool:
    match obj.spec.deletion_policy:
        case IdentityDeletionPolicy.DELETE:
            return True
        case IdentityDeletionPolicy.DELETE_IF_CREATED:
            return record.origin is Origin.CREATED
        case IdentityDeletionPolicy.ABANDON:
            return False


def _in_use(record: LedgerAccount, users: list[str]) -> Outcome:
    more = f" and {len(users) - _NAMED} more" if len(users) > _NAMED else ""
    return Waiting(
        Reason.IN_USE,
        f"account {record.email} is not deleted while workloads run as it: "
        f"{', '.join(users[:_NAMED])}{more}; move them to another account, or set spec.deletionPolicy "
        "to Abandon",
        after=LOOK_AGAIN,
    )


def _disabled(record: LedgerAccount, until: datetime, left: float) -> Outcome:
    return Waiting(
        Reason.DELETING,
        f"account {record.email} is disabled until {until:%Y-%m-%dT%H:%M:%SZ} (spec.disableBeforeDelete) and "
        "deleted then; to keep it, set spec.deletionPolicy to Abandon and enable it",
        after=min(left, _AT_MOST),
    )


def _enabled_again(record: LedgerAccount) -> Outcome:
    return Waiting(
        Reason.IN_USE,
        f"account {record.email} was disabled to be deleted, and somebody has enabled it again; disable it, "
        "or set spec.deletionPolicy to Abandon to keep it or spec.disableBeforeDelete to 0s to delete it now",
        after=LOOK_AGAIN,
    )


_LONG = SHARED + 3.0  # seconds, with some for clocks that differ

_AT_MOST = 3600.0  # seconds; a longer wait might rely on a clock that was set meanwhile
