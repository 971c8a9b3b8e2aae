"""The terms of requested grants: since when they last, until when, and which of them are over."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cloudrun_identity.iam.expiry import (
    MAX_EXPRESSION,
    Expiry,
    Term,
    as_granted,
    google_term_of,
    term_of,
    timestamp,
)
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.ledger.temporary_grants import recorded_term
from cloudrun_identity.policy.desired_grants import DesiredGrant, Temporary
from cloudrun_identity.reconcile.cluster_state import ClusterState


def utc_now() -> datetime:
    """Return the time in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class TimedGrant:
    """A requested grant with its end."""

    grant: Grant
    """The grant as the policy shall contain it."""
    temporary: Temporary | None = None
    """The end, as the policy engine takes it; None for a permanent grant."""
    term: Term | None = None
    """The start and the end; None for a permanent grant."""

    @property
    def lasts(self) -> timedelta | None:
        """The time from the start to the end; None for a permanent grant."""
        return self.term.length if self.term else None

    def problem(self, path: str) -> str:
        """Return why no policy accepts the grant of the field `path`; empty if one may."""
        condition = self.grant.condition
        if self.temporary is None or condition is None or len(condition.expression) <= MAX_EXPRESSION:
            return ""
        return (
            f"{path}.expiryEnforcedBy: the expression of the condition has {len(condition.expression)} "
            f"characters with the time at which the grant ends; the limit is {MAX_EXPRESSION}: shorten the "
            "condition, or set Operator"
        )


@dataclass(frozen=True, slots=True)
class EndedGrant:
    """A requested grant that is over."""

    path: str
    """Field of the spec that declares it."""
    base: Grant
    """The grant under its declared condition."""
    grant: Grant
    """The grant as the policy contained it."""
    end: datetime
    """The time at which it ended."""
    was_granted: bool
    """True if it was made; False if the time was over when the object declared it."""

    @property
    def message(self) -> str:
        """Sentence for the status about a grant that was over before it was made."""
        return (
            f"{self.path}: {timestamp(self.end)} was over before {self.base} was made, so it is not granted; "
            "set a later expiresAt"
        )


@dataclass(frozen=True, slots=True)
class AdmittedGrant:
    """A requested grant that the guardrails admit."""

    desired: DesiredGrant
    end: datetime | None = None
    """The time at which it ends; None for a permanent grant."""

    @property
    def base(self) -> Grant:
        """The grant under its declared condition."""
        return self.desired.temporary.base if self.desired.temporary else self.desired.grant


class Terms:
    """The terms of the grants of one object, from its ledgers and the time."""

    def __init__(
        self, cluster: ClusterState, owner: Owner | None, wall_clock: Callable[[], datetime]
    ) -> None:
        self._cluster = cluster
        self._owner = owner
        self._wall_clock = wall_clock

    def timed(self, base: Grant, expiry: Expiry | None, path: str) -> TimedGrant | EndedGrant:
        """Return a requested grant with its end. `base` is the grant under its declared condition."""
        if expiry is None:
            return TimedGrant(base)
        now, recorded = self._wall_clock(), self._recorded(base)
        term = (google_term_of if expiry.by_google else term_of)(expiry, recorded, now)
        grant = as_granted(base, term.end, by_google=expiry.by_google)
        if term.is_over(now):
            return EndedGrant(path, base, grant, term.end, was_granted=term.is_granted)
        start = term.start if expiry.by_google else None
        return TimedGrant(grant, Temporary(base, expiry, start), term)

    def _recorded(self, base: Grant) -> Term | None:
        if self._owner is None:
            return None
        record = self._cluster.ledger(base.target).temporary.get((self._owner.owner_key, base))
        return recorded_term(record, str(self._owner))


def last_of_each(admitted: Iterable[AdmittedGrant]) -> frozenset[DesiredGrant]:
    """Return each grant once, with the latest of its ends.

    One declaration without an end makes it permanent.
    """
    found: dict[Grant, AdmittedGrant] = {}
    for each in admitted:
        other = found.get(each.base)
        if other is None or (other.end is not None and (each.end is None or each.end > other.end)):
            found[each.base] = each
    return frozenset(each.desired for each in found.values())


def without_desired(ended: Iterable[EndedGrant], admitted: Iterable[AdmittedGrant]) -> Iterator[EndedGrant]:
    """Yield the grants that are over and that no other entry of the object still declares, each once."""
    seen = {each.base for each in admitted}
    for each in ended:
        if each.base not in seen:
            seen.add(each.base)
            yield each
