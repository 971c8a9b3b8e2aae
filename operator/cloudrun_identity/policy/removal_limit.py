"""The brake on removals that nobody asked for by an edit or a deletion: so many an hour in a project."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable

HOUR = 3600.0


class RemovalRateLimiter:
    """Counts removals by project in a sliding hour; a restart forgets them."""

    def __init__(self, limit_of: Callable[[str], int]) -> None:
        """`limit_of(project_id)` is how many removals an hour the project allows."""
        self._limit_of = limit_of
        self._removed: defaultdict[str, deque[float]] = defaultdict(deque)

    def admit(self, project_id: str, wanted: int) -> int:
        """How many of `wanted` removals may be made now."""
        return max(0, min(wanted, self._limit_of(project_id) - len(self._recent(project_id))))

    def note(self, project_id: str, removed: int) -> None:
        """So many were made."""
        self._recent(project_id).extend([_now()] * removed)

    def _recent(self, project_id: str) -> "deque[float]":
        recent = self._removed[project_id]
        while recent and recent[0] < _now() - HOUR:
            recent.popleft()
        return recent


def _now() -> float:
    return asyncio.get_running_loop().time()
