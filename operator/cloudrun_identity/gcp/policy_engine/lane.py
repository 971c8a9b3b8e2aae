"""One policy's lane: passes over it, one at a time, shared by all who wait."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from cloudrun_identity.gcp.clients import request_reason
from cloudrun_identity.gcp.ratelimit import Priority, call_priority, start_shared
from cloudrun_identity.iam.grants import Target

from .declarations import Declarations
from .passes import PassResult, PolicyPasses
from .ports import LanePorts


@dataclass(frozen=True, slots=True)
class _Waiter:
    """Who asked for a pass: how urgently, and on whose behalf."""

    result: asyncio.Future[PassResult]
    priority: Priority
    reason: str


class Lane:
    """The lane of one target."""

    def __init__(self, target: Target, ports: LanePorts, declarations: Declarations) -> None:
        self._target = target
        self._settings = ports.settings
        self._declarations = declarations
        self._last: PassResult | None = None
        self._waiting: list[_Waiter] = []
        self._joined = 0.0
        self._running: asyncio.Task[None] | None = None
        self._passes = PolicyPasses(target, ports, declarations)

    async def result(self, *, since: float, max_age: float) -> PassResult:
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
            self._running = start_shared(self._run(), name=f"lane {self._target}")
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
                await self._gather_company()
                waiters, self._waiting = self._waiting, []
                call_priority.set(min(waiter.priority for waiter in waiters))
                request_reason.set(_together(waiter.reason for waiter in waiters))
                try:
                    self._last = await self._passes.make()
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

    async def _gather_company(self) -> None:
        linger = self._settings.linger
        began = _now()
        await asyncio.sleep(linger)
        while self._expects_company(_now() - began):  # noqa: ASYNC110
            await asyncio.sleep(linger / 4)

    def _expects_company(self, waited: float) -> bool:
        """Whether to wait on after so many seconds: others are announced, or they just keep coming."""
        settings = self._settings
        if waited < settings.patience and self._declarations.awaits(self._target):
            return True
        return waited < settings.endurance and _now() - self._joined < settings.linger / 2


def _together(reasons: Iterable[str]) -> str:
    """On whose behalf a pass works, for Google's audit log, in a line of bounded length."""
    named = sorted({reason for reason in reasons if reason})
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return ", ".join(named[:_NAMED]) + more


_NAMED = 3


def _now() -> float:
    return asyncio.get_running_loop().time()
