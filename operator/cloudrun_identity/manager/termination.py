"""End of the process on SIGTERM and SIGINT, within a grace period, whatever hangs."""

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

_log = logging.getLogger(__name__)

GRACE_PERIOD = 20.0
"""Grace period in seconds. The kubelet sends SIGKILL 30 s after SIGTERM."""

_LOGS_WITHIN = 1.0
"""Seconds for the last line of the log: a thread that hangs may hold the lock of the log."""


class Termination:
    """Handles the signals that end the process.

    The first one sets `requested`, so that work in flight drains. The second one, or the end of the grace
    period, ends the process at once. A thread of its own watches the period, because the event loop, a
    library or the interpreter's own shutdown may hang.
    """

    def __init__(
        self, grace_period: float = GRACE_PERIOD, exit_now: Callable[[int], object] = os._exit
    ) -> None:
        """`exit_now` ends the process without any cleanup."""
        self.requested = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._grace_period = grace_period
        self._exit_now = exit_now
        self._begun = threading.Event()

    def install(self) -> None:
        """Handle SIGTERM and SIGINT from now on."""
        # Not by the event loop, which handles no signal while it is blocked.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def begin(self) -> None:
        """Start the grace period, unless it runs already."""
        if not self._begun.is_set():
            self._begun.set()
            threading.Thread(target=self._enforce, name="termination", daemon=True).start()

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self._begun.is_set():
            self._exit_now(128 + number)
        self.begin()
        self._loop.call_soon_threadsafe(self.requested.set)

    def _enforce(self) -> None:
        time.sleep(self._grace_period)
        message = "the process did not end within %g s: something hangs; ending it now"
        last_line = threading.Thread(target=_log.error, args=(message, self._grace_period), daemon=True)
        last_line.start()
        last_line.join(_LOGS_WITHIN)
        self._exit_now(1)
