"""How a pass over one object ended: values, not exceptions, because most of them are no surprise."""

from dataclasses import dataclass
from typing import TypeAlias

from cloudrun_identity.api import Reason
from cloudrun_identity.gcp.errors import Fault, GoogleError

SHORTLY = 1.0
"""Seconds until a look at something that moves by itself is worth while."""


@dataclass(frozen=True, slots=True)
class InSync:
    """The cloud is as declared."""


@dataclass(frozen=True, slots=True)
class Paused:
    """It is not as declared, and we are not to act: suspended, or observed and different."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """Something else has to happen first; it wakes the object, or is looked for `after` seconds."""

    reason: Reason
    message: str
    after: float | None = None


@dataclass(frozen=True, slots=True)
class Failing:
    """It did not work and may work later: tried again with backoff, or `after` seconds.

    `observed` is false where the cloud could not even be read, so that nothing is known of it.
    """

    reason: Reason
    message: str
    after: float | None = None
    observed: bool = True


@dataclass(frozen=True, slots=True)
class Refused:
    """It will not work until a person edits something; tried again with the resync alone."""

    reason: Reason
    message: str


Outcome: TypeAlias = InSync | Paused | Waiting | Failing | Refused


def outcome_of(error: GoogleError, what: str) -> Outcome:
    """The outcome of a call that failed; `what` names what was being done, as in `creating account x`.

    A missing or conflicting resource means something else to each caller, who matches on it before.
    """
    message = f"{what}: {error.message}"
    match error.fault:
        case Fault.PERMISSION_DENIED | Fault.UNAUTHENTICATED:
            return Failing(Reason.PERMISSION_DENIED, message)
        case Fault.QUOTA_EXCEEDED:
            return Failing(Reason.QUOTA_EXCEEDED, message, error.retry_after)
        case Fault.API_DISABLED:
            return Failing(Reason.API_DISABLED, message)
        case Fault.INVALID_ARGUMENT | Fault.FAILED_PRECONDITION | Fault.UNIMPLEMENTED:
            return Refused(Reason.REJECTED, message)
        case Fault.ALREADY_EXISTS:
            return Refused(Reason.CONFLICT, message)
        case Fault.ABORTED:
            return Failing(Reason.UPDATING, f"{what}: somebody else writes there too; trying again")
        case Fault.UNAVAILABLE:
            return Failing(Reason.API_UNAVAILABLE, message, observed=False)
        case Fault.NOT_FOUND:
            return Failing(Reason.DEPENDENCY_NOT_FOUND, message)
        case Fault.UNKNOWN:
            return Failing(Reason.INTERNAL_ERROR, message)


_GRAVITY: tuple[type[Outcome], ...] = (Refused, Failing, Waiting, Paused, InSync)


def gravest(*outcomes: Outcome) -> Outcome:
    """The outcome that decides: what needs a person before what fails before what waits."""
    return min(outcomes, key=lambda outcome: _GRAVITY.index(type(outcome)), default=InSync())
