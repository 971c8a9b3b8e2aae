"""Last uses of service accounts and their keys, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final, TypeAlias

from .errors import GoogleError


class Source(Enum):
    """A list of last uses."""

    ACCOUNTS = "serviceAccountLastAuthentication"
    """Accounts by their unique ids, from Policy Analyzer."""
    KEYS = "serviceAccountKeyLastAuthentication"
    """Keys by their ids, from Policy Analyzer."""
    KEY_EVENTS = "iam.googleapis.com/service_account/key/authn_events_count"
    """Keys by their ids, from Monitoring."""


@dataclass(frozen=True, slots=True)
class LastUse:
    """The last use of an account or a key, to the precision of its source."""

    began: datetime
    """Beginning of the day or period of the use."""
    ended: datetime
    """Its end: the use was earlier."""
    until: datetime | None = None
    """End of the time that Google has observed for this account or key; None for that of the answer."""


@dataclass(frozen=True, slots=True)
class Observation:
    """An answer: the accounts or keys that Google saw in use."""

    read: datetime
    """Time of the read."""
    since: datetime
    """Beginning of the time that the answer covers."""
    until: datetime
    """Its end. Later uses may be missing."""
    uses: Mapping[str, LastUse] = field(default_factory=dict)
    """Last uses by unique id of the account, or by id of the key."""
    is_complete: bool = True
    """False if the answer had too many pages."""

    def observed_until(self, name: str) -> datetime:
        """Return the end of the time that Google has observed for an account or a key."""
        use = self.uses.get(name)
        return use.until if use and use.until else self.until


@dataclass(frozen=True, slots=True)
class Unknown:
    """No answer."""

    error: GoogleError | None = None
    """Refusal of Google; None if the answer was empty or has not arrived."""
    is_pending: bool = False
    """True if the answer has not arrived yet."""


Evidence: TypeAlias = Observation | Unknown

UNKNOWN: Final = Unknown()
"""Evidence of an empty answer."""

PENDING: Final = Unknown(is_pending=True)
"""Evidence before the first answer."""


def date_of(evidence: Evidence, name: str) -> str | None:
    """Return the date of the last use of a key or account, in US Pacific time; None if it is not known.

    The beginning of the day is 07:00Z or 08:00Z.
    """
    use = evidence.uses.get(name) if isinstance(evidence, Observation) else None
    return f"{use.began.astimezone(UTC) - timedelta(hours=7):%Y-%m-%d}" if use else None
