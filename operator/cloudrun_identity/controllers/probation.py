"""Accounts of our own making that Google may not know everywhere yet.

For minutes after its creation an account is found and not found by turns, and policies refuse it as a member.
"""

from collections.abc import Callable

GRACE = 120.0
"""Seconds after a create or an undelete in which a missing account is lag, not loss."""

GOOD_READS = 3
"""Consecutive good reads after which dependants may go."""

BETWEEN_READS = 0.7
"""Seconds between them."""


class Probation:
    """Counts the good reads of fresh accounts, by e-mail. A restart forgets it, which only costs reads."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives monotonic seconds."""
        self._clock = clock
        self._since: dict[str, float] = {}
        self._good: dict[str, int] = {}

    def begin(self, email: str) -> None:
        """The account was created or brought back just now."""
        self._since[email] = self._clock()
        self._good[email] = 0

    def is_on(self, email: str) -> bool:
        """Whether good reads of the account are being counted."""
        return email in self._good

    def read(self, email: str, *, found: bool) -> bool:
        """Count a read; True once enough of them in a row were good."""
        self._good[email] = self._good.get(email, 0) + 1 if found else 0
        return self._good[email] >= GOOD_READS

    def end(self, email: str) -> None:
        """The account is steady. It stays fresh for a while."""
        self._good.pop(email, None)

    def forget(self, email: str) -> None:
        """The account is gone, or none of ours: what is missing of it now is missing."""
        self._good.pop(email, None)
        self._since.pop(email, None)

    def is_fresh(self, email: str) -> bool:
        """Whether the account is so young that a missing read or a refused grant may be lag."""
        since = self._since.get(email)
        if since is None:
            return False
        if self._clock() - since > GRACE:
            del self._since[email]
            return False
        return True
