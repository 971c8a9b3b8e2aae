"""Hooks for tests: a process that stops at a checkpoint, and clocks that run ahead.

All are off unless an environment variable is set.

- `CLOUDRUN_IDENTITY_DIE_AT=STEP` (or `STEP#N` for the N-th time) ends the process with SIGKILL after a step.
- `CLOUDRUN_IDENTITY_KEY_CLOCK=FILE` names a file with the seconds by which the clock of keys runs ahead.
- `CLOUDRUN_IDENTITY_GRANT_CLOCK=FILE` does the same for the clock of grants and statuses.
"""

import os
import signal
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

DIE_AT = "CLOUDRUN_IDENTITY_DIE_AT"
KEY_CLOCK = "CLOUDRUN_IDENTITY_KEY_CLOCK"
GRANT_CLOCK = "CLOUDRUN_IDENTITY_GRANT_CLOCK"


def checkpoints() -> Callable[[str], None]:
    """Return the function that is called after each step that a crash could follow."""
    wanted = os.environ.get(DIE_AT)
    if not wanted:
        return _ignore
    name, _, number = wanted.partition("#")
    fatal = int(number) if number.isdigit() else 1
    reached: Counter[str] = Counter()

    def die_at(step: str) -> None:
        reached[step] += 1
        if step == name and reached[step] == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    return die_at


def key_clock() -> Callable[[], datetime]:
    """Return the clock that key rotation uses: the wall clock unless a test turns it ahead."""
    return _clock(KEY_CLOCK)


def grant_clock() -> Callable[[], datetime]:
    """Return the clock that ends temporary grants: the wall clock unless a test turns it ahead."""
    return _clock(GRANT_CLOCK)


def _clock(variable: str) -> Callable[[], datetime]:
    ahead = os.environ.get(variable)
    if not ahead:
        return now
    file = Path(ahead)
    return lambda: now() + timedelta(seconds=float(file.read_text()))


def now() -> datetime:
    """Return the time in UTC."""
    return datetime.now(UTC)


def _ignore(step: str) -> None:  # noqa: ARG001
    return
