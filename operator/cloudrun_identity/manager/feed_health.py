"""State of the change feeds: what the pulls of each subscription and the resyncs of each project show."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

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
        return FeedState(
            subscription,
            operator=self._identity(),
            has_pulled=known.has_pulled,
            error=known.error,
            failing_for=self._clock() - known.succeeded_at if known.error else 0.0,
            lag=known.lag,
            last_entry=self._last_entry.get(project.project_id, persisted),
            has_missed=self._clock() - self._missed.get(project.project_id, self._clock()) > LAGGING_AFTER,
        )

    def interval(self, project: ManagedProject) -> float:
        """Return the seconds between two resyncs: longer while the feed is ready, if the project says so."""
        declared, interval = project.spec.change_feed, resync_interval_of(project)
        if declared is None or declared.resync_with_feed is None:
            return interval
        state = self.state(project)
        stretched = declared.resync_with_feed.timedelta.total_seconds()
        return max(interval, stretched) if state and state.is_ready else interval

    def pulled(self, subscription: str, lag: float | None = None) -> None:
        """Note a successful pull. `lag` is that of its oldest entry; None if it delivered none."""
        known = self._known(subscription)
        known.succeeded_at, known.has_pulled, known.error = self._clock(), True, None
        known.lag = 0.0 if lag is None else lag

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
