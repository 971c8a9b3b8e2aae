"""Outcomes of a reconcile: values rather than exceptions, because most of them are expected."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TypeAlias

from cloudrun_identity.api import Reason
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.proposals import Proposal
from cloudrun_identity.policy.bisection import PolicyUnwritable

from .advice import advised

LONGEST_RETRY = 120.0
"""Longest time in seconds until a failed call is tried again, whatever Google asks for.

Where a project is full, Google asks to wait for a day, although there is room after the next deletion.
"""

PROPAGATION_RETRY = 3.0
"""Seconds until the operator tries again what a new account or a new grant prevents."""

SHORTLY = 1.0
"""Seconds until a change that is under way is checked again."""


@dataclass(frozen=True, slots=True)
class InSync:
    """Google Cloud is as declared."""

    after: float | None = None
    """Seconds until the next step is due; None if no step depends on time."""
    ended: int = 0
    """Number of declared grants that are over."""
    is_expired: bool = False
    """True if the object declares nothing but grants, and all of them are over."""


@dataclass(frozen=True, slots=True)
class Paused:
    """Google Cloud is not as declared, and the operator may not act: suspended, or observed and different."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """Something else has to happen first. Its change requeues the object, or a look after some seconds."""

    reason: Reason
    message: str
    after: float | None = None
    """Seconds until the next look; None if an event requeues the object."""


@dataclass(frozen=True, slots=True)
class Failing:
    """A call failed and may succeed later; it is retried."""

    reason: Reason
    message: str
    after: float | None = None
    """Seconds until the retry; None for the backoff of the work queue."""
    observed: bool = True
    """False if Google Cloud could not be read, so that its state is unknown."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A user has to edit something first. The resync alone retries it."""

    reason: Reason
    message: str
    proposals: tuple[Proposal, ...] = ()
    """Changes of ManagedProjects that would admit what is refused."""


Outcome: TypeAlias = InSync | Paused | Waiting | Failing | Refused


def outcome_of(
    error: GoogleError, what: str, project_ids: Mapping[str, str] = MappingProxyType({})
) -> Outcome:
    """Return the outcome of a call that failed.

    `what` names what was being done, as in `creating account x`. A missing or conflicting resource means
    something else to each caller, who handles it before. `project_ids` are IDs of projects by their numbers.
    """
    message = f"{what}: {advised(error, project_ids)}"
    if error.propagating:
        message = f"{message.rstrip('.')}; it was just created, and has not propagated in Google Cloud yet"
        return Waiting(Reason.PROPAGATION_PENDING, message, PROPAGATION_RETRY)
    if isinstance(error, PolicyUnwritable):
        return Failing(Reason.POLICY_UNWRITABLE, message)
    if error.fault in _REFUSED:
        return Refused(_REFUSED[error.fault], message)
    return Failing(
        _FAILING[error.fault],
        message,
        _retry_after(error),
        observed=error.fault is not Fault.UNAVAILABLE,
    )


def outcome_of_undoing(error: GoogleError, what: str) -> Outcome:
    """Return the outcome of a call that failed for an object that is being deleted.

    If the fault may last, because the project is deleted or the permission is revoked, the message says how
    to delete the object all the same.
    """
    outcome = outcome_of(error, what)
    if isinstance(outcome, InSync) or error.fault in _TRANSIENT:
        return outcome
    remedy = "set spec.deletionPolicy to Abandon to delete the object and leave Google Cloud as it is"
    return replace(outcome, message=f"{outcome.message}; {remedy}")


def ledger_invalid(message: str) -> Refused:
    """Return the outcome for an object that an invalid PolicyLedger concerns."""
    return Refused(Reason.LEDGER_INVALID, message)


def is_ledger_invalid(outcome: Outcome) -> bool:
    """Return whether an invalid PolicyLedger concerns the object."""
    return isinstance(outcome, Refused) and outcome.reason is Reason.LEDGER_INVALID


def internal_error(message: str) -> Outcome:
    """Return the outcome of a reconcile that ended with an unexpected error."""
    return Failing(Reason.INTERNAL_ERROR, message, observed=False)


def gravest(*outcomes: Outcome) -> Outcome:
    """Return the outcome that decides: refused before failing before waiting before paused."""
    return min(outcomes, key=lambda outcome: _GRAVITY.index(type(outcome)), default=InSync())


def _retry_after(error: GoogleError) -> float | None:
    """Return the seconds until the retry; None for the backoff of the work queue.

    A limit on objects has no time at which it ends.
    """
    if error.retry_after is None or (error.fault is Fault.QUOTA_EXCEEDED and not error.rate_limited):
        return None
    return min(error.retry_after, LONGEST_RETRY)


_REFUSED = {
    Fault.INVALID_ARGUMENT: Reason.REJECTED,
    Fault.FAILED_PRECONDITION: Reason.REJECTED,
    Fault.UNIMPLEMENTED: Reason.REJECTED,
    Fault.ALREADY_EXISTS: Reason.CONFLICT,
    Fault.LOCATION_NOT_FOUND: Reason.LOCATION_NOT_FOUND,
}

_FAILING = {
    Fault.PERMISSION_DENIED: Reason.PERMISSION_DENIED,
    Fault.UNAUTHENTICATED: Reason.PERMISSION_DENIED,
    Fault.QUOTA_EXCEEDED: Reason.QUOTA_EXCEEDED,
    Fault.API_DISABLED: Reason.API_DISABLED,
    Fault.PERIMETER_VIOLATION: Reason.PERIMETER_VIOLATION,
    Fault.ABORTED: Reason.UPDATING,  # another writer was faster
    Fault.UNAVAILABLE: Reason.API_UNAVAILABLE,
    Fault.NOT_FOUND: Reason.DEPENDENCY_NOT_FOUND,
}

_TRANSIENT = frozenset({Fault.UNAVAILABLE, Fault.ABORTED, Fault.QUOTA_EXCEEDED})

_GRAVITY: tuple[type[Outcome], ...] = (Refused, Failing, Waiting, Paused, InSync)
