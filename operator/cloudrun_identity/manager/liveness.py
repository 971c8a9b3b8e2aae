"""Liveness of the leader: the reason why it makes no progress.

`/healthz` and the renewal of the Lease ask for it, so that the Lease is never held by a process that does not
work. A standby is alive.
"""

import asyncio

from .manager import Manager
from .stream_monitor import DELIVERS_WITHIN, StreamMonitor

STARTS_WITHIN = 300.0
"""Seconds in which a leader must have filled its cache and started its watches."""

MONITORED_WITHIN = 2 * DELIVERS_WITHIN
"""Seconds after which a monitor that has not run counts as ended."""


class Liveness:
    """The parts of the process that must make progress."""

    def __init__(self) -> None:
        self._manager: Manager | None = None
        self._monitor: StreamMonitor | None = None
        self._starting_since: float | None = None

    def starting(self) -> None:
        """Note that this process leads and has no running manager yet."""
        self._manager = self._monitor = None
        if self._starting_since is None:
            self._starting_since = _now()

    def started(self, manager: Manager, monitor: StreamMonitor) -> None:
        """Note the manager that runs from now on, and the monitor of its watches."""
        self._manager, self._monitor, self._starting_since = manager, monitor, None

    def problem(self) -> str:
        """Return what does not make progress; empty if everything does."""
        if self._starting_since is not None and _now() - self._starting_since > STARTS_WITHIN:
            return f"the manager did not start within {STARTS_WITHIN:g}s"
        if self._monitor is not None and _now() - self._monitor.checked_at > MONITORED_WITHIN:
            return f"the watches were not checked for {MONITORED_WITHIN:g}s"
        return self._manager.problem() if self._manager is not None else ""


def _now() -> float:
    return asyncio.get_running_loop().time()
