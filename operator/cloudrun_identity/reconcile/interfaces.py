"""What a kind has to say for itself, for the generic reconcile to drive it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from cloudrun_identity.api import ConditionType, ReconciledResource

from .cluster_state import ClusterState, ObjectKey
from .conditions import Finding
from .grants.resolver import RequestedGrant
from .outcomes import Outcome
from .preconditions import Allowed, Blocked

Obj = TypeVar("Obj", bound=ReconciledResource)
Want = TypeVar("Want")
Seen = TypeVar("Seen")


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between the declaration and the cloud: `disabled: true → false`.

    `due`: time has brought it, so that it is nobody's drift.
    """

    field: str
    before: str
    after: str
    due: bool = False

    def __str__(self) -> str:
        return f"{self.field}: {self.before or 'unset'} → {self.after or 'unset'}"


@dataclass(frozen=True, slots=True)
class Applied(Generic[Seen]):
    """How applying ended, and what the cloud looks like after it as far as the replies tell.

    `left` are differences that the spec says to leave. `holds`: nothing can be said about the object's grants
    now, so what it holds stays and nothing is added.
    """

    outcome: Outcome
    seen: Seen
    left: tuple[Change, ...] = ()
    retains: bool = False


@dataclass(frozen=True, slots=True)
class Summary:
    """What a kind adds to its status.

    `fields` of its status model by name, `conditions` of its own, and `issues` that a person should know
    though nothing fails.
    """

    fields: Mapping[str, Any]
    conditions: Mapping[ConditionType, Finding] | None = None
    issues: tuple[str, ...] = ()


class Controller(Protocol[Obj, Want, Seen]):
    """One kind.

    `desired`, `diff`, `wishes` and `summarize` are pure; the others are idempotent and never block on
    anything but a call. They may raise GoogleError, which means what `outcomes.outcome_of` says.
    """

    kind: type[Obj]

    def references(self, obj: Obj) -> frozenset[ObjectKey]:
        """The objects that this one names: it is woken when one of them changes."""
        ...

    def declares(self, obj: Obj) -> str:
        """What in Google Cloud only one object may declare; empty if several may."""
        ...

    def resolve(self, obj: Obj, allowed: Allowed, cluster: ClusterState) -> Want | Blocked:
        """What is wanted, with every reference resolved."""
        ...

    async def observe(self, want: Want, max_age: float) -> Seen:
        """What there is, as of at most `max_age` seconds ago; 0 asks Google now."""
        ...

    def diff(self, want: Want, seen: Seen) -> tuple[Change, ...]:
        """What differs; empty if there is nothing to do."""
        ...

    async def apply(self, want: Want, seen: Seen, changes: tuple[Change, ...]) -> Applied[Seen]:
        """Bring about what differs, or one step of it; without changes, follow what is under way."""
        ...

    def requested_grants(self, want: Want, cluster: ClusterState) -> tuple[RequestedGrant, ...]:
        """The grants that the object declares."""
        ...

    def summarize(self, want: Want, seen: Seen) -> Summary:
        """What the status says of it."""
        ...

    async def delete(self, obj: Obj, cluster: ClusterState, *, abandon: bool) -> Outcome:
        """Undo what was done for an object that is being deleted; InSync once nothing is left to undo.

        `abandon` leaves Google Cloud as it is, and only forgets.
        """
        ...
