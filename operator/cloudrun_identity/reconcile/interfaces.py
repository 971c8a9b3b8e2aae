"""The interfaces that a kind implements for the reconciler to drive it.

Every kind implements `Kind`. A kind that owns a resource in Google Cloud also implements `ExternalResource`,
one that declares grants also implements `GrantSource`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

from cloudrun_identity.api import ConditionType, ReconciledResource
from cloudrun_identity.policy.desired_grants import Retain

from .cluster_state import ClusterState, ObjectKey
from .conditions import Finding
from .grants.resolver import RequestedGrant
from .outcomes import Outcome
from .preconditions import Allowed, Blocked
from .steps import Action, Plan

Obj = TypeVar("Obj", bound=ReconciledResource)
Want = TypeVar("Want")
Seen = TypeVar("Seen")
A = TypeVar("A", bound=Action)
Obj_contra = TypeVar("Obj_contra", bound=ReconciledResource, contravariant=True)
Want_contra = TypeVar("Want_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class Summary:
    """Fields, conditions and issues that a kind adds to the status of its object."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the kind's status model, by name."""
    conditions: Mapping[ConditionType, Finding] | None = None
    """Conditions of the kind's own."""
    issues: tuple[str, ...] = ()
    """Remarks for a user, although nothing fails."""
    uncertain: str = ""
    """Clause about what may not be in effect yet although Google Cloud is as declared; empty if nothing."""
    notices: Mapping[str, str] = field(default_factory=dict)
    """Issues that are also recorded as an Event when they appear, by the reason of the Event."""


@dataclass(frozen=True, slots=True)
class Executed(Generic[Seen]):
    """Result of one executed action."""

    seen: Seen
    """State of the resource after the action, as far as the reply shows it."""
    outcome: Outcome | None = None
    """Outcome that ends the reconcile; None to plan again and go on."""
    written: bool = True
    """False if the action found nothing left to write, so that it is neither logged nor reported."""
    resource: str = ""
    """Full name of the resource, if only the reply shows it; empty for that of the action."""


class Kind(Protocol[Obj, Want, Seen]):
    """One kind of custom resource.

    `references`, `declares`, `resolve` and `summarize` are pure. The first two depend on the name and the
    spec of the object only: they are not called again when another part of it changes. `observe` is
    idempotent and may raise GoogleError, whose meaning `outcomes.outcome_of` defines.
    """

    @property
    def kind(self) -> type[Obj]:
        """The pydantic model of the kind."""
        ...

    def references(self, obj: Obj) -> frozenset[ObjectKey]:
        """Return the objects that this one names. A change of one of them requeues this one."""
        ...

    def declares(self, obj: Obj) -> str:
        """Return what only one object may declare in Google Cloud; empty if several objects may."""
        ...

    def resolve(self, obj: Obj, allowed: Allowed, cluster: ClusterState) -> Want | Blocked:
        """Return the desired state with every reference resolved, or why it cannot be resolved."""
        ...

    def depends_on_policies_alone(self, obj: Obj) -> bool:
        """Return whether `observe` reads nothing for the object.

        Its policies, the permissions of its roles, and other objects then decide about it. A resync that
        finds them unchanged does not look at the object.
        """
        ...

    async def observe(self, want: Want, max_age: float) -> Seen:
        """Return the actual state as of at most `max_age` seconds ago; 0 reads it from Google now."""
        ...

    def summarize(self, want: Want, seen: Seen) -> Summary:
        """Return the status fields, conditions and issues of the kind."""
        ...


class ExternalResource(Kind[Obj, Want, Seen], Protocol[Obj, Want, Seen, A]):
    """A kind that owns a resource in Google Cloud."""

    def describe(self, want: Want) -> str:
        """Return the name of the resource as plans show it: `ServiceAccount checkout@…`."""
        ...

    def plan(self, want: Want, seen: Seen, now: datetime) -> Plan[A]:
        """Return the steps that take the resource from `seen` to `want`; pure.

        The deletion of the object is a `want` of `resolve_deletion`.
        """
        ...

    async def execute(self, action: A, want: Want, seen: Seen) -> Executed[Seen]:
        """Execute one action of the plan: crash-safe, idempotent, without deciding anything again.

        Raises GoogleError.
        """
        ...

    async def assume(self, action: A, want: Want, seen: Seen) -> Seen:
        """Return what `execute` would leave behind, without a call to Google Cloud.

        The operator's records are written: a dry run keeps them in memory, where other objects see them.
        """
        ...

    def resolve_deletion(self, obj: Obj, cluster: ClusterState, *, abandon: bool) -> Want | None:
        """Return the desired state of an object that is being deleted; None if there is nothing to undo.

        `abandon` leaves Google Cloud as it is, whatever the deletion policy says.
        """
        ...


class GrantSource(Protocol[Obj_contra, Want_contra]):
    """A kind that declares grants."""

    def requested_grants(self, want: Want_contra, cluster: ClusterState) -> tuple[RequestedGrant, ...]:
        """Return the grants that the object declares."""
        ...

    def abandons(self, obj: Obj_contra) -> bool:
        """Return whether the deletion of the object leaves its grants in place."""
        ...

    def declared_grants(self, obj: Obj_contra, cluster: ClusterState) -> tuple[Retain, ...]:
        """Return the patterns of the grants that the spec declares now, resolved or not.

        A deletion that leaves the grants in place leaves these, and releases what an edit revoked before.
        """
        ...
