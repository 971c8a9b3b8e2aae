"""The work queue against a model, for any sequence of calls and delays."""

import asyncio
import math
from collections.abc import Callable
from random import Random
from typing import ParamSpec, TypeVar

import looptime
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cloudrun_identity.manager.work_queue import KeyedQueue, Priority

P = ParamSpec("P")
R = TypeVar("R")

KEYS = st.sampled_from("abcd")
PRIORITIES = st.sampled_from(Priority)
SECONDS = st.integers(min_value=0, max_value=20)


class QueueMachine(RuleBasedStateMachine):
    """The model is `expected`: when each key is due, and with which priority."""

    @initialize()
    def start(self) -> None:
        self.loop = looptime.new_event_loop(start=0)
        # Binary fractions of a second: the model and the loop's timers agree on them to the last bit.
        self.queue: KeyedQueue[str] = KeyedQueue(lambda shortest, _: shortest)
        self.expected: dict[str, tuple[float, Priority]] = {}
        self.running: set[str] = set()

    def teardown(self) -> None:
        self.loop.close()

    @rule(key=KEYS, priority=PRIORITIES)
    def add(self, key: str, priority: Priority) -> None:
        self.within(self.queue.add, key, priority)
        self.expect(key, self.loop.time(), priority)

    @rule(key=KEYS, delay=SECONDS, priority=PRIORITIES)
    def add_after(self, key: str, delay: int, priority: Priority) -> None:
        self.within(self.queue.add_after, key, delay, priority)
        self.expect(key, self.loop.time() + delay, priority)

    @rule(key=KEYS, priority=PRIORITIES)
    def retry(self, key: str, priority: Priority) -> None:
        delay = self.within(self.queue.retry, key, priority)
        assert 0.25 <= delay <= 120
        self.expect(key, self.loop.time() + delay, priority)

    @rule(key=KEYS)
    def forget(self, key: str) -> None:
        self.queue.forget(key)

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: int) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))

    @precondition(lambda self: self.ready())
    @rule()
    def get(self) -> None:
        key, priority = self.loop.run_until_complete(asyncio.wait_for(self.queue.get(), 1e-3))
        assert key not in self.running
        assert priority == self.expected[key][1] == min(self.ready().values())
        del self.expected[key]
        self.running.add(key)

    @precondition(lambda self: not self.ready() and self.expected.keys() - self.running)
    @rule()
    def get_waits_for_the_earliest(self) -> None:
        earliest = min(when for key, (when, _) in self.expected.items() if key not in self.running)
        key, _ = self.loop.run_until_complete(self.queue.get())
        assert math.isclose(self.loop.time(), earliest, abs_tol=1e-3)
        assert math.isclose(self.expected.pop(key)[0], earliest, abs_tol=1e-3)
        self.running.add(key)

    @precondition(lambda self: self.running)
    @rule(which=st.randoms(use_true_random=False))
    def done(self, which: Random) -> None:
        key = which.choice(sorted(self.running))
        self.within(self.queue.done, key)
        self.running.remove(key)

    @invariant()
    def everything_due_is_counted(self) -> None:
        assert len(self.queue) == len(self.due())

    def due(self) -> dict[str, Priority]:
        return {key: priority for key, (when, priority) in self.expected.items() if when <= self.loop.time()}

    def ready(self) -> dict[str, Priority]:
        return {key: priority for key, priority in self.due().items() if key not in self.running}

    def expect(self, key: str, when: float, priority: Priority) -> None:
        known_when, known_priority = self.expected.get(key, (math.inf, Priority.RESYNC))
        self.expected[key] = min(when, known_when), min(priority, known_priority)

    def within(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call from inside the loop, as every caller of the queue does."""

        async def inside() -> R:
            return call(*args, **kwargs)

        return self.loop.run_until_complete(inside())


TestQueueLaws = QueueMachine.TestCase
TestQueueLaws.settings = settings(stateful_step_count=40)
