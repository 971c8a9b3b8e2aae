"""State of the change feeds: what the pulls of each subscription and the resyncs of each project show."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cloudrun_identity.api import ManagedProject
from cloudrun_identity.controllers.managed_project.change_feed import LAGGING_AFTER, FeedState
from cloudrun_identity.gcp.errors import GoogleError
from cloudrun_identity.gcp.single_flight_cache import Clock

from .project_settings import resync_interval_of


@dataclass(slots=True)
class _Subscription:
    """The last pulls of one subscription."""

    succeeded_at: float
    """Time of the last successful pull, or of the first look."""
    has_pulled: bool = False
    """True if a pull has succeeded."""
    error: GoogleError | None = None
    """Error of the last pull; None if it succeeded."""
    lag: float = 0.0
    """Seconds by which the oldest entry of the last delivery was late."""
    late_at: float = float("-inf")
    """Time of the last delivery with a late entry."""


PUNCTUAL_AFTER: Final = 600.0
"""Seconds without a late entry after which a feed counts as punctual again, so that it does not flap."""

LONGEST_RESYNC: Final = 86_400.0
"""Longest interval between two resyncs, in seconds. A sink that was deleted is not noticed without drift."""


class FeedHealth:
    """The states of all change feeds."""

    def __init__(
        self, default: str, identity: Callable[[], str] = lambda: "", clock: Clock = time.monotonic
    ) -> None:
        """`default` is the subscription of projects that name none; empty without one.

        `identity` returns the e-mail that pulls.
        """
        self._default = default
        self._identity = identity
        self._clock = clock
        self._subscriptions: dict[str, _Subscription] = {}
        self._last_entry: dict[str, datetime] = {}
        self._missed: dict[str, float] = {}
        self._ready: dict[str, bool] = {}

    def subscription_of(self, project: ManagedProject) -> str:
        """Return the subscription with the audit log of a project; empty without one."""
        declared = project.spec.change_feed
        return (declared.subscription if declared else None) or self._default

    def state(self, project: ManagedProject) -> FeedState | None:
        """Return the state of the feed of a project; None if it has none."""
        subscription = self.subscription_of(project)
        if not subscription:
            return FeedState("") if project.spec.change_feed else None
        known = self._known(subscription)
        before = project.status.change_feed
        persisted = before.last_entry_time if before and before.subscription == subscription else None
        received = self._last_entry.get(project.project_id)
        return FeedState(
            subscription,
            operator=self._identity(),
            has_pulled=known.has_pulled,
            error=known.error,
            failing_for=self._clock() - known.succeeded_at,
            lag=known.lag,
            last_entry=received or persisted,
            has_received=received is not None,
            has_missed=self._clock() - self._missed.get(project.project_id, self._clock()) > LAGGING_AFTER,
        )

    def interval(self, project: ManagedProject) -> float:
        """Return the seconds between two resyncs: longer while the feed is ready, if the project says so."""
        declared, interval = project.spec.change_feed, resync_interval_of(project)
        if declared is None or declared.resync_with_feed is None:
            return interval
        state = self.state(project)
        stretched = min(declared.resync_with_feed.timedelta.total_seconds(), LONGEST_RESYNC)
        return max(interval, stretched) if state and state.is_ready else interval

    def pulled(self, subscription: str, lag: float | None = None) -> None:
        """Note a successful pull. `lag` is that of the oldest new change; None if it delivered none."""
        known, now = self._known(subscription), self._clock()
        known.succeeded_at, known.has_pulled, known.error = now, True, None
        lag = lag or 0.0
        if lag > LAGGING_AFTER:
            known.late_at = now
        elif known.lag > LAGGING_AFTER and now - known.late_at < PUNCTUAL_AFTER:
            return
        known.lag = lag

    def failed(self, subscription: str, error: GoogleError) -> None:
        """Note a pull that failed."""
        self._known(subscription).error = error

    def received(self, project_id: str, changed_at: datetime) -> None:
        """Note an entry of a project: its sink works."""
        self._missed.pop(project_id, None)
        self._last_entry[project_id] = max(changed_at, self._last_entry.get(project_id, changed_at))

    def missed(self, project_id: str) -> None:
        """Note drift that no entry had reported. An entry of the project may still arrive."""
        self._missed.setdefault(project_id, self._clock())

    def changes(self, projects: Iterable[ManagedProject]) -> tuple[ManagedProject, ...]:
        """Return the projects whose feed has become ready, or not, since the last call."""
        changed = []
        for project in projects:
            state = self.state(project)
            ready = state is not None and state.is_ready
            if self._ready.get(project.metadata.name) is not ready:
                self._ready[project.metadata.name] = ready
                changed.append(project)
        return tuple(changed)

    def _known(self, subscription: str) -> _Subscription:
        if subscription not in self._subscriptions:
            self._subscriptions[subscription] = _Subscription(self._clock())
        return self._subscriptions[subscription]
