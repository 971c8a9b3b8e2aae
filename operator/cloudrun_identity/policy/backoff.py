"""Backoff of grants on one policy: grants that Google Cloud refused, or that another writer keeps removing.

Each grant has a backoff of its own. So a refused grant does not delay the others, and the operator does not
fight with another writer.
"""

import asyncio
import math
from collections import defaultdict, deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from cloudrun_identity.gcp.errors import GoogleError
from cloudrun_identity.iam.grants import Grant


@dataclass(frozen=True, slots=True)
class BackoffLimits:
    """Delays of grants, in seconds."""

    first_delay: float = 15.0
    """The delay after the first refusal. Each further refusal doubles it."""
    max_delay: float = 900.0
    """The longest delay."""
    propagation_delay: float = 3.0
    """The delay after the refusal of a member that Google Cloud may not know everywhere yet."""
    losses: int = 5
    """The losses within `loss_window` after which a grant is delayed."""
    loss_window: float = 3600.0
    """The time in which losses are counted."""
    loss_delay: float = 60.0
    """The delay of a grant that is lost too often. Each further loss doubles it."""


@dataclass(frozen=True, slots=True)
class GrantBackoff:
    """The delay of one grant."""

    due: float
    """The event loop time of the next attempt."""
    failures: int
    """The refusals or losses so far."""
    error: GoogleError | None = None
    """The refusal; None if another writer keeps removing the grant."""
    propagating: bool = False
    """True if Google Cloud may not know the member everywhere yet."""
    while_shown: frozenset[Grant] = frozenset()
    """The grants that may be registered forms of the member: it is not written while the policy shows all of
    them."""

    @property
    def wait(self) -> float:
        """The seconds until the next attempt."""
        return max(0.0, self.due - _now())


class GrantBackoffs:
    """Delayed grants of one policy. A restart drops them, which costs one more attempt each."""

    def __init__(self, limits: BackoffLimits) -> None:
        self._limits = limits
        self._delayed: dict[Grant, GrantBackoff] = {}
        self._losses: defaultdict[Grant, deque[float]] = defaultdict(lambda: deque(maxlen=limits.losses + 8))

    @property
    def delayed(self) -> Mapping[Grant, GrantBackoff]:
        """Every grant with a backoff, due or not."""
        return self._delayed

    @property
    def withheld(self) -> frozenset[Grant]:
        """The grants that are not due yet."""
        return frozenset(grant for grant, backoff in self._delayed.items() if backoff.due > _now())

    @property
    def refused(self) -> frozenset[Grant]:
        """The grants that Google Cloud refused for another reason than propagation."""
        return frozenset(
            grant for grant, backoff in self._delayed.items() if backoff.error and not backoff.propagating
        )

    def refuse(self, grant: Grant, error: GoogleError, *, propagating: bool) -> None:
        """Delay a grant that Google Cloud refused."""
        before = self._delayed.get(grant)
        failures = before.failures + 1 if before else 1
        delay = (
            self._limits.propagation_delay
            if propagating
            else self._doubled(self._limits.first_delay, failures)
        )
        self._delayed[grant] = GrantBackoff(_now() + delay, failures, error, propagating)

    def suspend(self, grant: Grant, error: GoogleError, *, while_shown: frozenset[Grant]) -> None:
        """Delay a grant that another write would not add while the policy shows all of these grants."""
        self._delayed[grant] = GrantBackoff(math.inf, 1, error, while_shown=while_shown)

    def resume(self, shown: Collection[Grant]) -> None:
        """End the delay of suspended grants, according to what the policy shows."""
        self._delayed = {
            grant: backoff
            for grant, backoff in self._delayed.items()
            if backoff.due < math.inf or backoff.while_shown.issubset(shown)
        }

    def is_resumed_without(self, grant: Grant, removed: Collection[Grant]) -> bool:
        """Return whether the removal of these grants from the policy ends the suspension of a grant."""
        backoff = self._delayed.get(grant)
        return backoff is not None and not backoff.while_shown.isdisjoint(removed)

    def lose(self, grant: Grant) -> None:
        """Count the loss of a grant that another writer removed, and delay a grant that is lost too often."""
        losses = self._losses[grant]
        losses.append(_now())
        while losses and losses[0] < _now() - self._limits.loss_window:
            losses.popleft()
        excess = len(losses) - self._limits.losses
        if excess >= 0:
            delay = self._doubled(self._limits.loss_delay, excess + 1)
            self._delayed[grant] = GrantBackoff(_now() + delay, excess + 1)

    def succeed(self, grants: Collection[Grant]) -> None:
        """End the backoff of grants that are present. Their losses still count within the window."""
        for grant in grants:
            self._delayed.pop(grant, None)

    def keep_only(self, desired: Collection[Grant]) -> None:
        """Drop all grants that no object desires any more."""
        self._delayed = {grant: backoff for grant, backoff in self._delayed.items() if grant in desired}
        for grant in [grant for grant in self._losses if grant not in desired]:
            del self._losses[grant]

    def _doubled(self, first: float, times: int) -> float:
        return float(min(first * 2.0 ** min(times - 1, 16), self._limits.max_delay))


def _now() -> float:
    return asyncio.get_running_loop().time()
