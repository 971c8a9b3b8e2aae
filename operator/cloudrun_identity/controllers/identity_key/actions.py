"""Actions of a key plan. None of them holds a private key."""

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from cloudrun_identity.iam.listed_keys import ListedKey
from cloudrun_identity.kube.event_recorder import EventType
from cloudrun_identity.reconcile.steps import Action, StepEvent


@dataclass(frozen=True, slots=True)
class CreateKey(Action):
    """Create a key."""

    verb: ClassVar[str] = "create"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishKey(Action):
    """Put the key into the Secret."""

    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PromoteKey(Action):
    """Record that the key in the Secret is the active one."""

    key_id: str
    secret_name: str

    @property
    def event(self) -> StepEvent | None:
        """Event about the key that the Secret has now."""
        return StepEvent("KeyPublished", f"Secret {self.secret_name} has key {self.key_id}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DisableKey(Action):
    """Disable the key."""

    verb: ClassVar[str] = "disable"

    key_id: str
    warning: str = ""
    """Message about a former key that may be in use. Otherwise empty."""

    @property
    def event(self) -> StepEvent | None:
        """Event about a former key that may be in use."""
        return StepEvent("FormerKeyDisabled", self.warning, EventType.WARNING) if self.warning else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeOverlap(Action):
    """Record that a disabled key works again, because another user enabled it."""

    key_id: str
    warning: str
    """Message about the key, with the remedy."""

    @property
    def event(self) -> StepEvent | None:
        """Event about the key."""
        return StepEvent("FormerKeyEnabled", self.warning, EventType.WARNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteKey(Action):
    """Delete the key."""

    verb: ClassVar[str] = "delete"

    key_id: str
    warning: str = ""
    """Message about a stray key: one without a record, with a private key that is lost. Otherwise empty."""

    @property
    def event(self) -> StepEvent | None:
        """Event about a stray key."""
        return StepEvent("StrayKeyDeleted", self.warning, EventType.WARNING) if self.warning else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetKey(Action):
    """Remove the record of a deleted key."""

    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseAttempt(Action):
    """Record that nothing is left to find of an interrupted creation."""

    unclear: tuple[ListedKey, ...] = ()
    """Keys of which one may be the result."""


@dataclass(frozen=True, slots=True)
class RelabelSecret(Action):
    """Set the declared labels and annotations of the Secret, and remove those that were declared before."""


@dataclass(frozen=True, slots=True)
class ForgetKeys(Action):
    """Remove all records of the object's keys."""


@dataclass(frozen=True, slots=True)
class LeaveKeys(Action):
    """Record that the deletion of the object leaves its keys."""


@dataclass(frozen=True, slots=True)
class TakeBackKeys(Action):
    """Record the keys that an object of the same namespace and name left as managed again."""

    verb: ClassVar[str] = "take back"
    only_records: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class TakeBackSecret(Action):
    """Own the Secret that an object of the same name left."""


@dataclass(frozen=True, slots=True)
class ReleaseSecret(Action):
    """Leave the Secret to its users: it outlives its owner."""


@dataclass(frozen=True, slots=True)
class DeleteSecret(Action):
    """Delete the Secret."""


SecretAction: TypeAlias = RelabelSecret | TakeBackSecret | ReleaseSecret | DeleteSecret
"""Actions on the Secret of one object."""

RecordedAction: TypeAlias = (
    PromoteKey
    | DisableKey
    | ResumeOverlap
    | DeleteKey
    | ForgetKey
    | CloseAttempt
    | ForgetKeys
    | LeaveKeys
    | TakeBackKeys
)
"""Actions that only change the records, or change the records at the end."""

RingAction: TypeAlias = CreateKey | PublishKey | RecordedAction
"""Actions on the keys and the records of an account, which several objects may share."""

KeyAction: TypeAlias = RingAction | SecretAction
