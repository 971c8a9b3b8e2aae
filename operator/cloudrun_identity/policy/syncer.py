"""One policy's lane: passes over it, one at a time, shared by all who wait."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from cloudrun_identity.gcp.clients import request_reason
from cloudrun_identity.gcp.ratelimit import Priority, call_priority, start_shared_task
from cloudrun_identity.iam.grants import Target

from .ports import SyncerPorts
from .registrations import Registrations
from .sync import PolicySync, SyncResult


@dataclass(frozen=True, slots=True)
class _Waiter:
    """Who asked for a pass: how urgently, and on whose behalf."""

    result: asyncio.Future[SyncResult]
    priority: Priority
    reason: str


class PolicySyncer:
    """The lane of one target."""

    def __init__(self, target: Target, ports: SyncerPorts, all_desired: Registrations) -> None:
        self._target = target
        self._settings = ports.settings
        self._registrations = all_desired
        self._last: SyncResult | None = None
        self._waiting: list[_Waiter] = []
        self._joined = 0.0
        self._running: asyncio.Task[None] | None = None
        self._sync = PolicySync(target, ports, all_desired)

    async def result(self, *, since: float, max_age: float) -> SyncResult:
        """The last pass, if it began after `since` and within `max_age` seconds; else the next one."""
        last = self._last
        if last and not last.fault and last.began > since and _now() - last.began <= max_age:
            return last
        waiter = _Waiter(
            asyncio.get_running_loop().create_future(), call_priority.get(), request_reason.get()
        )
        self._waiting.append(waiter)
        self._joined = _now()
        if self._running is None:
            self._running = start_shared_task(self._run(), name=f"lane {self._target}")
        return await waiter.result

    @property
    def is_idle(self) -> bool:
        """Whether no pass is under way and nobody waits for one."""
        return self._running is None

    async def close(self) -> None:
        """End the lane; who still waits is cancelled. The ledger makes the next process carry on."""
        if self._running:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _run(self) -> None:
        waiters: list[_Waiter] = []
        try:
            while self._waiting:
                await self._collect_batch()
                waiters, self._waiting = self._waiting, []
                call_priority.set(min(waiter.priority for waiter in waiters))
                request_reason.set(_together(waiter.reason for waiter in waiters))
                try:
                    self._last = await self._sync.make()
                except Exception as error:  # whoever asked must hear of it, or would wait for ever
                    for waiter in waiters:
                        if not waiter.result.done():
                            waiter.result.set_exception(error)
                    continue
                for waiter in waiters:
                    if not waiter.result.done():
                        waiter.result.set_result(self._last)
        finally:
            self._running = None
            for waiter in (*waiters, *self._waiting):
                waiter.result.cancel()

    async def _collect_batch(self) -> None:
        batch_window = self._settings.batch_window
        began = _now()
        await asyncio.sleep(batch_window)
        while self._expects_more(_now() - began):  # noqa: ASYNC110
            await asyncio.sleep(batch_window / 4)

    def _expects_more(self, waited: float) -> bool:
        """Whether to wait on after so many seconds: others are announced, or they just keep coming."""
        settings = self._settings
        if waited < settings.max_wait and self._registrations.has_upcoming(self._target):
            return True
        return waited < settings.max_batch_wait and _now() - self._joined < settings.batch_window / 2


def _together(reasons: Iterable[str]) -> str:
    """On whose behalf a pass works, for Google's audit log, in a line of bounded length."""
    named = sorted({reason for reason in reasons if reason})
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return ", ".join(named[:_NAMED]) + more


_NAMED = 3


def _now() -> float:
    return asyncio.get_running_loop().time()
