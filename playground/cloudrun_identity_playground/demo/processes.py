"""The parts of the demo as processes, with all logs in one directory."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from .failure import DemoError

START_TIMEOUT = 30.0  # seconds for a part to answer; imports alone take 2 on a slow machine
STOP_TIMEOUT = 10.0  # seconds between SIGTERM and SIGKILL; kopf takes 5 to end
PROBE_INTERVAL = 0.1  # seconds
LOG_LINE_WIDTH = 300  # maximal length of a quoted log line

_LOOPBACK = "127.0.0.1,localhost"


@dataclass(frozen=True, slots=True)
class Part:
    """One process. `name` is shown to the user."""

    name: str
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        """Process id."""
        return self.process.pid

    @property
    def is_running(self) -> bool:
        """True if the process has not ended."""
        return self.process.poll() is None

    def last_log_line(self) -> str:
        """Return the last line of the log that is not empty."""
        lines = self.log.read_text(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "(the log is empty)")
        return last if len(last) <= LOG_LINE_WIDTH else last[: LOG_LINE_WIDTH - 1] + "…"

    async def stop(self) -> None:
        """Stop the process with SIGTERM, and with SIGKILL after a while."""
        self.process.terminate()
        deadline = time.monotonic() + STOP_TIMEOUT
        while self.is_running:
            if time.monotonic() > deadline:
                self.process.kill()
            await asyncio.sleep(PROBE_INTERVAL)


@dataclass(slots=True)
class Parts:
    """All processes of one demo. They stop in the reverse order of their start."""

    directory: Path
    _running: list[Part] = field(default_factory=list)
    _started: list[Part] = field(default_factory=list)

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids in the order of their start."""
        return tuple(part.pid for part in self._running)

    async def start(
        self,
        name: str,
        arguments: tuple[str, ...],
        answers: Callable[[], Awaitable[bool]],
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> float:
        """Start `cloudrun-identity ARGUMENTS…`, wait until `answers` is true, and return the seconds it took.

        `settings` are added to the inherited environment.

        Raises:
            DemoError: The process ended, or did not answer in time.

        """
        began = time.monotonic()
        self._spawn(name, arguments, settings)
        while not await answers():
            self.check()
            if time.monotonic() - began > START_TIMEOUT:
                raise DemoError(f"the {name} does not answer within {START_TIMEOUT:g} s")
            await asyncio.sleep(PROBE_INTERVAL)
        return time.monotonic() - began

    def check(self) -> None:
        """Check that all processes run.

        Raises:
            DemoError: A process has ended.

        """
        for part in self._running:
            if not part.is_running:
                raise DemoError(
                    f"the {part.name} ended unexpectedly with exit code {part.process.returncode}"
                )

    @property
    def has_logs(self) -> bool:
        """True if a process was ever started."""
        return bool(self._started)

    def last_log_lines(self) -> list[str]:
        """Return the last log line of each process, ended ones included, as `NAME: LINE`."""
        return [f"{part.name}: {part.last_log_line()}" for part in self._started]

    async def stop(self, name: str) -> None:
        """Stop the process of this name, if it was started."""
        for part in [part for part in self._running if part.name == name]:
            await part.stop()
            self._running.remove(part)

    async def stop_all(self) -> None:
        """Stop all processes."""
        while self._running:
            await self._running.pop().stop()

    def _spawn(self, name: str, arguments: tuple[str, ...], settings: Mapping[str, str]) -> None:
        log = self.directory / f"{name.lower().replace(' ', '-')}.log"
        with log.open("wb") as output:
            # Not asyncio's: a subprocess ends when its transport is garbage-collected. With --keep, the parts
            # outlive the demo.
            process = subprocess.Popen(  # noqa: S603 - our own command, with our own arguments
                [sys.executable, "-m", "cloudrun_identity", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment(os.environ) | dict(settings),
                start_new_session=True,  # Ctrl-C reaches only the demo, which stops the parts in order
            )
        part = Part(name, log, process)
        self._running.append(part)
        self._started.append(part)


def environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without the user's settings of an operator, and without proxies for loopback."""
    kept = {
        key: value
        for key, value in inherited.items()
        if not key.startswith("CLOUDRUN_IDENTITY_") and key not in ("KUBECONFIG", "no_proxy", "NO_PROXY")
    }
    exempt = ",".join(filter(None, (inherited.get("no_proxy") or inherited.get("NO_PROXY"), _LOOPBACK)))
    return kept | {"no_proxy": exempt, "NO_PROXY": exempt}


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that are free."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
