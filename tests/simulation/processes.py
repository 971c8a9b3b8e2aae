"""Operator processes of a simulation: they start, crash, and end on SIGTERM."""

import asyncio
import contextlib
import contextvars
import itertools
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from cloudrun_identity import handlers
from cloudrun_identity.manager import factory, kopf_adapter, leadership, process

PROCESS: contextvars.ContextVar["OperatorProcess | None"] = contextvars.ContextVar("PROCESS", default=None)
"""The process that the present code belongs to."""

_CANCEL_INTERVAL = 1.0
"""Virtual seconds after which a task that has not ended is canceled again, as `manager.kopf_adapter` does."""

_ENDS_WITHIN = 1_000
"""Rounds in which the tasks of a crashed process must end."""

_FEW_TASKS = 64
"""Number of tasks up to which ended ones are not dropped."""


class Tasks:
    """The tasks of a process or of watches that have not ended, in the order of their start.

    Ended ones are dropped now and then. A callback at the end of each task would take longer.
    """

    def __init__(self) -> None:
        self._started: list[asyncio.Task[Any]] = []
        self._most = _FEW_TASKS

    def add(self, task: asyncio.Task[Any]) -> None:
        """Add a task."""
        self._started.append(task)
        if len(self._started) > self._most:
            self._most = max(_FEW_TASKS, 2 * len(self.running()))

    def running(self) -> list[asyncio.Task[Any]]:
        """Return the tasks that have not ended."""
        self._started = [task for task in self._started if not task.done()]
        return list(self._started)


class OperatorProcess:
    """One `cloudrun-identity run`, with the tasks that belong to it."""

    def __init__(self, name: str, kubeconfig: Path, namespace: str, lease_duration: float) -> None:
        self.name = name
        self.is_alive = True
        self.reached: Callable[[str], None] = lambda _: None
        """Called with each checkpoint that the process reaches."""
        self.failed: Callable[[BaseException], None] = lambda _: None
        """Called with the error that ends the process, unless it crashes."""
        self.termination = Termination()
        self.tasks = Tasks()
        """The tasks of the process."""
        settings = process.Settings(
            kubeconfig=str(kubeconfig),
            google_endpoint=f"{name}.simulation:443",
            google_token_file=None,
            namespace=namespace,
            lease_duration=lease_duration,
            http_port=0,
            concurrency=16,
        )
        context = contextvars.copy_context()
        context.run(PROCESS.set, self)
        self._main = asyncio.get_running_loop().create_task(self._run(settings), name=name, context=context)

    @property
    def has_ended(self) -> bool:
        """Return whether the process has ended."""
        return self._main.done()

    async def _run(self, settings: process.Settings) -> None:
        try:
            await process.run(settings, handlers.watch)
        except process.FAILURES as failure:
            if self.is_alive:
                self.failed(failure)
        finally:
            self.is_alive = False
            for task in self.tasks.running():
                if task is not asyncio.current_task():
                    task.cancel()

    async def crash(self) -> None:
        """End the process at once. Nothing that it still attempts has an effect."""
        self.is_alive = False
        for _ in range(_ENDS_WITHIN):
            tasks = self.tasks.running()
            if not tasks:
                return
            for task in tasks:
                task.cancel()
            await asyncio.sleep(0)
        raise RuntimeError(f"{self.name} does not end: {tasks}")

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.termination.requested.set()


class Termination:
    """In place of `manager.termination.Termination`, which handles the signals of a real process."""

    def __init__(self) -> None:
        self.requested = asyncio.Event()

    def install(self) -> None:
        """Do nothing."""

    def begin(self) -> None:
        """Do nothing: no grace period ends the process."""


class HealthServer:
    """In place of `manager.health.HealthServer`: no probe asks a simulated process."""

    port = 0

    def __init__(self, *_: Any, **__: Any) -> None:
        """Ignore what probes would read."""

    async def start(self) -> None:
        """Do nothing."""

    async def stop(self) -> None:
        """Do nothing."""


class WatchTask:
    """In place of `manager.watch_thread.WatchThread`: the watches run in the loop of the simulation."""

    _scope: contextvars.ContextVar["WatchTask | None"] = contextvars.ContextVar("watches", default=None)

    def __init__(self, work: Callable[[], Awaitable[None]], clean_up: Callable[[], Awaitable[None]]) -> None:
        self._work = work
        self._task: asyncio.Task[None] | None = None
        self._tasks = Tasks()

    @classmethod
    def adopt(cls, task: asyncio.Task[Any], context: contextvars.Context) -> None:
        """Add a task to the watches that started it."""
        if watches := context.get(cls._scope):
            watches._tasks.add(task)

    def start(self) -> None:
        """Start."""
        context = contextvars.copy_context()
        context.run(self._scope.set, self)
        self._task = asyncio.get_running_loop().create_task(self._main(), name="watches", context=context)

    async def _main(self) -> None:
        await self._work()

    async def wait(self) -> None:
        """Wait for the end, and raise its error."""
        assert self._task
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.result()

    def request_end(self) -> None:
        """Cancel, and return at once."""
        if self._task:
            self._task.cancel()

    async def end(self) -> None:
        """Cancel, and wait until all tasks have ended."""
        self.request_end()
        while tasks := [task for task in self._tasks.running() if not kopf_adapter.is_scheduler(task)]:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=_CANCEL_INTERVAL)


class Task(asyncio.Task[Any]):
    """Task with a hash that does not depend on its address: a set of tasks has one order in all runs."""

    _created = itertools.count()

    def __init__(self, coro: Any, **more: Any) -> None:
        self._number = next(self._created)  # first: asyncio hashes it at once
        super().__init__(coro, **more)

    __eq__ = object.__eq__

    def __hash__(self) -> int:
        return self._number


_as_completed = asyncio.as_completed


def as_completed(awaitables: Iterable[Coroutine[Any, Any, Any]]) -> Iterator[Coroutine[Any, Any, Any]]:
    """Do what `asyncio.as_completed` does, with one order in all runs.

    kopf passes sets of coroutines, which have the order of their addresses.
    """
    return _as_completed([asyncio.ensure_future(each) for each in sorted(awaitables, key=_description)])


def _description(coroutine: Coroutine[Any, Any, Any]) -> tuple[str, str]:
    """Return a key of a coroutine that has not started: its name, and the URL that it reads."""
    return coroutine.__qualname__, coroutine.cr_frame.f_locals.get("url", "")


def install(loop: asyncio.AbstractEventLoop) -> None:
    """Replace what only a real process has, and record which process a task belongs to."""
    Task._created = itertools.count()
    vars(handlers)["WatchThread"] = WatchTask
    vars(process)["Termination"] = _termination
    vars(process)["HealthServer"] = HealthServer
    vars(factory)["checkpoints"] = lambda: _checkpoint
    # The runner alone collects garbage: a collection ends abandoned tasks, at another time in each process.
    vars(leadership)["exempt_from_collection"] = contextlib.nullcontext
    vars(leadership)["collect_all"] = lambda: None

    def create_task(
        loop: asyncio.AbstractEventLoop, coro: Any, *, context: contextvars.Context | None = None, **more: Any
    ) -> asyncio.Task[Any]:
        context = context or contextvars.copy_context()
        task = Task(coro, loop=loop, context=context, **more)
        if owner := context.get(PROCESS):
            owner.tasks.add(task)
        WatchTask.adopt(task, context)
        return task

    loop.set_task_factory(create_task)


def host_name() -> str:
    """Return the host name of the present process."""
    owner = PROCESS.get()
    return owner.name if owner else "simulation"


def no_host(address: str) -> NoReturn:
    """Find no host, in place of `socket.gethostbyaddr`: kopf asks a real name server for its own name."""
    raise socket.herror(1, f"unknown host: {address}")


def _checkpoint(step: str) -> None:
    owner = PROCESS.get()
    assert owner
    owner.reached(step)
    if not owner.is_alive:
        raise asyncio.CancelledError


def _termination() -> Termination:
    owner = PROCESS.get()
    assert owner
    return owner.termination
