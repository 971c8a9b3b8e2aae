"""Fair shares of a limit that the namespaces of a project use together.

Google Cloud and the guardrails limit a project as a whole: its accounts, custom roles, the principals of a
policy, the removals in an hour. Without shares, one namespace could use a limit up, and all others would be
refused. So every namespace that the guardrails admit may always use an equal share. The share of a namespace
is set aside for it, and the rest is for all.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit, and its use by namespace."""

    limit: int
    """The limit for all namespaces together."""
    used: Mapping[str, int] = field(default_factory=dict)
    """The use by each namespace."""
    others: int = 0
    """The use that belongs to no namespace, such as resources that the operator does not manage."""
    namespaces: frozenset[str] = frozenset()
    """The namespaces that may use it and have a share. If empty, there are no shares."""
    is_estimate: bool = False
    """True if the limit may be higher than this one, so that Google Cloud decides beyond it."""

    @property
    def total(self) -> int:
        """The use by all."""
        return self.others + sum(self.used.values())

    @property
    def share(self) -> int:
        """The part that each namespace may always use."""
        return max(0, self.limit - self.others) // max(1, len(self.namespaces))

    def room_for(self, namespace: str) -> int:
        """Return how much more the namespace may use now.

        This is the unused rest of its share, and the part of the limit that no share sets aside.
        """
        free = max(0, self.limit - self.total)
        share = self.share if namespace in self.namespaces else 0
        own = share - self.used.get(namespace, 0)
        set_aside = sum(
            max(0, self.share - self.used.get(other, 0)) for other in self.namespaces - {namespace}
        )
        return max(0, free - set_aside, min(free, own))

    def admits(self, namespace: str) -> bool:
        """Return whether the namespace may use one more."""
        return bool(self.room_for(namespace)) or (self.is_estimate and self.total >= self.limit)

    def with_use(self, namespace: str, amount: int = 1) -> "Budget":
        """Return the budget after the namespace uses more of it."""
        return replace(self, used={**self.used, namespace: self.used.get(namespace, 0) + amount})
