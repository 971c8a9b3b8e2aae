"""Actions that take a custom role from what it is to what is declared."""

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from cloudrun_identity.kube.event_recorder import EventType
from cloudrun_identity.reconcile.steps import ABANDONED, Action, StepEvent


@dataclass(frozen=True, slots=True)
class CreateRole(Action):
    """Create the role."""

    verb: ClassVar[str] = "create"


@dataclass(frozen=True, slots=True)
class AdoptRole(Action):
    """Record a role that exists already as managed."""

    verb: ClassVar[str] = "adopt"
    only_records: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class TakeBackRole(Action):
    """Record a role that an object of the same namespace and name left as managed again."""

    verb: ClassVar[str] = "take back"
    only_records: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class ConfirmRole(Action):
    """Record that the creation of the role took effect."""


@dataclass(frozen=True, slots=True)
class UndeleteRole(Action):
    """Undelete a role that the operator deleted."""

    verb: ClassVar[str] = "undelete"


@dataclass(frozen=True, slots=True)
class UpdateRole(Action):
    """Write the fields that differ."""

    verb: ClassVar[str] = "update"


@dataclass(frozen=True, slots=True)
class DeleteRole(Action):
    """Delete the role. Google keeps it for some days, in which it can be undeleted."""

    verb: ClassVar[str] = "delete"


@dataclass(frozen=True, slots=True)
class RecordDeletion(Action):
    """Record that the operator deleted the role, so that it may undelete it later."""


@dataclass(frozen=True, slots=True)
class EndRecord(Action):
    """Base of the actions that end the management of a role that remains."""

    reason: str = ""
    """Reason for leaving a role that the spec asks to delete; empty if the spec does not ask for that."""

    @property
    def event(self) -> StepEvent | None:
        """Event about a role that is left because members hold it."""
        return StepEvent(ABANDONED, self.reason, EventType.WARNING) if self.reason else None


@dataclass(frozen=True, slots=True)
class LeaveRole(EndRecord):
    """Record that the role is left, and by which object."""


@dataclass(frozen=True, slots=True)
class ForgetRole(EndRecord):
    """Remove the record of the role."""


RoleAction: TypeAlias = (
    CreateRole
    | AdoptRole
    | TakeBackRole
    | ConfirmRole
    | UndeleteRole
    | UpdateRole
    | DeleteRole
    | RecordDeletion
    | LeaveRole
    | ForgetRole
)
