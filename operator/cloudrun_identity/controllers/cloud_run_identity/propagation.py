"""Accounts of our own making that Google may not know everywhere yet.

For minutes after its creation an account is found and not found by turns, and policies refuse it as a member.
Since when is in the account's record, so that a restart does not take a living account for a lost one.
"""

from collections.abc import Callable
from datetime import datetime

from cloudrun_identity.api import LedgerAccount

GRACE = 120.0
"""Seconds after a create or an undelete in which a missing account is lag, not loss."""

GOOD_READS = 3
"""Consecutive good reads after which dependants may go."""

BETWEEN_READS = 0.7
"""Seconds between them."""


class PropagationTracker:
    """Counts the good reads of accounts, by e-mail. A restart forgets the counts, which only costs reads."""

    def __init__(
        self, wall_clock: Callable[[], datetime], record_of: Callable[[str], LedgerAccount | None]
    ) -> None:
        """`record_of(email)` is the record of the account with this e-mail."""
        self._wall_clock = wall_clock
        self._record_of = record_of
        self._good: dict[str, tuple[str, int]] = {}
        self._made: dict[str, str] = {}

    def begin(self, email: str, made: str = "") -> None:
        """Count from now on; `made` is the unique id that the reply to our own create named."""
        self._good[email] = ("", 0)
        if made:
            self._made[email] = made

    def is_on(self, email: str) -> bool:
        """Whether good reads of the account are being counted."""
        return email in self._good

    def made(self, email: str) -> str:
        """The unique id of the account that this very process made under the e-mail; empty: none."""
        return self._made.get(email, "")

    def read(self, email: str, shown: str) -> bool:
        """Count a read that showed this unique id, empty for none; True once enough in a row showed one."""
        before, good = self._good.get(email, ("", 0))
        good = 0 if not shown else good + 1 if shown == before else 1
        self._good[email] = (shown, good)
        return good >= GOOD_READS

    def end(self, email: str) -> None:
        """The account is steady, gone, or none of ours."""
        self._good.pop(email, None)
        self._made.pop(email, None)

    def is_fresh(self, email: str) -> bool:
        """Whether the account is so young that a missing read or a refused grant may be lag."""
        record = self._record_of(email)
        if record is None or record.appeared_time is None:
            return False
        return abs((self._wall_clock() - record.appeared_time).total_seconds()) <= GRACE
