"""How a pass over one object ended: values, not exceptions, because most of them are no surprise."""

from dataclasses import dataclass, replace
from typing import TypeAlias

from cloudrun_identity.api import Reason
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.policy.bisection import PolicyUnwritable

SHORTLY = 1.0
"""Seconds until a look at something that moves by itself is worth while."""


@dataclass(frozen=True, slots=True)
class InSync:
    """The cloud is as declared; something falls due `after` seconds, if ever."""

    after: float | None = None


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
    if isinstance(error, PolicyUnwritable):
        return Failing(Reason.POLICY_UNWRITABLE, message)
    if error.fault in _REFUSED:
        return Refused(_REFUSED[error.fault], message)
    reason = _FAILING[error.fault]
    if reason is Reason.API_DISABLED:
        message += _enabling(error)
    return Failing(reason, message, error.retry_after, observed=error.fault is not Fault.UNAVAILABLE)


def outcome_of_undoing(error: GoogleError, what: str) -> Outcome:
    """The same of a call that was to undo something for an object that is to go.

    It need not wait for ever: the project may be gone, or the permission never come back.
    """
    outcome = outcome_of(error, what)
    if isinstance(outcome, InSync) or error.fault in _PASSING:
        return outcome
    leaving = "set spec.deletionPolicy to Abandon to let the object go and leave Google Cloud as it is"
    return replace(outcome, message=f"{outcome.message}; {leaving}")


def _enabling(error: GoogleError) -> str:
    """The command that enables the API, where Google's ErrorInfo says which one and for whom."""
    service, consumer = error.metadata.get("service"), error.metadata.get("consumer", "")
    if not service:
        return ""
    project = consumer.removeprefix("projects/")
    return f"; gcloud services enable {service}" + (f" --project={project}" if project else "")


_REFUSED = {
    Fault.INVALID_ARGUMENT: Reason.REJECTED,
    Fault.FAILED_PRECONDITION: Reason.REJECTED,
    Fault.UNIMPLEMENTED: Reason.REJECTED,
    Fault.ALREADY_EXISTS: Reason.CONFLICT,
}

_FAILING = {
    Fault.PERMISSION_DENIED: Reason.PERMISSION_DENIED,
    Fault.UNAUTHENTICATED: Reason.PERMISSION_DENIED,
    Fault.QUOTA_EXCEEDED: Reason.QUOTA_EXCEEDED,
    Fault.API_DISABLED: Reason.API_DISABLED,
    Fault.ABORTED: Reason.UPDATING,  # somebody else writes there too
    Fault.UNAVAILABLE: Reason.API_UNAVAILABLE,
    Fault.NOT_FOUND: Reason.DEPENDENCY_NOT_FOUND,
    Fault.UNKNOWN: Reason.INTERNAL_ERROR,
}

_PASSING = frozenset({Fault.UNAVAILABLE, Fault.ABORTED, Fault.QUOTA_EXCEEDED})

_GRAVITY: tuple[type[Outcome], ...] = (Refused, Failing, Waiting, Paused, InSync)


def gravest(*outcomes: Outcome) -> Outcome:
    """The outcome that decides: what needs a person before what fails before what waits."""
    return min(outcomes, key=lambda outcome: _GRAVITY.index(type(outcome)), default=InSync())
