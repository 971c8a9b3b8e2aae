"""Actions that the operator may take for a service account."""

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from cloudrun_identity.api import AccountLoss
from cloudrun_identity.kube.event_recorder import EventType
from cloudrun_identity.reconcile.steps import ABANDONED, Action, StepEvent

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
    """True if an undelete was recorded a moment ago, and its reply is unknown."""

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


@dataclass(frozen=True, slots=True)
class RecordUses(Action):
    """Record where workloads may run as the account, before the grants that permit it are made."""

    added: frozenset[str] = frozenset()
    """Places that an object declares."""
    dropped: frozenset[str] = frozenset()
    """Places that no object declares and in which nothing runs as the account."""


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
        return StepEvent(ABANDONED, message, EventType.WARNING)


RecordAction: TypeAlias = (
    WithdrawCreate
    | AdoptAccount
    | TakeBackAccount
    | TakeOverAccount
    | SettleAccount
    | RecordLoss
    | RecordSwitch
    | RecordUses
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
