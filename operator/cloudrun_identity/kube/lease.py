"""Leader election with a Lease: the holder renews it, and a standby takes over once it has expired.

The clocks of two machines are never compared. For a standby, the lease has expired when its record has not
changed for the lease duration, measured on the standby's own clock. The holder measures the duration from the
start of its last successful renewal, so it stops acting before a standby takes over.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NoReturn

from .errors import KubeError
from .resources import LEASES, Object, ObjectClient

NAME = "cloudrun-identity"

MAX_RETRY_INTERVAL = 1.0
"""Maximum seconds between two reads by a standby, and between two attempts of a failed renewal."""

RELEASES_WITHIN = 3.0
"""Seconds for the release, so that an API server that hangs does not delay the end of the process."""

NO_ANSWER = "the API server did not answer"

_log = logging.getLogger(__name__)


class LeaseLost(Exception):
    """The replica lost the lease and must stop at once. The message is one line."""


class Lease:
    """Candidate for one Lease object."""

    def __init__(
        self,
        client: ObjectClient,
        namespace: str,
        name: str = NAME,
        *,
        identity: str,
        duration: float,
        predecessors: str = "",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        on_write: Callable[[Object], None] = lambda _: None,
    ) -> None:
        """Create a candidate that does not hold the lease yet.

        `identity` must be unique to this process: a process that reads its own identity in the record
        considers itself the holder. `duration` is in seconds; the record contains it rounded up.
        `predecessors` is the prefix of the identities of processes that have ended: a lease that one of them
        holds counts as expired. `on_write` is called with each stored version that this process wrote.
        """
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._duration = duration
        self._renew_interval = duration / 3
        self._retry_interval = min(duration / 5, MAX_RETRY_INTERVAL)
        self._predecessors = predecessors
        self._now = now
        self._on_write = on_write
        self._held_until = -math.inf  # by the clock of the event loop
        self._written: Object | None = None  # the version that this process wrote last, if it is stored
        self._observed_spec: Object = {}  # the last record of another holder
        self._observed_since = -math.inf
        self._observed_until = -math.inf

    @property
    def is_holder(self) -> bool:
        """True if this process holds the lease, and it has not expired."""
        return _monotonic() < self._held_until

    async def acquire(self) -> None:
        """Wait until this process holds the lease, as a standby while another process renews it."""
        logged_holder = ""
        while True:
            try:
                async with asyncio.timeout(self._renew_interval):
                    holder = await self._attempt()
            except (KubeError, TimeoutError) as error:
                _log.warning(
                    "lease %s/%s cannot be read or written: %s",
                    self._namespace,
                    self._name,
                    str(error) or NO_ANSWER,
                )
            else:
                if self.is_holder:
                    return
                if holder != logged_holder:
                    _log.info("standby: lease %s/%s is held by %s", self._namespace, self._name, holder)
                    logged_holder = holder
            expires_in = max(self._observed_until - _monotonic(), 0.0)
            await asyncio.sleep(min(self._retry_interval, expires_in or self._retry_interval))

    async def hold(self, problem: Callable[[], str] = lambda: "") -> NoReturn:
        """Renew the lease until it is lost.

        An API server that does not answer is tolerated until the lease expires. `problem` returns why this
        process cannot do the work of the holder, if it cannot.

        Raises:
            LeaseLost: The lease expired, another process holds it, or this process has a problem.

        """
        renewed = True
        while True:
            if reason := problem():
                raise LeaseLost(f"gave up lease {self._namespace}/{self._name}: {reason}")
            try:
                async with asyncio.timeout_at(self._held_until):
                    await asyncio.sleep(self._renew_interval if renewed else self._retry_interval)
                    renewed = await self._renew()
            except TimeoutError:
                raise LeaseLost(
                    f"lease {self._namespace}/{self._name} could not be renewed for {self._duration:g}s"
                ) from None

    async def release(self) -> None:
        """Release the lease if this process holds it, so that a standby takes over at once.

        A failure is only logged: the lease expires later.
        """
        if not self.is_holder:
            return
        expires, self._held_until = self._held_until, -math.inf
        try:
            async with asyncio.timeout_at(min(expires, _monotonic() + RELEASES_WITHIN)):
                lease = await self._client.get(LEASES, self._name, self._namespace)
                if _holder(lease) == self._identity:
                    await self._client.replace(LEASES, _with_spec(lease, holderIdentity=""))
        except (KubeError, TimeoutError) as error:
            _log.warning(
                "lease %s/%s was not released: %s", self._namespace, self._name, str(error) or NO_ANSWER
            )

    async def _renew(self) -> bool:
        """Renew the lease. Return False if the API server did not answer."""
        try:
            async with asyncio.timeout(self._renew_interval):  # a new connection may work
                holder = await self._attempt()
        except (KubeError, TimeoutError) as error:
            _log.warning(
                "lease %s/%s was not renewed: %s", self._namespace, self._name, str(error) or NO_ANSWER
            )
            return False
        if holder != self._identity:
            self._held_until = -math.inf
            raise LeaseLost(f"lease {self._namespace}/{self._name} was taken by {holder}")
        return True

    async def _attempt(self) -> str:
        """Create, renew or take over the lease, unless another process holds it. Return the holder.

        The holder does not read the lease first: only an unchanged one can be replaced.
        """
        written, self._written = self._written, None  # unknown until the write has ended
        lease = written or await self._read()
        if lease is not None and (holder := self._other_holder(lease)):
            return holder
        started = _monotonic()
        try:
            await self._write(lease)
        except KubeError as error:
            # Read again: another process was faster, the lease was deleted, or an earlier write was stored
            # although its answer was lost.
            if not (error.is_conflict or error.is_not_found):
                raise
            lease = await self._read()
            if lease is not None and (holder := self._other_holder(lease)):
                return holder
            started = _monotonic()
            await self._write(lease)
        self._held_until = started + self._duration
        return self._identity

    async def _read(self) -> Object | None:
        try:
            return await self._client.get(LEASES, self._name, self._namespace)
        except KubeError as error:
            if error.is_not_found:
                return None
            raise

    async def _write(self, lease: Object | None) -> None:
        now = micro_time(self._now())
        record = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": math.ceil(self._duration),
            "renewTime": now,
        }
        if lease is None:
            metadata = {"name": self._name, "namespace": self._namespace}
            spec = {**record, "acquireTime": now, "leaseTransitions": 0}
            stored = await self._client.create(
                LEASES,
                {"apiVersion": LEASES.api_version, "kind": "Lease", "metadata": metadata, "spec": spec},
            )
        elif _holder(lease) == self._identity:
            stored = await self._client.replace(LEASES, _with_spec(lease, **record))
        else:
            transitions = lease["spec"].get("leaseTransitions", 0) + 1
            taken = _with_spec(lease, **record, acquireTime=now, leaseTransitions=transitions)
            stored = await self._client.replace(LEASES, taken)
        self._written = stored
        self._on_write(stored)

    def _other_holder(self, lease: Object) -> str:
        """Return another process that holds the lease; empty if there is none, or the lease has expired."""
        holder, now = _holder(lease), _monotonic()
        if holder in ("", self._identity) or (self._predecessors and holder.startswith(self._predecessors)):
            return ""
        if lease["spec"] != self._observed_spec:
            self._observed_spec, self._observed_since = lease["spec"], now
        duration = lease["spec"].get("leaseDurationSeconds", self._duration)
        self._observed_until = self._observed_since + duration
        return "" if now >= self._observed_until else holder


def micro_time(moment: datetime) -> str:
    """Format a time as a MicroTime of Kubernetes, in UTC.

    The API server refuses a MicroTime with zero microseconds, because it parses it as a Time. Zero is
    therefore written as one microsecond.
    """
    utc = moment.astimezone(UTC)
    return utc.replace(microsecond=utc.microsecond or 1).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _holder(lease: Object) -> str:
    return lease.get("spec", {}).get("holderIdentity") or ""


def _with_spec(lease: Object, **changes: object) -> Object:
    return lease | {"spec": lease.get("spec", {}) | changes}


def _monotonic() -> float:
    return asyncio.get_running_loop().time()
