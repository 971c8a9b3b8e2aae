"""The wall clock that keys go by, and a hook to turn it: how rotations that take months are tested.

`CLOUDRUN_IDENTITY_KEY_CLOCK=FILE` names a file that holds by how many seconds the clock is ahead.
"""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

VARIABLE = "CLOUDRUN_IDENTITY_KEY_CLOCK"


def key_clock() -> Callable[[], datetime]:
    """What to ask for the time, by the environment: the true one, in production."""
    turned = os.environ.get(VARIABLE)
    if not turned:
        return now
    file = Path(turned)
    return lambda: now() + timedelta(seconds=float(file.read_text()))


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)
