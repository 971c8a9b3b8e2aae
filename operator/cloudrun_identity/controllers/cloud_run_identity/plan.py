"""The plan for a service account: pure, from the declared account, the account as read and its record.

The record in the ledger decides whose an account is. Without a record the object creates the account, or
adopts one that exists already. A record without a unique id is a create whose effect is not certain yet. With
a unique id the account is managed, and what another client did to it is repaired or reported.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import TypeAlias, assert_never

from cloudrun_identity.api import (
    AccountIntent,
    AccountLoss,
    Adoption,
    LedgerAccount,
    Reason,
    WhenDeleted,
    WhenDisabled,
    WhenReplaced,
)
from cloudrun_identity.controllers.new_accounts import is_fresh
from cloudrun_identity.gcp.service_accounts import ServiceAccount
from cloudrun_identity.iam.admission import Denied
from cloudrun_identity.reconcile.outcomes import SHORTLY
from cloudrun_identity.reconcile.refusals import refusal
from cloudrun_identity.reconcile.steps import Change, Leave, Plan, Refuse, Wait

from .account import AccountSeen, AccountWant
from .account_records import adopted, lost, may_take_back, settled, taken_back, taken_over, withdrawn
from .actions import (
    AccountAction,
    AdoptAccount,
    CreateAccount,
    RecordLoss,
    RecordSwitch,
    RecordUses,
    RecreateAccount,
    RetryCreate,
    SettleAccount,
    SwitchAccount,
    TakeBackAccount,
    TakeOverAccount,
    UndeleteAccount,
    UpdateAccount,
    WithdrawCreate,
)
from .deletion import plan_deletion
from .propagation import GOOD_READS, read_again_after

Step: TypeAlias = AccountAction | Wait | Refuse | Leave

QUOTA_RECHECK = 300.0
"""Seconds until the operator tries again to create an account beyond its namespace's share."""

CREATED = Change("account", "absent", "created")
RECREATED = Change("account", "deleted", "recreated")
UNDELETED = Change("account", "deleted", "present")
TAKEN_BACK = Change("account", "left by a deleted object of this name", "taken back")
ADOPTED = Change("account", "exists already", "adopted")


def plan(want: AccountWant, seen: AccountSeen, now: datetime) -> Plan[AccountAction]:
    """Return the steps that take the account from `seen` to `want`."""
    if want.deletion is not None:
        return plan_deletion(want, want.deletion, seen, now)
    if want.denial:
        return Plan((Refuse.of(want.denial),))
    return Plan(tuple(_steps(want, seen, now)))


def _steps(want: AccountWant, seen: AccountSeen, now: datetime) -> Iterator[Step]:
    record, account = seen.record, seen.account
    if record is None:
        yield from _begin(want, seen)
    elif not record.unique_id:
        yield from _see_create_through(want, record, seen, now)
    elif account is None:
        yield from _bring_back(want, record, seen, now)
    elif account.unique_id != record.unique_id:
        yield from _replaced(want, record, account, seen, now)
    elif record.is_steady:
        yield from _record_uses(want, record, seen)
        yield from _keep(want, record, account)
    else:
        yield from _returned(want, record, account, seen, now)


# Without a unique id in the record


def _begin(want: AccountWant, seen: AccountSeen) -> Iterator[Step]:
    account = seen.account
    if seen.owned_by:
        message = f"Service account {want.email} is {seen.owned_by}"
        yield Refuse(Reason.CONFLICT, message, (ADOPTED if account else CREATED,))
    elif account and may_take_back(want, seen):
        yield TakeBackAccount(want.target.full_name, (TAKEN_BACK,))
        yield from _keep(want, taken_back(want, seen.known_left, account), account)
    elif account:
        yield from _adopt(want, account)
    elif seen.taken:
        yield _taken(want, CREATED)
    elif _exceeds_share(want, seen):
        yield Wait(Reason.QUOTA_EXCEEDED, _share_message(want), QUOTA_RECHECK, (CREATED,))
    else:
        yield CreateAccount(want.target.full_name, (CREATED,))
        yield from _then_switch(want, disabled=False)


def _exceeds_share(want: AccountWant, seen: AccountSeen) -> bool:
    """Return whether the account would take what is set aside for other namespaces."""
    return seen.budget is not None and not seen.budget().admits(want.obj.metadata.namespace)


def _share_message(want: AccountWant) -> str:
    return (
        f"Service account {want.email} is not created: namespace {want.obj.metadata.namespace} has used its "
        "share of the service accounts of the project; delete identities that are not in use, or ask the "
        "administrators of the project (guardrails.maxAccounts and guardrails.sharing)"
    )


def _adopt(want: AccountWant, account: ServiceAccount) -> Iterator[Step]:
    """Adopt an account that exists already, if the spec and the guardrails of the project say so."""
    if want.obj.spec.adoption is not Adoption.ADOPT:
        message = (
            f"Service account {account.email} exists already; set spec.adoption to Adopt to take it over, "
            "and list it in guardrails.adoptableAccounts of the ManagedProject"
        )
        yield Refuse(Reason.CONFLICT, message, (ADOPTED,))
    elif isinstance(want.adoption, Denied):
        yield Refuse.of(refusal(want.adoption, "spec.adoption"), ADOPTED)
    else:
        yield AdoptAccount(want.target.full_name, (ADOPTED,))
        yield from _keep(want, adopted(want, account), account)


def _see_create_through(
    want: AccountWant, record: LedgerAccount, seen: AccountSeen, now: datetime
) -> Iterator[Step]:
    """Settle an account whose create is recorded.

    A process that did not see the create succeed sends it again, which Google refuses if it did.
    """
    account, created = seen.account, (RECREATED if record.unique_ids else CREATED,)
    if account is None and not (seen.followed and is_fresh(record, now)):
        yield RetryCreate(want.target.full_name, created)
        yield from _then_switch(want, disabled=False)
    elif account is not None and not seen.is_created(record, account):
        yield WithdrawCreate(want.target.full_name)
        yield from _steps(want, AccountSeen(account, withdrawn(record)), now)
    elif account is None or seen.good_reads < GOOD_READS:
        yield propagating(record, now, *created, *_switch(want, disabled=False))
    else:
        yield SettleAccount(want.target.full_name, created)
        yield from _keep(want, settled(record, account), account)


def _then_switch(want: AccountWant, *, disabled: bool) -> Iterator[Step]:
    """Disable or enable an account that a step before brings about in the state `disabled`."""
    for change in _switch(want, disabled=disabled):
        yield SwitchAccount(want.target.full_name, (change,), disable=want.obj.spec.disabled)


# With a unique id in the record


def _bring_back(want: AccountWant, record: LedgerAccount, seen: AccountSeen, now: datetime) -> Iterator[Step]:
    """Undelete or recreate a missing account, unless it is too young for that to mean anything."""
    undeleting = record.intent is AccountIntent.UNDELETE
    unanswered = undeleting and not seen.made
    if is_fresh(record, now) and not unanswered:
        yield propagating(record, now)
        return
    resource, named = want.target.full_name, f"{record.email} (unique ID {record.unique_id})"
    match want.obj.spec.when_deleted:
        case WhenDeleted.UNDELETE if seen.undelete_refusal:
            yield from _record_loss(want, record, AccountLoss.DELETED)
            message = (
                f"Service account {named} was deleted and cannot be undeleted: {seen.undelete_refusal}; set "
                "spec.whenDeleted to Recreate, or delete this object"
            )
            yield Refuse(Reason.CONFLICT, message, (UNDELETED,))
        case WhenDeleted.UNDELETE:
            yield UndeleteAccount(resource, (UNDELETED,), in_doubt=undeleting and is_fresh(record, now))
            yield from _then_switch(want, disabled=record.disabled)
        case WhenDeleted.RECREATE if seen.taken:
            yield _taken(want, RECREATED)
        case WhenDeleted.RECREATE:
            yield RecreateAccount(resource, (RECREATED,))
            yield from _then_switch(want, disabled=False)
        case WhenDeleted.REPORT:
            yield from _record_loss(want, record, AccountLoss.DELETED)
            message = f"Service account {named} was deleted, which spec.whenDeleted: Report leaves as it is"
            yield Leave(message, (UNDELETED,), retains_grants=True)
        case never:
            assert_never(never)


def _replaced(
    want: AccountWant, record: LedgerAccount, account: ServiceAccount, seen: AccountSeen, now: datetime
) -> Iterator[Step]:
    """Refuse or take over an account that another client created in the place of a deleted one."""
    yield from _record_loss(want, record, AccountLoss.REPLACED)
    change = Change("account", f"replaced by unique ID {account.unique_id}", "taken over")
    match want.obj.spec.when_replaced:
        case WhenReplaced.REPORT:
            message = (
                f"Service account {record.email} was deleted and created again by another client (unique ID "
                f"{account.unique_id}, formerly {record.unique_id}); delete that account, set "
                "spec.whenReplaced to Regrant to take it over, which guardrails.adoptableAccounts must "
                "permit, or delete this object to release the account"
            )
            yield Refuse(
                Reason.CONFLICT, message, (Change("unique ID", account.unique_id, record.unique_id),)
            )
        case WhenReplaced.REGRANT if isinstance(want.adoption, Denied):
            yield Refuse.of(refusal(want.adoption, "spec.whenReplaced"), change)
        case WhenReplaced.REGRANT:
            if seen.good_reads < GOOD_READS:
                yield propagating(record, now, change)
            else:
                yield TakeOverAccount(want.target.full_name, (change,))
                yield from _keep(want, taken_over(record, account), account)
        case never:
            assert_never(never)


def _record_loss(want: AccountWant, record: LedgerAccount, loss: AccountLoss) -> Iterator[Step]:
    if lost(record, loss) != record:
        yield RecordLoss(want.target.full_name, loss=loss)


def _returned(
    want: AccountWant, record: LedgerAccount, account: ServiceAccount, seen: AccountSeen, now: datetime
) -> Iterator[Step]:
    """Settle an undeleted account once it is shown consistently; another client may have undeleted it."""
    keeping = tuple(_keep(want, settled(record, account), account))
    if seen.good_reads < GOOD_READS:
        yield propagating(record, now, *(change for step in keeping for change in step.changes))
    else:
        yield SettleAccount(want.target.full_name)
        yield from keeping


def _record_uses(want: AccountWant, record: LedgerAccount, seen: AccountSeen) -> Iterator[Step]:
    """Record the declared places of use, and drop those in which nothing uses the account."""
    declared, recorded = want.places(), frozenset(record.used_in)
    added = frozenset() if record.used_elsewhere else declared - recorded
    dropped = (seen.unused & recorded) - declared
    if added or dropped:
        yield RecordUses(want.target.full_name, added=added, dropped=dropped)


def _keep(want: AccountWant, record: LedgerAccount, account: ServiceAccount) -> Iterator[Step]:
    """Write the fields that differ from the spec."""
    spec, resource = want.obj.spec, want.target.full_name
    texts = tuple(
        Change(field, actual, declared)
        for field, declared, actual in (
            ("displayName", spec.display_name, account.display_name),
            ("description", spec.description, account.description),
        )
        if declared is not None and declared != actual
    )
    if texts:
        yield UpdateAccount(resource, texts)
    switch = _switch(want, disabled=account.disabled)
    if switch and record.disabled == spec.disabled and spec.when_disabled is WhenDisabled.REPORT:
        message = f"{switch[0]}, which spec.whenDisabled: Report leaves as it is"
        yield Leave(message, switch)
    elif switch:
        yield SwitchAccount(resource, switch, disable=spec.disabled)
    elif record.disabled != spec.disabled:
        yield RecordSwitch(resource, disabled=spec.disabled)


def _switch(want: AccountWant, *, disabled: bool) -> tuple[Change, ...]:
    declared = want.obj.spec.disabled
    if declared == disabled:
        return ()
    return (Change("disabled", str(disabled).lower(), str(declared).lower()),)


def propagating(record: LedgerAccount, now: datetime, *changes: Change) -> Wait:
    """Wait until Google shows the account consistently."""
    message = (
        f"Service account {record.email} exists; waiting until Google Cloud shows it consistently, which "
        "takes up to two minutes"
    )
    return Wait(Reason.PROPAGATION_PENDING, message, read_again_after(record, now), changes)


def _taken(want: AccountWant, change: Change) -> Wait:
    message = f"Another client has just created service account {want.email}; waiting until it can be read"
    return Wait(Reason.UPDATING, message, SHORTLY, (change,))
