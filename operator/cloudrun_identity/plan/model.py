"""A plan as a value: what applying objects would change in Google Cloud, and what it would not."""

from dataclasses import dataclass
from enum import StrEnum

from cloudrun_identity.api import Reason
from cloudrun_identity.reconcile.cluster_state import ObjectKey
from cloudrun_identity.reconcile.interfaces import Change
from cloudrun_identity.reconcile.outcomes import Failing, InSync, Outcome, Refused


class Sign(StrEnum):
    """What a step does."""

    ADD = "+"
    CHANGE = "~"
    REMOVE = "-"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that would be done to a resource on behalf of an object."""

    resource: str
    sign: Sign
    text: str
    object: ObjectKey


@dataclass(frozen=True, slots=True)
class PlanBlocker:
    """Why an object, or a part of it, would not come about; `final`: not before somebody mends something."""

    object: ObjectKey
    reason: Reason
    message: str
    final: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """All steps, those of one resource together, and all obstacles, those of one object together."""

    steps: tuple[Step, ...]
    blockers: tuple[PlanBlocker, ...]

    @property
    def is_held_up(self) -> bool:
        """Whether something would not come about before somebody mends it."""
        return any(blocker.final for blocker in self.blockers)


def sign_of(change: Change) -> Sign:
    """What a difference does, by the words that controllers have for what is not there."""
    if change.before in _NOTHING:
        return Sign.ADD
    return Sign.REMOVE if change.after in _NOTHING else Sign.CHANGE


def blocker(key: ObjectKey, outcome: Outcome) -> PlanBlocker | None:
    """The obstacle that an outcome tells of; None if it tells of none."""
    if isinstance(outcome, InSync):
        return None
    return PlanBlocker(key, outcome.reason, outcome.message, isinstance(outcome, Refused | Failing))


_NOTHING = frozenset({"absent", "missing", "removed", "deleted"})
