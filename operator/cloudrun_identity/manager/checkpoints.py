"""Steps between which the process may die, and a hook to let it: how crash safety is proven, not hoped for.

`CLOUDRUN_IDENTITY_DIE_AT=STEP` (or `STEP#N` for the N-th time) ends the process there as SIGKILL would.
"""

import os
import signal
from collections import Counter
from collections.abc import Callable

VARIABLE = "CLOUDRUN_IDENTITY_DIE_AT"


def checkpoints() -> Callable[[str], None]:
    """What to call after each step, by the environment: nothing at all, in production."""
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return _pass
    name, _, number = wanted.partition("#")
    due = int(number) if number.isdigit() else 1
    passed: Counter[str] = Counter()

    def die_at(step: str) -> None:
        passed[step] += 1
        if step == name and passed[step] == due:
            os.kill(os.getpid(), signal.SIGKILL)

    return die_at


def _pass(step: str) -> None:  # noqa: ARG001
    return
