"""The plan for the account of an object that is being deleted.

An account in use is not deleted. The deletion waits for a bounded time until nothing uses the account, and
leaves it otherwise. An unused account is disabled for a while first, if the spec says so. Grants are released
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
from cloudrun_identity.iam.principals import service_account_member
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

RESTORE_RECHECK = 3.0
"""Seconds until an account is looked at again while attachments restore the accounts of its workloads."""


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
    elif seen.users:
        yield from _keep_in_use(want, deletion, record, seen.users, now)
    elif not _deletes(want, record):
        yield ReleaseGrants(resource)
        yield ForgetAccount(resource)
    elif account is None and not record.unique_id:
        # Created a moment ago and not shown yet, or never created: to finish now could leave it behind.
        yield _not_shown(record)
    else:
        yield from _delete(want, deletion, record, account, now)


def _delete(
    want: AccountWant,
    deletion: AccountDeletion,
    record: LedgerAccount,
    account: ServiceAccount | None,
    now: datetime,
) -> Iterator[Step]:
    """Delete an account that is not in use, unless another client enabled it again before."""
    if _leaves_enabled(want, deletion, record, account, now):
        yield from _leave_behind(want, record, "another client enabled it again before it was deleted")
        return
    resource = want.target.full_name
    yield from _disable(want, record, account, now)
    yield ReleaseGrants(resource, ends=service_account_member(record.email))
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
        yield _enabled_again(want, record, since, now)
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


def _keep_in_use(
    want: AccountWant,
    deletion: AccountDeletion,
    record: LedgerAccount,
    users: tuple[str, ...],
    now: datetime,
) -> Iterator[Step]:
    """Wait until nothing uses the account, or leave it."""
    if _leaves_in_use(want, deletion, now):
        yield from _leave_behind(want, record, f"{some(users)} runs as it")
    else:
        yield _in_use(want, deletion, record, users, now)


def _leave_behind(want: AccountWant, record: LedgerAccount, why: str) -> Iterator[Step]:
    """Leave an account that is needed, with the grants that the object declares."""
    resource = want.target.full_name
    reason = f"left with its grants when CloudRunIdentity {want.owner} was deleted: {why}"
    yield ReleaseGrants(resource, abandon=True)
    yield LeaveBehind(resource, email=record.email, reason=reason)


def _leaves_in_use(want: AccountWant, deletion: AccountDeletion, now: datetime) -> bool:
    """Return whether an account in use is left: by force, or because the deletion has waited for long.

    A deletion that waited forever would block the deletion of a whole application, and an object of the same
    name could not take the account back.
    """
    if deletion.forced and not deletion.restoring:
        return True
    overdue = _overdue(want)
    return overdue is not None and now >= overdue


def _overdue(want: AccountWant) -> datetime | None:
    """Return when an account in use is left; None for an object without a time of deletion."""
    asked = want.obj.metadata.deletion_timestamp
    return asked + want.obj.spec.abandon_in_use_after.timedelta if asked else None


def _in_use(
    want: AccountWant,
    deletion: AccountDeletion,
    record: LedgerAccount,
    users: tuple[str, ...],
    now: datetime,
) -> Wait:
    restoring = f"; {some(deletion.restoring)} restores the former account" if deletion.restoring else ""
    overdue, left = _overdue(want), ""
    after = RESTORE_RECHECK if deletion.restoring else USE_RECHECK
    if overdue is not None:
        left = (
            f"; at {overdue:%Y-%m-%dT%H:%M:%SZ} it is left with its grants (spec.abandonInUseAfter), and an "
            "object of the same name can take it back"
        )
        after = min(after, max((overdue - now).total_seconds(), 0.1))
    message = (
        f"Service account {record.email} is not deleted while workloads run as it: {some(users)}"
        f"{restoring}; move them to another account, or set spec.deletionPolicy to Abandon{left}"
    )
    return Wait(Reason.IN_USE, message, after)


def _leaves_enabled(
    want: AccountWant,
    deletion: AccountDeletion,
    record: LedgerAccount,
    account: ServiceAccount | None,
    now: datetime,
) -> bool:
    """Return whether an account that was enabled again during `disableBeforeDelete` is left."""
    since = record.disabled_time
    if (
        since is None
        or account is None
        or account.disabled
        or not want.obj.spec.disable_before_delete.timedelta
    ):
        return False
    return deletion.forced or now >= _enabled_until(want, since)


def _enabled_until(want: AccountWant, since: datetime) -> datetime:
    """Return when an account that was disabled at a time and enabled again is left."""
    spec = want.obj.spec
    return since + spec.disable_before_delete.timedelta + spec.abandon_in_use_after.timedelta


def _enabled_again(want: AccountWant, record: LedgerAccount, since: datetime, now: datetime) -> Wait:
    overdue = _enabled_until(want, since)
    message = (
        f"Service account {record.email} was disabled to be deleted, and another client enabled it again; "
        "disable it, or set spec.deletionPolicy to Abandon to keep it or spec.disableBeforeDelete to 0s to "
        f"delete it now; at {overdue:%Y-%m-%dT%H:%M:%SZ} it is left with its grants (spec.abandonInUseAfter)"
    )
    return Wait(Reason.IN_USE, message, min(USE_RECHECK, max((overdue - now).total_seconds(), 0.1)))
