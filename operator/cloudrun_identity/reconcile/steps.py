"""Steps: what a plan says that the operator does for one resource, or why it takes no action.

A kind decides once, in a pure function `plan(want, seen, now) -> Plan`. The operator executes the steps, or
reports them (`managementPolicy: Observe`), or prints them (`cloudrun-identity plan`). Status, drift, Events,
metrics and the mutation log are derived from the same steps.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Final, Generic, TypeAlias, TypeVar

from cloudrun_identity.api import Reason
from cloudrun_identity.iam.proposals import Proposal
from cloudrun_identity.kube.event_recorder import EventType

from .outcomes import InSync, Outcome, Paused, Refused, Waiting

ABANDONED: Final = "Abandoned"
"""Reason of the Event for what the deletion of an object left in Google Cloud."""


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between the declaration and Google Cloud, as in `disabled: true → false`."""

    field: str
    """Name of the field or of the part of the resource."""
    before: str
    """Value in Google Cloud; empty if unset."""
    after: str
    """Declared value; empty if unset."""
    due: bool = False
    """True if time has brought the change about, so that it is not drift."""

    def __str__(self) -> str:
        return f"{self.field}: {self.before or 'unset'} → {self.after or 'unset'}"


@dataclass(frozen=True, slots=True)
class StepEvent:
    """An Event about a step that was executed."""

    reason: str
    message: str
    type: EventType = EventType.NORMAL


@dataclass(frozen=True, slots=True)
class Action:
    """One action for a resource. A kind has one subclass for each of its actions."""

    resource: str
    """Full name of the resource that the action changes (`//SERVICE/RELATIVE`)."""
    changes: tuple[Change, ...] = ()
    """Differences that the action removes; empty for an action on the operator's own records."""

    verb: ClassVar[str] = ""
    """Verb for the mutation log; empty for an action that is not logged."""
    only_records: ClassVar[bool] = False
    """True if the action changes nothing in Google Cloud, only the operator's records."""

    @property
    def event(self) -> StepEvent | None:
        """Event to record once the action is executed."""
        return None


@dataclass(frozen=True, slots=True)
class ReleaseGrants(Action):
    """Release every grant of the object before the next step. The reconciler executes it for all kinds."""

    abandon: bool = False
    """True to leave the grants in place and only forget them."""
    ends: str = ""
    """Member whose account is deleted next. Its grants are removed even if they existed before the object:
    the policies would show them as `deleted:`. Empty if no account is deleted."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Take no action yet: something else has to happen first."""

    reason: Reason
    message: str
    after: float | None = None
    """Seconds until the next look; None if an event wakes the object."""
    changes: tuple[Change, ...] = ()
    """Differences that remain meanwhile."""

    @property
    def outcome(self) -> Outcome:
        """Outcome of a reconcile that ends with this step."""
        return Waiting(self.reason, self.message, self.after)


@dataclass(frozen=True, slots=True)
class Refuse:
    """Take no action until a user edits something."""

    reason: Reason
    message: str
    changes: tuple[Change, ...] = ()
    """Differences that remain."""
    proposals: tuple[Proposal, ...] = ()
    """Changes of ManagedProjects that would admit what is refused."""

    @classmethod
    def of(cls, refused: Refused, *changes: Change) -> "Refuse":
        """Return the step for a refusal that leaves these differences."""
        return cls(refused.reason, refused.message, changes, refused.proposals)

    @property
    def outcome(self) -> Outcome:
        """Outcome of a reconcile that ends with this step."""
        return Refused(self.reason, self.message, self.proposals)


@dataclass(frozen=True, slots=True)
class Fail:
    """Take no action because the resource is in a state that may pass; the object backs off."""

    failure: Outcome
    changes: tuple[Change, ...] = ()
    """Differences that remain."""

    @property
    def outcome(self) -> Outcome:
        """Outcome of a reconcile that ends with this step."""
        return self.failure


@dataclass(frozen=True, slots=True)
class Leave:
    """Report a difference that the spec says to leave as it is."""

    message: str
    changes: tuple[Change, ...] = ()
    """Differences that remain."""
    retains_grants: bool = False
    """True if nothing can be decided about the object's grants now, so that they stay as they are."""

    @property
    def outcome(self) -> Outcome:
        """Outcome of a reconcile that ends with this step."""
        return Paused(Reason.DRIFT_DETECTED, self.message)


NoAction: TypeAlias = Wait | Refuse | Fail | Leave

A = TypeVar("A", bound=Action)


@dataclass(frozen=True, slots=True)
class Plan(Generic[A]):
    """The steps for one resource, in order. An empty plan means that Google Cloud is as declared."""

    steps: tuple[A | ReleaseGrants | NoAction, ...] = ()
    due: float | None = None
    """Seconds until time brings the next step about; None if no step depends on time."""
    resource: str = field(default="", compare=False)
    """Full name of the resource with the differences, to find out who caused them; empty for that of the
    first action."""

    @property
    def actions(self) -> tuple[A | ReleaseGrants, ...]:
        """Actions that can be executed now: those before the first step that waits, refuses or fails."""
        return tuple(self._executable())

    @property
    def changes(self) -> tuple[Change, ...]:
        """Every difference between the declaration and Google Cloud."""
        return tuple(change for step in self.steps for change in step.changes)

    @property
    def left(self) -> tuple[Change, ...]:
        """Differences that remain once the actions are executed."""
        acted = self.actions
        return tuple(change for step in self.steps if step not in acted for change in step.changes)

    @property
    def outcome(self) -> Outcome:
        """Outcome once the actions are executed: that of the first step that waits, refuses or fails.

        A difference that is left decides only if no such step follows it.
        """
        left: Outcome | None = None
        for step in self.steps:
            match step:
                case Leave():
                    left = left or step.outcome
                case Wait() | Refuse() | Fail():
                    return step.outcome
                case _:
                    continue
        return left or InSync(self.due)

    @property
    def retains_grants(self) -> bool:
        """True if the object's grants stay as they are, whatever it declares."""
        return any(isinstance(step, Leave) and step.retains_grants for step in self.steps)

    @property
    def forecast(self) -> Outcome:
        """Outcome where the operator only observes: what it would do, or why it would not."""
        would_change = [str(change) for action in self.actions for change in action.changes]
        if would_change:
            return Paused(Reason.DRIFT_DETECTED, "; ".join(would_change))
        return self.outcome

    def _executable(self) -> Iterator[A | ReleaseGrants]:
        for step in self.steps:
            match step:
                case Leave():
                    continue
                case Wait() | Refuse() | Fail():
                    return
                case _:
                    yield step
