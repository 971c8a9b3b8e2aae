"""The end of temporary grants, as pure functions of the declaration, the record and the time.

A grant ends at `expiresAt`, or after `duration` from when it was first granted. Google's Privileged Access
Manager limits the duration of each grant in the same way:
https://cloud.google.com/iam/docs/pam-overview.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cloudrun_identity.api import TemporaryGrantFields

from .grants import Grant, IAMCondition


@dataclass(frozen=True, slots=True)
class Expiry:
    """The end of a grant as a spec declares it: at a time, or after a duration."""

    expires_at: datetime | None = None
    """The time; None for a duration."""
    duration: timedelta | None = None
    """The time from when the grant was first made; None for a fixed time."""
    by_google: bool = False
    """True if an IAM condition ends the grant, too."""
    field: str = "expiresAt"
    """The field that declares the end."""

    @classmethod
    def of(cls, declared: TemporaryGrantFields) -> "Expiry | None":
        """Return the end that an entry of a spec declares; None for a permanent grant."""
        by_google = declared.is_enforced_by_google
        if declared.expires_at is not None:
            return cls(expires_at=declared.expires_at, by_google=by_google)
        if declared.duration is not None:
            return cls(duration=declared.duration.timedelta, by_google=by_google, field="duration")
        return None

    def end(self, start: datetime) -> datetime:
        """Return the end of a grant that was first made at `start`, in whole seconds."""
        end = self.expires_at or _later(start, self.duration or timedelta())
        return end.replace(microsecond=0)


@dataclass(frozen=True, slots=True)
class Term:
    """The time of one temporary grant of one object."""

    start: datetime
    """The time at which the grant was first made; the time of the last attempt before that."""
    end: datetime
    """The time at which it ends."""
    is_granted: bool = False
    """True if the grant was made."""

    def is_over(self, now: datetime) -> bool:
        """Return whether the grant has ended."""
        return self.end <= now

    @property
    def length(self) -> timedelta:
        """The time from the start to the end. Guardrails limit it."""
        return self.end - self.start


def term_of(expiry: Expiry, recorded: Term | None, now: datetime) -> Term:
    """Return the term of a grant whose declaration was recorded with an earlier term, or is new.

    A grant that was made keeps its start, whatever is edited. A recorded start in the future comes from a
    clock that was fast, and must not extend the grant.
    """
    if recorded is None or not recorded.is_granted:
        start = now.replace(microsecond=0)
        return Term(start, expiry.end(start))
    start = min(recorded.start, now.replace(microsecond=0))
    return Term(start, expiry.end(start), is_granted=True)


def google_term_of(expiry: Expiry, recorded: Term | None, now: datetime) -> Term:
    """Return the term of a grant that an IAM condition ends, too.

    The condition is part of the grant. The start therefore stays the same between attempts, until the
    condition would be over before the grant was made.
    """
    if recorded is None or recorded.is_granted:
        return term_of(expiry, recorded, now)
    start = min(recorded.start, now.replace(microsecond=0))
    term = Term(start, expiry.end(start))
    return term_of(expiry, None, now) if term.is_over(now) else term


def timestamp(time: datetime) -> str:
    """Return a time in RFC 3339, in UTC and whole seconds."""
    return time.astimezone(UTC).strftime(_TIMESTAMP)


def until(condition: IAMCondition | None, end: datetime) -> IAMCondition:
    """Return the IAM condition under which Google Cloud ends a grant at a time.

    Google documents the expression: https://cloud.google.com/iam/docs/configuring-temporary-access. The
    result depends on the declared condition and the time alone, so that a reconcile finds its own grant.
    """
    expression = f'request.time < timestamp("{timestamp(end)}")'
    title = f"until {timestamp(end)}"
    if condition is None:
        return IAMCondition(title, "Temporary access", expression)
    suffix = f" {title}"
    return IAMCondition(
        condition.title[: MAX_TITLE - len(suffix)] + suffix,
        condition.description,
        f"({condition.expression}) && {expression}",
    )


def as_granted(base: Grant, end: datetime, *, by_google: bool) -> Grant:
    """Return the grant that the policy contains for a temporary grant under its declared condition."""
    if not by_google:
        return base
    return Grant(base.target, base.role, base.member, until(base.condition, end))


def granted_end(base: Grant, granted: Grant) -> datetime | None:
    """Return the end in the condition of a grant that Google Cloud ends for `base`; None for any other."""
    found = _END.search(granted.condition.expression) if granted.condition else None
    if found is None:
        return None
    try:
        end = datetime.strptime(found[1], _TIMESTAMP).replace(tzinfo=UTC)
    except ValueError:
        return None
    return end if as_granted(base, end, by_google=True) == granted else None


def declared_expression(expression: str) -> str:
    """Return the declared part of the expression of a grant that Google Cloud ends; empty without one."""
    found = _END.search(expression)
    if found is None:
        return expression
    before = expression[: found.start()]
    return before[1 : -len(_AND)] if before.startswith("(") and before.endswith(_AND) else before


_AND = ") && "
_TIMESTAMP = "%Y-%m-%dT%H:%M:%SZ"
_END = re.compile(r'request\.time < timestamp\("([^"]+)"\)$')

MAX_TITLE = 100
"""Characters of the title of an IAM condition, as specs and ledgers bound it."""

MAX_EXPRESSION = 2048
"""Characters of the expression of an IAM condition, as specs and ledgers bound it."""


def _later(start: datetime, duration: timedelta) -> datetime:
    try:
        return start + duration
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC, microsecond=0)
