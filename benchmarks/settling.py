"""The end of the operator's work: when it made its last call, write or reconcile, and its cost until then."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from cloudrun_identity_playground.demo.stage import Stage

from . import counts, process
from .counts import Counts

SETTLED_AFTER = 5.0
"""Seconds without a call, a write or a reconcile after which the operator has settled."""

KIND = "IAMBinding"
"""The kind of the objects."""

_OBJECTS_PER_SECOND = 5_000
_PROJECTS = "google.cloud.resourcemanager.v3.Projects"
READ, WRITE = f"{_PROJECTS}/GetIamPolicy", f"{_PROJECTS}/SetIamPolicy"
"""Methods that read and write the policy of a project."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of the operator at one time."""

    counts: Counts
    """Calls, writes and metrics since the start."""
    time: float
    """Monotonic time in seconds."""
    cpu: float
    """Processor time of the operator in seconds."""

    @property
    def reads(self) -> int:
        """Return the number of policy reads."""
        return self.counts.calls[READ]

    @property
    def writes(self) -> int:
        """Return the number of policy writes."""
        return self.counts.calls[WRITE]

    @property
    def activity(self) -> tuple[object, ...]:
        """Return counts that change while the operator works."""
        return (
            self.counts.calls,
            self.counts.changes,
            self.counts.metric("reconciles_total"),
            self.counts.metric("queue_depth"),
        )


def operator_pid(stage: Stage) -> int:
    """Return the process id of the operator, which was started last."""
    return stage.parts.pids[-1]


async def snapshot(stage: Stage) -> Snapshot:
    """Read the present state."""
    now = await counts.read(stage)
    return Snapshot(now, time.monotonic(), process.cpu_seconds(operator_pid(stage)))


async def settled(stage: Stage, is_reached: Callable[[Counts], bool], what: str, size: int) -> Snapshot:
    """Wait until a state is reached and the operator has settled. Return the first snapshot of that state.

    Each poll makes the operator count its objects for the metrics. With many objects, `size`, polls are rare,
    so that they take less than one percent of its processor time.

    Raises:
        DemoError: a process has ended, or the state was not reached in time.

    """
    first = await snapshot(stage)

    async def read() -> Snapshot:
        nonlocal first
        now = await snapshot(stage)
        if now.activity != first.activity or not is_reached(now.counts):
            first = now
        return now

    def has_settled(now: Snapshot) -> bool:
        idle = not now.counts.metric("queue_depth")
        return idle and is_reached(now.counts) and now.time - first.time >= SETTLED_AFTER

    interval = max(counts.POLL_INTERVAL, size / _OBJECTS_PER_SECOND)
    await counts.wait_for(stage, read, has_settled, what, interval)
    return first


async def all_ready(stage: Stage, size: int) -> Snapshot:
    """Wait until as many bindings are Ready and the operator has settled. Raises like `settled`."""
    return await settled(stage, lambda now: now.ready(KIND) == size, f"{size} bindings are Ready", size)
