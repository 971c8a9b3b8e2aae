"""The hourly limit on removals of unmanaged members, shared by the namespaces of a project."""

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from typing import Final

from cloudrun_identity.iam.shares import Budget

HOUR: Final = 3600.0


def _no_shares(_: str) -> frozenset[str]:
    return frozenset()


class RecentRemovals:
    """Removals of unmanaged members in the last hour: the time and the namespace of each, by project.

    They outlive the parts that a restart of the watches composes again. A new process has none.
    """

    def __init__(self) -> None:
        self._by_project: defaultdict[str, deque[tuple[float, str]]] = defaultdict(deque)

    def of(self, project_id: str) -> deque[tuple[float, str]]:
        """Return the removals in a project, the oldest first."""
        recent = self._by_project[project_id]
        while recent and recent[0][0] < _now() - HOUR:
            recent.popleft()
        return recent


class RemovalRateLimiter:
    """Limit on removals of unmanaged members, per project in a sliding hour. A new process starts at zero.

    Each namespace that the guardrails allow to have exclusive bindings has a share. A removal counts from its
    admission, so that concurrent syncs of a project share the limit. A removal that did not happen is
    refunded.
    """

    def __init__(
        self,
        limit_of: Callable[[str], int],
        namespaces_of: Callable[[str], frozenset[str]] = _no_shares,
        removals: RecentRemovals | None = None,
    ) -> None:
        """Initialize the limiter.

        `limit_of(project_id)` returns the removals allowed in an hour, `namespaces_of(project_id)` the
        namespaces that have a share; none if the first namespace to ask may have all. `removals` are those
        of an earlier limiter.
        """
        self._limit_of = limit_of
        self._namespaces_of = namespaces_of
        self._removals = removals or RecentRemovals()

    def admit(self, project_id: str, namespace: str) -> bool:
        """Return whether one more removal for a namespace is within the limit, and count it if so."""
        admitted = self.budget(project_id).room_for(namespace) > 0
        if admitted:
            self._removals.of(project_id).append((_now(), namespace))
        return admitted

    def refund(self, project_id: str, namespace: str) -> None:
        """Uncount the latest admitted removal of a namespace, which did not happen."""
        recent = self._removals.of(project_id)
        for index in range(len(recent) - 1, -1, -1):
            if recent[index][1] == namespace:
                del recent[index]
                return

    def budget(self, project_id: str) -> Budget:
        """Return the limit of a project, and the removals of each namespace in the last hour."""
        used = Counter(namespace for _, namespace in self._removals.of(project_id))
        return Budget(self._limit_of(project_id), used, namespaces=self._namespaces_of(project_id))


def _now() -> float:
    return asyncio.get_running_loop().time()
