"""One replica acts: a Lease that its holder renews and a standby takes over once it has expired.

The clocks of two machines are never compared. A standby sees that a lease has expired by watching the record
stand still for as long as its holder promised to renew it in; the holder counts from its own last success and
lets go before that.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NoReturn

from .errors import KubeError
from .resources import LEASES, Object, Verbs

NAME = "cloudrun-identity"

_log = logging.getLogger(__name__)


class LeaseLost(Exception):  # noqa: N818 - it names what happened
    """Another replica may act from now on: stop at once; the message is one line."""


class Lease:
    """Our part in one Lease object.

    `identity` must be unique to this process: whoever finds it in the record takes the lease for its own.
    `duration` is in seconds; the record holds it rounded up to whole ones.
    """

    def __init__(
        self,
        client: Verbs,
        namespace: str,
        name: str = NAME,
        *,
        identity: str,
        duration: float,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._duration = duration
        self._renew_interval = duration / 3
        self._retry_interval = duration / 5
        self._now = now
        self._held_until = -math.inf  # on the loop's clock
        self._watched: Object = {}  # the other holder's record, as last seen to change
        self._watched_since = -math.inf

    @property
    def is_holder(self) -> bool:
        """Whether we may act now: the lease is ours and has not run out."""
        return _monotonic() < self._held_until

    async def acquire(self) -> None:
        """Wait until the lease is ours, as a standby for as long as somebody else renews it."""
        announced = ""
        while True:
            try:
                holder = await self._attempt()
            except KubeError as error:
                _log.warning("lease %s/%s cannot be read or written: %s", self._namespace, self._name, error)
            else:
                if self.is_holder:
                    return
                if holder != announced:
                    _log.info("standby: lease %s/%s is held by %s", self._namespace, self._name, holder)
                    announced = holder
            await asyncio.sleep(self._retry_interval)

    async def hold(self) -> NoReturn:
        """Renew the lease until it is lost, then raise `LeaseLost`.

        An API server that does not answer is borne with until the lease runs out.
        """
        renewed = True
        while True:
            try:
                async with asyncio.timeout_at(self._held_until):
                    await asyncio.sleep(self._renew_interval if renewed else self._retry_interval)
                    renewed = await self._renew()
            except TimeoutError:
                raise LeaseLost(
                    f"lease {self._namespace}/{self._name} could not be renewed for {self._duration:g}s"
                ) from None

    async def release(self) -> None:
        """Give the lease up, if it is ours, so that a standby takes over at once.

        Raises nothing when that fails: the lease runs out by itself.
        """
        if not self.is_holder:
            return
        runs_out, self._held_until = self._held_until, -math.inf
        try:
            async with asyncio.timeout_at(runs_out):
                lease = await self._client.get(LEASES, self._name, self._namespace)
                if _holder(lease) == self._identity:
                    await self._client.replace(LEASES, _with_spec(lease, holderIdentity=""))
        except (KubeError, TimeoutError) as error:
            _log.warning("lease %s/%s was not released: %s", self._namespace, self._name, error)

    async def _renew(self) -> bool:
        """Renew the lease if the API server answers; tell whether it did."""
        try:
            holder = await self._attempt()
        except KubeError as error:
            _log.warning("lease %s/%s was not renewed: %s", self._namespace, self._name, error)
            return False
        if holder != self._identity:
            self._held_until = -math.inf
            raise LeaseLost(f"lease {self._namespace}/{self._name} was taken by {holder}")
        return True

    async def _attempt(self) -> str:
        """Create, renew or take over the lease if that is our right; tell who holds it then."""
        lease = await self._read()
        if lease is not None and (holder := self._other_holder(lease)):
            return holder
        begun = _monotonic()
        try:
            await self._write(lease)
        except KubeError as error:
            # Somebody was faster, or an earlier write of ours whose answer was lost: the record tells.
            if not error.is_conflict or (lease := await self._read()) is None:
                raise
            if holder := self._other_holder(lease):
                return holder
            begun = _monotonic()
            await self._write(lease)
        self._held_until = begun + self._duration
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
        ours = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": math.ceil(self._duration),
            "renewTime": now,
        }
        if lease is None:
            metadata = {"name": self._name, "namespace": self._namespace}
            spec = {**ours, "acquireTime": now, "leaseTransitions": 0}
            await self._client.create(
                LEASES,
                {"apiVersion": LEASES.api_version, "kind": "Lease", "metadata": metadata, "spec": spec},
            )
        elif _holder(lease) == self._identity:
            await self._client.replace(LEASES, _with_spec(lease, **ours))
        else:
            transitions = lease["spec"].get("leaseTransitions", 0) + 1
            taken = _with_spec(lease, **ours, acquireTime=now, leaseTransitions=transitions)
            await self._client.replace(LEASES, taken)

    def _other_holder(self, lease: Object) -> str:
        """Name the other one that holds the lease; empty if it is ours, nobody's or expired."""
        holder, now = _holder(lease), _monotonic()
        if holder in ("", self._identity):
            return ""
        if lease["spec"] != self._watched:
            self._watched, self._watched_since = lease["spec"], now
        promised = lease["spec"].get("leaseDurationSeconds", self._duration)
        return "" if now - self._watched_since >= promised else holder


def micro_time(moment: datetime) -> str:
    """Write a moment as Kubernetes' MicroTime, in UTC.

    The API server refuses one whose microseconds are zero (it then reads it as a Time), so they never are.
    """
    utc = moment.astimezone(UTC)
    return utc.replace(microsecond=utc.microsecond or 1).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _holder(lease: Object) -> str:
    return lease.get("spec", {}).get("holderIdentity") or ""


def _with_spec(lease: Object, **changes: object) -> Object:
    return lease | {"spec": lease.get("spec", {}) | changes}


def _monotonic() -> float:
    return asyncio.get_running_loop().time()
