"""The plan for the account of an object that is being deleted.

An account in use is not deleted. It is disabled for a while first, if the spec says so. Grants are released
before the account is deleted, and the record is removed last.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import TypeAlias

from cloudrun_identity.api import (
    AccountLoss,
    DeletionProtection,
    IdentityDeletionPolicy,
    LedgerAccount,
    Origin,
    Reason,
)
from cloudrun_identity.gcp.service_accounts import ServiceAccount
from cloudrun_identity.iam.wording import some
from cloudrun_identity.reconcile.steps import Change, Plan, ReleaseGrants, Wait

from .account import AccountDeletion, AccountSeen, AccountWant
from .actions import (
    AccountAction,
    DeleteAccount,
    DisableBeforeDelete,
    ForgetAccount,
    LeaveBehind,
    RecordLoss,
)
from .propagation import BETWEEN_READS, GONE_AFTER

USE_RECHECK = 15.0
"""Seconds until an account in use is looked at again: no event reports that a workload stopped using it."""


_AT_MOST = 3600.0  # seconds; a longer wait could rely on a clock that was set meanwhile

Step: TypeAlias = AccountAction | ReleaseGrants | Wait


def plan_deletion(
    want: AccountWant, deletion: AccountDeletion, seen: AccountSeen, now: datetime
) -> Plan[AccountAction]:
    """Return the steps that undo what was done for the object."""
    record = seen.record
    return Plan() if record is None else Plan(tuple(_steps(want, deletion, record, seen, now)))


def asks_for_users(want: AccountWant, seen: AccountSeen, now: datetime) -> bool:
    """Return whether the plan depends on the workloads that run as the account."""
    deletion, record = want.deletion, seen.record
    if deletion is None or deletion.abandon or record is None:
        return False
    if want.obj.spec.deletion_protection is not DeletionProtection.WHILE_IN_USE:
        return False
    return seen.is_lagging(now) if seen.account is None else _is_managed(record, seen.account, seen)


def _steps(
    want: AccountWant, deletion: AccountDeletion, record: LedgerAccount, seen: AccountSeen, now: datetime
) -> Iterator[Step]:
    resource, account = want.target.full_name, seen.account
    if deletion.abandon:
        yield ReleaseGrants(resource, abandon=True)
        made = record.origin is Origin.CREATED and record.unique_id
        yield LeaveBehind(resource, email=record.email) if made else ForgetAccount(resource)
    elif account and not _is_managed(record, account, seen):
        if record.lost is not AccountLoss.REPLACED:  # its policy is left as it is when grants are released
            yield RecordLoss(resource, loss=AccountLoss.REPLACED)
        yield ReleaseGrants(resource)
        yield ForgetAccount(resource, is_deleted=True, replacement=account.unique_id, email=record.email)
    elif seen.deleted or (account is None and not _may_exist(seen, now)):
        yield ReleaseGrants(resource)
        yield ForgetAccount(resource, is_deleted=True)
    elif seen.not_found:
        yield ReleaseGrants(resource)
        yield _not_shown(record)
    elif seen.users and deletion.forced:
        reason = (
            f"left with its grants when CloudRunIdentity {want.owner} was deleted: {seen.users[0]} runs as it"
        )
        yield ReleaseGrants(resource, abandon=True)
        yield LeaveBehind(resource, email=record.email, reason=reason)
    elif seen.users:
        yield _in_use(record, seen.users)
    elif not _deletes(want, record):
        yield ReleaseGrants(resource)
        yield ForgetAccount(resource)
    elif account is None and not record.unique_id:
        # Created a moment ago and not shown yet, or never created: to finish now could leave it behind.
        yield _not_shown(record)
    else:
        yield from _disable(want, record, account, now)
        yield ReleaseGrants(resource)
        yield DeleteAccount(resource, (Change("account", "present", "deleted"),))
        yield ForgetAccount(resource, is_deleted=True)


def _disable(
    want: AccountWant, record: LedgerAccount, account: ServiceAccount | None, now: datetime
) -> Iterator[Step]:
    """Disable the account for `disableBeforeDelete`, and wait until that time is over."""
    period = want.obj.spec.disable_before_delete.timedelta
    if not period or account is None:
        return
    since = record.disabled_time
    if since is None:
        since = now.replace(microsecond=0)
        change = Change("disabled", "false", "true")
        yield DisableBeforeDelete(want.target.full_name, () if account.disabled else (change,))
    elif not account.disabled:
        yield _enabled_again(record)
    until = since + period
    left = (until - now).total_seconds()
    if left > 0:
        message = (
            f"Service account {record.email} is disabled until {until:%Y-%m-%dT%H:%M:%SZ} "
            "(spec.disableBeforeDelete) and deleted then; to keep it, set spec.deletionPolicy to Abandon and "
            "enable it"
        )
        yield Wait(Reason.DELETING, message, min(left, _AT_MOST))


def _may_exist(seen: AccountSeen, now: datetime) -> bool:
    """Return whether an account that Google Cloud does not show may still exist.

    For seconds, one replica of Google's API knows a fresh account while another answers 404, to a delete as
    to a read. Several deletes in a row that find nothing are an answer.
    """
    return seen.is_lagging(now) and seen.misses < GONE_AFTER


def _not_shown(record: LedgerAccount) -> Wait:
    message = f"Waiting until Google Cloud shows service account {record.email} consistently, to delete it"
    return Wait(Reason.PROPAGATION_PENDING, message, BETWEEN_READS)


def _is_managed(record: LedgerAccount, account: ServiceAccount, seen: AccountSeen) -> bool:
    if record.unique_id:
        return account.unique_id == record.unique_id
    return seen.is_created(record, account)


def _deletes(want: AccountWant, record: LedgerAccount) -> bool:
    """Return whether the deletion policy deletes an account of this origin."""
    match want.obj.spec.deletion_policy:
        case IdentityDeletionPolicy.DELETE:
            return True
        case IdentityDeletionPolicy.DELETE_IF_CREATED:
            return record.origin is Origin.CREATED
        case IdentityDeletionPolicy.ABANDON:
            return False


def _in_use(record: LedgerAccount, users: tuple[str, ...]) -> Wait:
    message = (
        f"Service account {record.email} is not deleted while workloads run as it: "
        f"{some(users)}; move them to another account, or set spec.deletionPolicy to Abandon"
    )
    return Wait(Reason.IN_USE, message, USE_RECHECK)


def _enabled_again(record: LedgerAccount) -> Wait:
    message = (
        f"Service account {record.email} was disabled to be deleted, and another client enabled it again; "
        "disable it, or set spec.deletionPolicy to Abandon to keep it or spec.disableBeforeDelete to 0s to "
        "delete it now"
    )
    return Wait(Reason.IN_USE, message, USE_RECHECK)
