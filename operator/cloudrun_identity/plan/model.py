"""The result of a dry run: steps that would be taken, and reasons why others would not be."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from cloudrun_identity.api import Reason
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.reconcile.cluster_state import ObjectKey
from cloudrun_identity.reconcile.outcomes import Failing, InSync, Outcome, Refused
from cloudrun_identity.reconcile.steps import Change


class Sign(StrEnum):
    """Effect of a step on its resource."""

    ADD = "+"
    CHANGE = "~"
    REMOVE = "-"


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One change that would be made on behalf of an object."""

    resource: str
    """Name of the resource, as in `ServiceAccount checkout@…`."""
    sign: Sign
    text: str
    """The change, as in `displayName: unset → Checkout`."""
    object: ObjectKey
    """The object that asks for the change."""
    observed: bool = False
    """True if the object is only observed, so that the operator would report the change and not make it."""
    detail: Change | Grant | None = None
    """The changed field, or the grant that is added or removed."""
    ends: datetime | None = None
    """Time at which an added grant ends; None for a permanent one, and for every other change."""


@dataclass(frozen=True, slots=True)
class PlanBlocker:
    """Reason why an object, or a part of it, would not become Ready."""

    object: ObjectKey
    reason: Reason
    message: str
    final: bool
    """True if a user has to edit something first."""


@dataclass(frozen=True, slots=True)
class DryRun:
    """The result of a dry run."""

    steps: tuple[PlannedStep, ...]
    """All steps, those of one resource together."""
    blockers: tuple[PlanBlocker, ...]
    """All blockers, those of one object together."""
    notes: tuple[str, ...] = ()
    """Sentences about what the plan assumes or cannot know."""

    @property
    def is_blocked(self) -> bool:
        """True if an object would not become Ready before a user edits something."""
        return any(blocker.final for blocker in self.blockers)


def sign_of(change: Change) -> Sign:
    """Return what a difference does, by the words that kinds use for what does not exist."""
    if change.before in _ABSENT:
        return Sign.ADD
    return Sign.REMOVE if change.after in _ABSENT else Sign.CHANGE


def blocker(key: ObjectKey, outcome: Outcome) -> PlanBlocker | None:
    """Return the blocker that an outcome describes; None if the object is in sync.

    A reference to an object that does not exist is final: nothing in the plan would bring it about.
    """
    if isinstance(outcome, InSync):
        return None
    is_final = isinstance(outcome, Refused | Failing) or outcome.reason is Reason.DEPENDENCY_NOT_FOUND
    return PlanBlocker(key, outcome.reason, outcome.message, is_final)


def bounded(blockers: Sequence[PlanBlocker]) -> Iterator[PlanBlocker]:
    """Yield the first blockers of an object, and one that counts the others."""
    yield from blockers[:MAX_BLOCKERS]
    if hidden := blockers[MAX_BLOCKERS:]:
        last = next((each for each in hidden if each.final), hidden[0])
        reasons = ", ".join(sorted({each.reason for each in hidden}))
        yield replace(last, message=f"and {len(hidden)} more ({reasons})")


MAX_BLOCKERS = 20
"""Number of blockers of one object that a plan lists before it counts the rest."""

_ABSENT = frozenset({"absent", "missing", "removed", "deleted"})
