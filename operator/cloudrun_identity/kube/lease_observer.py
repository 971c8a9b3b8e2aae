"""Leases of other processes: whether their holders still renew them, by this process's own clock."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from .errors import KubeError
from .resources import LEASES, Object, ObjectClient

READ_INTERVAL: Final = 2.0
"""Minimum seconds between two reads of one Lease, however many projects depend on it."""

DEFAULT_DURATION: Final = 15.0
"""Duration in seconds of a Lease that does not contain one."""

GRACE: Final = 2
"""Lease durations without a renewal after which a Lease counts as ended. A standby takes over after the first
one. The second one is time for that, between two reads of the observer."""

_log = logging.getLogger(__name__)


class LeaseState(Enum):
    """Use of a Lease by its holder."""

    RENEWED = auto()
    """The Lease changed within `GRACE` durations, or was first read within them."""
    ENDED = auto()
    """The Lease was not renewed for `GRACE` durations, or does not exist."""
    UNKNOWN = auto()
    """The Lease cannot be read, so its holder may be at work."""


@dataclass(frozen=True, slots=True)
class ObservedLease:
    """A Lease as last read."""

    state: LeaseState
    """Use of the Lease."""
    holder: str = ""
    """Identity of the holder; empty if none is recorded."""
    problem: str = ""
    """Reason why the Lease cannot be read."""
    renewals: int = 0
    """Number of changes that the observer has seen."""


@dataclass(slots=True)
class _Record:
    spec: Object
    """The spec of the Lease as last read; empty if there is none."""
    since: float
    """Time of the first read of this spec."""
    read: float
    """Time of the last read."""
    problem: str = ""
    """Reason why the last read failed."""
    renewals: int = 0
    """Number of changes of the spec between two reads."""


class LeaseObserver:
    """Reads Leases, and measures how long each record has not changed.

    The clocks of two machines are never compared, as in `kube.lease`. A new observer therefore reports a
    Lease as renewed until it has seen the same record for `GRACE` durations of the Lease.
    """

    def __init__(self, client: ObjectClient, clock: Callable[[], float]) -> None:
        self._client = client
        self._clock = clock
        self._records: dict[tuple[str, str], _Record] = {}
        self._locks: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def observe(self, namespace: str, name: str) -> ObservedLease:
        """Return the use of a Lease, from a read at most `READ_INTERVAL` ago."""
        async with self._locks[namespace, name]:
            now, known = self._clock(), self._records.get((namespace, name))
            if known is None or now - known.read >= READ_INTERVAL:
                known = await self._read(namespace, name, known)
                self._records[namespace, name] = known
        holder = known.spec.get("holderIdentity") or ""
        if known.problem:
            return ObservedLease(LeaseState.UNKNOWN, holder, known.problem)
        duration = known.spec.get("leaseDurationSeconds") or DEFAULT_DURATION
        ended = known.read - known.since >= GRACE * duration  # not by the clock: the last read may be too old
        state = LeaseState.ENDED if ended else LeaseState.RENEWED
        return ObservedLease(state, holder, renewals=known.renewals)

    async def _read(self, namespace: str, name: str, known: _Record | None) -> _Record:
        problem, spec = "", known.spec if known else {}
        try:
            lease = await self._client.get(LEASES, name, namespace)
            spec = lease.get("spec") or {}
        except KubeError as error:
            if error.is_not_found:
                spec = {}
            else:
                problem = str(error)
                _log.debug("lease %s/%s cannot be read: %s", namespace, name, error)
        now = self._clock()
        if known is None:
            return _Record(spec, now, now, problem)
        if known.spec == spec:
            return _Record(spec, known.since, now, problem, known.renewals)
        return _Record(spec, now, now, problem, known.renewals + 1)
