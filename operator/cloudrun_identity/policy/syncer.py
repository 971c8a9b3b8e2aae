"""The syncer of one IAM policy: it runs one sync at a time and shares its result among all requests."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TypeAlias

from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.ratelimit import Priority, call_priority, start_shared_task
from cloudrun_identity.gcp.requests import request_reason
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.wording import some

from .ports import ReservedWrite, SyncerPorts
from .registrations import Registrations
from .results import SyncResult
from .sync import PolicySync

InSyncCheck: TypeAlias = Callable[[SyncResult], bool]
"""Returns whether another sync would change nothing, after a sync with this result."""


@dataclass(frozen=True, slots=True)
class _Request:
    """A request for the next sync."""

    result: asyncio.Future[SyncResult]
    """Receives the result of the sync."""
    priority: Priority
    """Priority of the calls of the sync."""
    reason: str
    """Request reason for Google Cloud's audit log."""
    in_sync_after: InSyncCheck | None
    """Returns whether a sync that began before the request answers it, too; None if no such sync does."""
    writes: bool
    """True if the sync is likely to write the policy."""


class PolicySyncer:
    """The syncer of one target. A request waits for the batch window, so that others can join the sync."""

    def __init__(self, target: Target, ports: SyncerPorts, registrations: Registrations) -> None:
        self._target = target
        self._settings = ports.settings
        self._writes = ports.write_budget
        self._registrations = registrations
        self._sync = PolicySync(target, ports, registrations)
        self._last: SyncResult | None = None
        self._requests: list[_Request] = []
        self._last_request = 0.0
        self._last_write = float("-inf")
        self._running: asyncio.Task[None] | None = None
        self._write_wait: asyncio.Timeout | None = None

    def request(
        self,
        *,
        since: float,
        max_age: float,
        in_sync_after: InSyncCheck | None = None,
        writes: bool = False,
    ) -> asyncio.Future[SyncResult]:
        """Return the result of the last sync, or that of the next one.

        The last result is returned if its sync had no fault, and began after `since` and at most `max_age`
        seconds ago. If `max_age` is not 0, its sync may also have begun before `since`, if `in_sync_after`
        returns True for its result. Without `in_sync_after`, the caller desires nothing of its own. `writes`
        is True if the sync is likely to write the policy.
        """
        result: asyncio.Future[SyncResult] = asyncio.get_running_loop().create_future()
        last = self._last
        is_recent = last is not None and not last.fault and _now() - last.began <= max_age
        if last and is_recent and (last.began > since or (in_sync_after and in_sync_after(last))):
            result.set_result(last)
            return result
        request = _Request(
            result,
            call_priority.get(),
            request_reason.get(),
            in_sync_after if max_age > 0 else None,
            writes,
        )
        if self._write_wait and request.priority < self._priority():
            self._write_wait.reschedule(_now())  # wait in the place of the higher priority
        self._requests.append(request)
        self._last_request = _now()
        if self._running is None:
            self._running = start_shared_task(self._run(), name=f"policy syncer {self._target}")
        return result

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
                deadline = _now() + self._settings.deadline
                async with AsyncExitStack() as budget:
                    write = await self._reserve_write(budget, deadline)
                    batch, self._requests = self._requests, []
                    call_priority.set(min(request.priority for request in batch))
                    request_reason.set(_joined_reasons(request.reason for request in batch))
                    try:
                        self._last = await self._sync_in_time(deadline)
                    except Exception as error:  # every request must get an answer, or it would wait forever
                        for request in batch:
                            if not request.result.done():
                                request.result.set_exception(error)
                        continue
                    finally:
                        if write and write.is_used:
                            self._last_write = _now()
                self._answer(batch, self._last)
        finally:
            self._running = None
            for request in (*batch, *self._requests):
                request.result.cancel()

    def _answer(self, batch: Iterable[_Request], result: SyncResult) -> None:
        """Answer the requests of a batch, and later ones for which the sync did enough."""
        for request in batch:
            if not request.result.done():
                request.result.set_result(result)
        if result.fault is None:
            waiting, self._requests = self._requests, []
            for request in waiting:
                if request.in_sync_after and request.in_sync_after(result):
                    if not request.result.done():
                        request.result.set_result(result)
                else:
                    self._requests.append(request)

    def _priority(self) -> Priority:
        """Return the highest priority of the requests for the next sync."""
        return min(request.priority for request in self._requests)

    async def _reserve_write(self, budget: AsyncExitStack, deadline: float) -> ReservedWrite | None:
        """Wait until the rate limit admits a write of the policy, so that more requests can join the sync.

        The policy is read after the wait, not before it. A sync that probably writes nothing does not wait.
        """
        while any(request.writes for request in self._requests) and _now() < deadline:
            call_priority.set(self._priority())
            try:
                async with asyncio.timeout_at(deadline) as self._write_wait:
                    return await budget.enter_async_context(self._writes.reserve(self._target))
            except TimeoutError:  # the deadline, or a request of a higher priority
                continue
            except GoogleError:  # the sync reports it
                return None
            finally:
                self._write_wait = None
        return None

    async def _sync_in_time(self, deadline: float) -> SyncResult:
        """Run a sync. At the deadline cancel it, and report that Google Cloud is not available.

        The ledger lets the next sync continue a canceled one.
        """
        began = _now()
        try:
            async with asyncio.timeout_at(deadline):
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
        while True:  # requests keep arriving
            if self._expects_more(_now() - began):
                await asyncio.sleep(batch_window / 4)
            elif pause := self._paced():
                await asyncio.sleep(min(pause / 4, _LONGEST_POLL))
            else:
                return

    def _expects_more(self, waited: float) -> bool:
        """Return whether to wait for upcoming grants or releases, or because requests keep arriving."""
        settings = self._settings
        if waited < settings.max_wait and self._registrations.has_upcoming(self._target):
            return True
        if waited >= settings.max_batch_wait:
            return False
        idle = _now() - self._last_request
        if idle < settings.batch_window / 2:
            return True
        since = _now() - settings.max_batch_wait
        return idle < settings.max_wait and self._registrations.has_upcoming_release(self._target, since)

    def _paced(self) -> float:
        """Return the longest pause between requests for which a write waits, in seconds; 0 if it may begin.

        While many policies are written continuously, each collects its requests for longer, so that their
        writes do not use up the rate limit. While half of a burst is left, a write waits only as long as its
        requests keep arriving.
        """
        if not any(request.writes for request in self._requests):
            return 0.0
        spacing, is_low = self._writes.spacing(self._target)
        pause = spacing if is_low else spacing * _PAUSE_SHARE
        waits = _now() - self._last_write < spacing and _now() - self._last_request < pause
        return pause if waits else 0.0


_PAUSE_SHARE = 0.2
"""The pause after which no more requests are expected, as a share of the time between two writes."""

_LONGEST_POLL = 2.0
"""The longest time in seconds between two decisions whether a write may begin."""


def _joined_reasons(reasons: Iterable[str]) -> str:
    """Return the request reason of a batch for Google Cloud's audit log, of limited length."""
    return some(sorted({reason for reason in reasons if reason}))


def _now() -> float:
    return asyncio.get_running_loop().time()
