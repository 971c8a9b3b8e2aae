"""A service account as declared and as seen, and the actions that the operator may take for it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, TypeAlias

from cloudrun_identity.api import (
    AccountLoss,
    AccountText,
    CloudRunIdentity,
    LedgerAccount,
)
from cloudrun_identity.gcp.service_accounts import ServiceAccount
from cloudrun_identity.iam.admission import Admitted, Decision
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.shares import Budget
from cloudrun_identity.kube.event_recorder import EventType
from cloudrun_identity.reconcile.outcomes import Refused
from cloudrun_identity.reconcile.steps import Action, StepEvent

from .propagation import is_fresh

_ADMITTED = Admitted()


@dataclass(frozen=True, slots=True)
class AccountDeletion:
    """The deletion of the object that declares the account."""

    abandon: bool = False
    """True to leave the account and its grants as they are."""
    forced: bool = False
    """True to leave an account in use behind, instead of waiting until it is not used any more."""


@dataclass(frozen=True, slots=True)
class AccountWant:
    """The account as declared, or its deletion."""

    obj: CloudRunIdentity
    project_id: str
    """Id of the Google Cloud project that has the account."""
    email: str
    """E-mail of the account: as recorded, otherwise as expected."""
    adoption: Decision = _ADMITTED
    """Decision of the project's guardrails on the adoption of an account with this e-mail."""
    denial: Refused | None = None
    """Refusal by the guardrails, whatever Google Cloud shows: nothing is read for the account then."""
    deletion: AccountDeletion | None = None
    """Set if the object is being deleted."""

    @property
    def owner(self) -> str:
        """The object as records name it: `namespace/name`."""
        return f"{self.obj.metadata.namespace}/{self.obj.metadata.name}"

    @property
    def target(self) -> Target:
        """The account as the resource of an IAM policy."""
        return Target.service_account(self.project_id, self.email)

    @property
    def text(self) -> AccountText:
        """Display name and description to create the account with.

        A description that the spec leaves open names the object's UID. A create has no key by which a lost
        reply could be asked for, so this text identifies an account that the operator created.
        """
        spec = self.obj.spec
        # Google accepts 256 bytes; the longest name of an object has 253.
        named = f"CloudRunIdentity {self.owner}"[:200]
        return AccountText(
            display_name=spec.display_name or "",
            description=spec.description
            if spec.description is not None
            else f"{named}, {self.obj.metadata.uid}",
        )


@dataclass(frozen=True, slots=True)
class AccountSeen:
    """The account as read, its record in the ledger, and the facts that only this process knows."""

    account: ServiceAccount | None
    """The account; None if Google does not show it."""
    record: LedgerAccount | None = None
    """Record of the object's account in the ledger of the account's policy."""
    left: LedgerAccount | None = None
    """Record of an account of the e-mail that an object left; None if there is none."""
    owned_by: str = ""
    """Another object that the ledger records as the owner of the e-mail, with a remedy; empty if none."""
    good_reads: int = 0
    """Reads in a row that showed the account with its unique id."""
    followed: bool = False
    """True if this process knows that the recorded create took effect."""
    made: str = ""
    """Unique id in the reply to a create or undelete of this process; empty if there was none."""
    taken: bool = False
    """True if a create of this reconcile was refused because the e-mail exists."""
    undelete_refusal: str = ""
    """Message of Google that refused an undelete of this reconcile; empty if none did."""
    users: tuple[str, ...] = ()
    """Workloads that run as the account, and places that cannot be read, for a deletion."""
    deleted: bool = False
    """True if this reconcile deleted the account by its unique id."""
    not_found: bool = False
    """True if Google did not find the account when this reconcile deleted it."""
    misses: int = 0
    """Deletes in a row that did not find the account, without a read that showed it in between."""
    budget: Callable[[], Budget] | None = None
    """Returns the current number of accounts per namespace, for an account that may be created."""

    @property
    def known_account(self) -> ServiceAccount:
        """The account, for an action that needs one; raises ValueError if there is none."""
        if self.account is None:
            raise ValueError("the action needs an account")
        return self.account

    @property
    def known_left(self) -> LedgerAccount:
        """The record of the left account, for an action on it; raises ValueError if there is none."""
        if self.left is None:
            raise ValueError("the action needs the record of a left account")
        return self.left

    @property
    def known_record(self) -> LedgerAccount:
        """The record, for an action that needs one; raises ValueError if there is none."""
        if self.record is None:
            raise ValueError("the action needs a record")
        return self.record

    def is_lagging(self, now: datetime) -> bool:
        """Return whether the account is so young that a read which does not show it proves nothing."""
        return self.account is None and self.record is not None and is_fresh(self.record, now)

    def is_created(self, record: LedgerAccount, account: ServiceAccount) -> bool:
        """Return whether the account is the one that the recorded create made."""
        if self.made:
            return account.unique_id == self.made
        return record.sent == AccountText(display_name=account.display_name, description=account.description)


# Actions that bring the account about


@dataclass(frozen=True, slots=True)
class CreateAccount(Action):
    """Record the intent, then create the account."""

    verb: ClassVar[str] = "create"


@dataclass(frozen=True, slots=True)
class RetryCreate(Action):
    """Send the recorded create again, word for word: it is unknown whether the first one took effect."""

    verb: ClassVar[str] = "create"


@dataclass(frozen=True, slots=True)
class RecreateAccount(Action):
    """Create another account with the e-mail of a deleted one."""

    verb: ClassVar[str] = "create"


@dataclass(frozen=True, slots=True)
class WithdrawCreate(Action):
    """Remove the intent to create from the record: another client created an account of this e-mail."""


@dataclass(frozen=True, slots=True)
class AdoptAccount(Action):
    """Record an account that exists already as managed."""

    verb: ClassVar[str] = "adopt"
    only_records: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class TakeBackAccount(Action):
    """Record an account that an object of the same namespace and name left as managed again."""

    verb: ClassVar[str] = "take back"
    only_records: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class UndeleteAccount(Action):
    """Undelete an account that another client deleted."""

    in_doubt: bool = False
    """True if an undelete was recorded a moment ago whose reply is unknown."""

    verb: ClassVar[str] = "undelete"


@dataclass(frozen=True, slots=True)
class TakeOverAccount(Action):
    """Record an account that replaced a managed one as managed, and grant it everything declared."""

    verb: ClassVar[str] = "take over"


@dataclass(frozen=True, slots=True)
class SettleAccount(Action):
    """Complete the record of an account that reads show consistently: dependent objects may use it."""


@dataclass(frozen=True, slots=True)
class RecordLoss(Action):
    """Record that another client deleted or replaced the account: nothing is granted to it or on it."""

    loss: AccountLoss = AccountLoss.DELETED


# Actions that keep the account as declared


@dataclass(frozen=True, slots=True)
class UpdateAccount(Action):
    """Write the display name and the description that the spec declares."""

    verb: ClassVar[str] = "update"


@dataclass(frozen=True, slots=True)
class SwitchAccount(Action):
    """Disable or enable the account."""

    disable: bool = False

    verb: ClassVar[str] = "switch"


@dataclass(frozen=True, slots=True)
class RecordSwitch(Action):
    """Record that the account is disabled or enabled as declared."""

    disabled: bool = False


# Actions of a deletion


@dataclass(frozen=True, slots=True)
class DisableBeforeDelete(Action):
    """Disable the account, and record since when it is."""

    verb: ClassVar[str] = "disable"


@dataclass(frozen=True, slots=True)
class DeleteAccount(Action):
    """Delete the account of the recorded unique id."""

    verb: ClassVar[str] = "delete"


@dataclass(frozen=True, slots=True)
class ForgetAccount(Action):
    """Remove the record of the account."""

    is_deleted: bool = False
    """True if the account does not exist any more, so that no grant on it is present."""
    replacement: str = ""
    """Unique id of an account that replaced the managed one, and is left; empty if none did."""
    email: str = ""
    """E-mail of that account."""

    @property
    def event(self) -> StepEvent | None:
        """Event about an account that is left because the operator does not manage it."""
        if not self.replacement:
            return None
        message = (
            f"Service account {self.email} (unique ID {self.replacement}) is left as it is: another client "
            "created it in the place of the one that this object declared"
        )
        return StepEvent("Replaced", message, EventType.WARNING)


@dataclass(frozen=True, slots=True)
class LeaveBehind(Action):
    """Keep the record of an account that a deletion leaves, without an owner."""

    email: str = ""
    reason: str = ""
    """Reason for the status of the ManagedProject; empty if the spec asks to leave the account."""

    @property
    def event(self) -> StepEvent | None:
        """Event about an account in use that a forced deletion leaves."""
        if not self.reason:
            return None
        message = f"Service account {self.email} is {self.reason}"
        return StepEvent("Abandoned", message, EventType.WARNING)


RecordAction: TypeAlias = (
    WithdrawCreate
    | AdoptAccount
    | TakeBackAccount
    | TakeOverAccount
    | SettleAccount
    | RecordLoss
    | RecordSwitch
    | ForgetAccount
    | LeaveBehind
)
"""An action on the record alone, without a call to Google Cloud."""

AccountAction: TypeAlias = (
    CreateAccount
    | RetryCreate
    | RecreateAccount
    | UndeleteAccount
    | UpdateAccount
    | SwitchAccount
    | DisableBeforeDelete
    | DeleteAccount
    | RecordAction
)
"""An action for an account."""
