"""The syncer of one IAM policy: it runs one sync at a time and shares its result among all requests."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.ratelimit import Priority, call_priority, start_shared_task
from cloudrun_identity.gcp.requests import request_reason
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.wording import some

from .ports import SyncerPorts
from .registrations import Registrations
from .results import SyncResult
from .sync import PolicySync


@dataclass(frozen=True, slots=True)
class _Request:
    """A request for the next sync."""

    result: asyncio.Future[SyncResult]
    priority: Priority
    reason: str


class PolicySyncer:
    """The syncer of one target. A request waits for the batch window, so that others can join the sync."""

    def __init__(self, target: Target, ports: SyncerPorts, registrations: Registrations) -> None:
        self._target = target
        self._settings = ports.settings
        self._registrations = registrations
        self._sync = PolicySync(target, ports, registrations)
        self._last: SyncResult | None = None
        self._requests: list[_Request] = []
        self._last_request = 0.0
        self._running: asyncio.Task[None] | None = None

    async def result(self, *, since: float, max_age: float) -> SyncResult:
        """Return the result of the last sync, or run another one.

        The last result is returned if its sync had no fault, and began after `since` and at most `max_age`
        seconds ago.
        """
        last = self._last
        if last and not last.fault and last.began > since and _now() - last.began <= max_age:
            return last
        request = _Request(
            asyncio.get_running_loop().create_future(), call_priority.get(), request_reason.get()
        )
        self._requests.append(request)
        self._last_request = _now()
        if self._running is None:
            self._running = start_shared_task(self._run(), name=f"policy syncer {self._target}")
        return await request.result

    @property
    def is_idle(self) -> bool:
        """Return whether no sync is running or requested."""
        return self._running is None

    async def close(self) -> None:
        """Stop the syncer and cancel its requests. The ledger lets the next process continue."""
        if self._running:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _run(self) -> None:
        batch: list[_Request] = []
        try:
            while self._requests:
                await self._collect_batch()
                batch, self._requests = self._requests, []
                call_priority.set(min(request.priority for request in batch))
                request_reason.set(_joined_reasons(request.reason for request in batch))
                try:
                    self._last = await self._sync_in_time()
                except Exception as error:  # every request must get an answer, or it would wait forever
                    for request in batch:
                        if not request.result.done():
                            request.result.set_exception(error)
                    continue
                for request in batch:
                    if not request.result.done():
                        request.result.set_result(self._last)
        finally:
            self._running = None
            for request in (*batch, *self._requests):
                request.result.cancel()

    async def _sync_in_time(self) -> SyncResult:
        """Run a sync. At the deadline cancel it, and report that Google Cloud is not available.

        The ledger lets the next sync continue a canceled one.
        """
        began = _now()
        try:
            async with asyncio.timeout(self._settings.deadline):
                return await self._sync.run()
        except TimeoutError:
            message = (
                f"the sync of the policy of {self._target} did not end within {self._settings.deadline:g} s"
            )
            return SyncResult(began, fault=GoogleError(Fault.UNAVAILABLE, "SetIamPolicy", message))

    async def _collect_batch(self) -> None:
        batch_window = self._settings.batch_window
        began = _now()
        await asyncio.sleep(batch_window)
        while self._expects_more(_now() - began):  # noqa: ASYNC110
            await asyncio.sleep(batch_window / 4)

    def _expects_more(self, waited: float) -> bool:
        """Return whether to wait longer: for upcoming grants, or because requests keep arriving."""
        settings = self._settings
        if waited < settings.max_wait and self._registrations.has_upcoming(self._target):
            return True
        return waited < settings.max_batch_wait and _now() - self._last_request < settings.batch_window / 2


def _joined_reasons(reasons: Iterable[str]) -> str:
    """Return the request reason of a batch for Google Cloud's audit log, of limited length."""
    return some(sorted({reason for reason in reasons if reason}))


def _now() -> float:
    return asyncio.get_running_loop().time()
