"""Accounts that Google does not show consistently yet, and writes that reads do not show yet.

For minutes after its creation an account is found and not found in turn, and policies refuse it as a member.
A read right after `:disable` may still show the account enabled.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from cloudrun_identity.api import LedgerAccount
from cloudrun_identity.controllers.new_accounts import is_fresh
from cloudrun_identity.gcp.service_accounts import ServiceAccount

GOOD_READS = 3
"""Consecutive good reads after which dependent objects may use the account."""

BETWEEN_READS = 0.7
"""Seconds between these reads."""

LONGEST_BETWEEN_READS = 3.0
"""Seconds between reads of an account that Google Cloud has not shown consistently for long."""

_SHARE_OF_AGE = 0.1

GONE_AFTER = 5
"""Consecutive deletes that do not find a fresh account, after which it counts as deleted."""

STALE = 15.0
"""Seconds after a write of the operator in which a read may show the state before it."""


def read_again_after(record: LedgerAccount, now: datetime) -> float:
    """Return the seconds until the next read of an account that is not settled.

    Many new accounts share the quota of their project, so the reads of one become less frequent.
    """
    age = abs((now - record.appeared_time).total_seconds()) if record.appeared_time else 0.0
    return min(max(BETWEEN_READS, age * _SHARE_OF_AGE), LONGEST_BETWEEN_READS)


class PropagationTracker:
    """Count the good reads of accounts, by e-mail. A restart loses the counts, which only costs reads."""

    def __init__(
        self, wall_clock: Callable[[], datetime], record_of: Callable[[str], LedgerAccount | None]
    ) -> None:
        """`record_of(email)` is the record of the account with this e-mail."""
        self._wall_clock = wall_clock
        self._record_of = record_of
        self._good: dict[str, tuple[str, int]] = {}
        self._made: dict[str, str] = {}
        self._misses: dict[str, int] = {}

    def begin(self, email: str, made: str = "") -> None:
        """Start to count; `made` is the unique id in the reply to a create or an undelete."""
        self._good[email] = ("", 0)
        if made:
            self._made[email] = made

    def is_on(self, email: str) -> bool:
        """Return whether the good reads of the account are being counted."""
        return email in self._good

    def made(self, email: str) -> str:
        """Return the unique id that the reply to a create or an undelete of this process named."""
        return self._made.get(email, "")

    def read(self, email: str, shown: str) -> int:
        """Count a read that showed this unique id, empty for none; return how many in a row showed it."""
        before, good = self._good.get(email, ("", 0))
        good = 0 if not shown else good + 1 if shown == before else 1
        if shown or email in self._good:
            self._good[email] = (shown, good)
        return good

    def good_reads(self, email: str) -> int:
        """Return how many reads in a row showed the same account."""
        return self._good.get(email, ("", 0))[1]

    def missed(self, email: str) -> int:
        """Count a delete that did not find the account; return how many in a row did not."""
        self._misses[email] = self._misses.get(email, 0) + 1
        return self._misses[email]

    def shown(self, email: str) -> None:
        """Record that a read showed the account."""
        self._misses.pop(email, None)

    def misses(self, email: str) -> int:
        """Return how many deletes in a row did not find the account."""
        return self._misses.get(email, 0)

    def end(self, email: str) -> None:
        """Stop to count: the account is settled, deleted or unmanaged."""
        self._good.pop(email, None)
        self._made.pop(email, None)
        self._misses.pop(email, None)

    def is_fresh(self, email: str) -> bool:
        """Return whether an account is so young that a missing read or a refused grant may be propagation."""
        return is_fresh(self._record_of(email), self._wall_clock())


_FIELDS = ("display_name", "description", "disabled")


@dataclass(frozen=True, slots=True)
class _Write:
    former: tuple[object, ...]
    current: object
    until: float


class RecentWrites:
    """Remember, by account and field, what the operator's writes replaced.

    To treat a stale read as a change by another client would count drift that never happened, and repeat the
    write. A restart loses the memory, which costs one write too many.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives monotonic seconds."""
        self._clock = clock
        self._writes: dict[tuple[str, str], _Write] = {}

    def wrote(self, before: ServiceAccount, after: ServiceAccount) -> None:
        """Note that the operator has just changed the account from `before` to `after`."""
        now = self._clock()
        self._writes = {key: write for key, write in self._writes.items() if write.until > now}
        for field in _FIELDS:
            old, new = getattr(before, field), getattr(after, field)
            if old == new:
                continue
            key = (before.unique_id, field)
            earlier = self._writes[key].former if key in self._writes else ()
            self._writes[key] = _Write((*earlier, old), new, now + STALE)

    def seen_through(self, shown: ServiceAccount) -> ServiceAccount:
        """Return the account with every value that a recent write replaced taken as a stale read."""
        now = self._clock()
        for field in _FIELDS:
            write = self._writes.get((shown.unique_id, field))
            if write and write.until > now and getattr(shown, field) in write.former:
                shown = replace(shown, **{field: write.current})  # type: ignore[arg-type] # of its own field
        return shown
