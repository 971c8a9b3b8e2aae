"""Grants that are held back on one policy: refused by Google, or taken away from us again and again.

Each has a backoff of its own, so that it neither holds up the others nor makes a fight of it.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from cloudrun_identity.gcp.errors import GoogleError
from cloudrun_identity.iam.grants import Grant


@dataclass(frozen=True, slots=True)
class BackoffLimits:
    """How long grants are held back, in seconds.

    A refusal: `first`, doubled each time up to `most`; `fresh` for members that Google may not know yet. A
    grant that was taken away `losses` times within `window` is given back only after `contested`, doubled
    likewise.
    """

    first: float = 15.0
    most: float = 900.0
    fresh: float = 3.0
    losses: int = 5
    window: float = 3600.0
    contested: float = 60.0


@dataclass(frozen=True, slots=True)
class GrantBackoff:
    """Why a grant is held back and until when (loop time); without an error somebody keeps taking it away."""

    due: float
    failures: int
    error: GoogleError | None = None
    propagating: bool = False

    @property
    def wait(self) -> float:
        """Seconds that are left."""
        return max(0.0, self.due - _now())


class GrantBackoffs:
    """The setbacks on one policy. A restart forgets them, which costs one more try each."""

    def __init__(self, backoff_limits: BackoffLimits) -> None:
        self._backoffs = backoff_limits
        self._held: dict[Grant, GrantBackoff] = {}
        self._losses: defaultdict[Grant, deque[float]] = defaultdict(
            lambda: deque(maxlen=backoff_limits.losses + 8)
        )

    @property
    def held(self) -> Mapping[Grant, GrantBackoff]:
        """Every grant that is held back now."""
        return self._held

    @property
    def withheld(self) -> frozenset[Grant]:
        """Those that may not be tried again yet."""
        return frozenset(grant for grant, backoff in self._held.items() if backoff.due > _now())

    @property
    def refused(self) -> frozenset[Grant]:
        """Those that Google refuses for good, as far as one can tell."""
        return frozenset(
            grant for grant, backoff in self._held.items() if backoff.error and not backoff.propagating
        )

    def refuse(self, grant: Grant, error: GoogleError, *, propagating: bool) -> None:
        """Google refused it, for the time being if the member is `propagating`."""
        before = self._held.get(grant)
        failures = before.failures + 1 if before else 1
        delay = self._backoffs.fresh if propagating else self._doubled(self._backoffs.first, failures)
        self._held[grant] = GrantBackoff(_now() + delay, failures, error, propagating)

    def lose(self, grant: Grant) -> None:
        """Somebody took it away; hold it back if that has become a habit."""
        losses = self._losses[grant]
        losses.append(_now())
        while losses and losses[0] < _now() - self._backoffs.window:
            losses.popleft()
        excess = len(losses) - self._backoffs.losses
        if excess >= 0:
            delay = self._doubled(self._backoffs.contested, excess + 1)
            self._held[grant] = GrantBackoff(_now() + delay, excess + 1)

    def succeed(self, grants: Collection[Grant]) -> None:
        """They stand; their losses are remembered for as long as the window is."""
        for grant in grants:
            self._held.pop(grant, None)

    def keep_only(self, claimed: Collection[Grant]) -> None:
        """Forget what nobody claims any more."""
        self._held = {grant: backoff for grant, backoff in self._held.items() if grant in claimed}
        for grant in [grant for grant in self._losses if grant not in claimed]:
            del self._losses[grant]

    def _doubled(self, first: float, times: int) -> float:
        return float(min(first * 2.0 ** min(times - 1, 16), self._backoffs.most))


def _now() -> float:
    return asyncio.get_running_loop().time()
