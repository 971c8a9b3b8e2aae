"""Beliefs: statements about Google Cloud on which the operator relies, with a check for each."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import StrEnum

from cloudrun_identity.gcp.errors import GoogleError

from .sandbox import Sandbox


class Cost(StrEnum):
    """Cost of a check for the project. Only `FAST` checks run without an option."""

    FAST = "fast"
    """Seconds, and the time of a few deployments."""
    SLOW = "slow"
    """Minutes, in which changes propagate."""
    QUOTA = "quota"
    """The rest of a quota of the project, until the end of the run."""

    @property
    def is_default(self) -> bool:
        """True if the check runs without an option."""
        return self is Cost.FAST


class Result(StrEnum):
    """Result of a belief, or of one observation."""

    HOLDS = "holds"
    FALSE = "FALSE"
    UNKNOWN = "unknown"
    """The check could not decide, for the reason in the observation."""
    SKIPPED = "skipped"
    """The check did not run, because its cost was not selected."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One answer of Google Cloud, and its meaning for the belief."""

    subject: str
    """The request or the resource."""
    answer: str
    """The answer, or the reason why there is none."""
    result: Result
    """HOLDS, FALSE or UNKNOWN."""


Check = Callable[[Sandbox], AsyncIterator[Observation]]
"""Yields observations. A GoogleError or TimeoutError that it raises makes the belief UNKNOWN."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """A statement about Google Cloud on which the operator relies."""

    id: str
    """Short name, as `--only` takes it."""
    statement: str
    """The expected behavior, in one sentence."""
    breaks: str
    """The consequence for users of the operator if the statement is false."""
    modules: tuple[str, ...]
    """Modules of the operator that rely on it, below `operator/cloudrun_identity`."""
    cost: Cost
    """Cost of the check."""
    check: Check
    """The check."""


def judged(holds: bool, subject: str, answer: str) -> Observation:
    """Return an observation that confirms or refutes the belief."""
    return Observation(subject, answer, Result.HOLDS if holds else Result.FALSE)


def refuted(subject: str, answer: str) -> Observation:
    """Return an observation that refutes the belief."""
    return Observation(subject, answer, Result.FALSE)


def undecided(subject: str, answer: str) -> Observation:
    """Return an observation that decides nothing."""
    return Observation(subject, answer, Result.UNKNOWN)


def described(error: GoogleError) -> str:
    """Return an error as reports show it: status, ErrorInfo and message."""
    parts = [error.code or error.fault, error.reason, f"({error.message})"]
    if error.retry_after is not None:
        parts.append(f"RetryInfo {error.retry_after:g} s")
    return " ".join(filter(None, parts))
