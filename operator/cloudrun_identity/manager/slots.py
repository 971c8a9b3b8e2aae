"""Slots for concurrent reconciles. No flow can occupy all of them.

A flow is a namespace (`work_queue`). One flow occupies at most three quarters of the slots, however slow or
many its reconciles are. The rest is for other flows.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field

from cloudrun_identity.reconcile.deadline import DeadlinePause

slot_flow: ContextVar[str | None] = ContextVar("slot_flow", default=None)
"""Flow that the running reconcile holds a slot for; None outside a worker."""


class Slots:
    """Limits concurrent reconciles. A reconcile releases its slot while it waits for a policy syncer."""

    def __init__(self, count: int) -> None:
        """`count` is the number of slots; one flow holds at most three quarters of them."""
        self._free = count
        self._share = max(1, count - count // 4)
        self._held: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._released: Callable[[], None] = lambda: None
        self._full_since: float | None = None

    def on_release(self, released: Callable[[], None]) -> None:
        """Call `released` when a slot becomes free that no reconcile waits for."""
        self._released = released

    def is_available(self, flow: str) -> bool:
        """Return whether the flow may take a slot now."""
        return self._free > 0 and self._held[flow] < self._share

    def take(self, flow: str) -> None:
        """Take a slot. Raises RuntimeError if none is available to the flow."""
        if not self.is_available(flow):
            raise RuntimeError(f"no slot is available to flow {flow!r}")
        self._free -= 1
        self._held[flow] += 1
        if self._free <= 0:
            self._full_since = _now()

    def release(self, flow: str) -> None:
        """Free a slot of the flow."""
        self._free += 1
        self._full_since = None
        self._held[flow] -= 1
        if not self._held[flow]:
            del self._held[flow]
        self._serve_waiting()

    def stalled_for(self) -> float:
        """Return the seconds for which every slot has been held and none became free; 0 if one is free."""
        return 0.0 if self._full_since is None else _now() - self._full_since

    def held(self) -> Mapping[str, int]:
        """Return the number of slots that each flow holds."""
        return dict(self._held)

    def slot_released(self) -> AbstractAsyncContextManager[None]:
        """Release the slot of the running reconcile during the block, and take one again at its end."""
        flow = slot_flow.get()
        return nullcontext() if flow is None else _Released(self, flow)  # a dry run has no workers

    async def retake(self, flow: str) -> None:
        """Wait for a slot. Reconciles that have begun precede new ones, and their flows take turns."""
        if self.is_available(flow):
            self.take(flow)
            return
        served: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(flow, deque()).append(served)
        try:
            await served
        except asyncio.CancelledError:
            # The caller releases a slot at its end, so the cancelled reconcile counts as a holder.
            if served.cancelled():
                self._forget(flow, served)
                self._free -= 1
                self._held[flow] += 1
            raise

    def _forget(self, flow: str, served: asyncio.Future[None]) -> None:
        waiting = self._waiting.get(flow)
        if waiting and served in waiting:
            waiting.remove(served)
            if not waiting:
                del self._waiting[flow]

    def _serve_waiting(self) -> None:
        while (flow := next(filter(self.is_available, self._waiting), None)) is not None:
            served = self._waiting[flow][0]
            self._forget(flow, served)
            if flow in self._waiting:
                self._waiting.move_to_end(flow)
            if not served.done():
                self.take(flow)
                served.set_result(None)
        if self._free > 0:
            self._released()


@dataclass(slots=True)
class _Released:
    """A slot that is released while its reconcile waits.

    Thousands wait at a time, and a class takes less memory than a generator: see `reconcile.deadline`.
    """

    slots: Slots
    flow: str
    deadline: DeadlinePause = field(default_factory=DeadlinePause)

    async def __aenter__(self) -> None:
        self.slots.release(self.flow)
        self.deadline.__enter__()

    async def __aexit__(self, *_: object) -> None:
        self.deadline.__exit__()
        await self.slots.retake(self.flow)


def _now() -> float:
    return asyncio.get_running_loop().time()
