"""Start commands as forks of a process (`Fork`) that has already loaded the modules of the command line.

This saves a second of processor time per start.
"""

import asyncio
import faulthandler
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        "cloudrun_identity.handlers",
        "cloudrun_identity_playground.emulator.command",
        __name__,
    ]
)


class Fork:
    """A process of `cloudrun-identity ARGUMENTS…`, with the methods of `subprocess.Popen`."""

    def __init__(self, arguments: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self._arguments = arguments
        log.write_bytes(b"")
        # A daemon ends with the tests.
        self._process = _FORKS.Process(target=_run, args=(arguments, log, environment), daemon=True)
        self._process.start()

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(self._arguments, timeout)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None and self._process.pid:
            os.kill(self._process.pid, number)


def _abort_with_tasks(*_: object) -> None:
    """Write the stacks of all asyncio tasks of all threads to the log, and end with those of the threads."""
    # `asyncio.all_tasks` returns the tasks of one event loop, and the watches have a loop of their own.
    for task in (each for each in gc.get_objects() if isinstance(each, asyncio.Task)):
        if not task.done():
            with suppress(TypeError):  # a frame without a line number
                task.print_stack(limit=6, file=sys.stderr)
    sys.stderr.flush()
    os.abort()


def _run(arguments: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
    """Run `python -m cloudrun_identity` in the fork."""
    with log.open("ab") as output:
        for stream in (1, 2):
            os.dup2(output.fileno(), stream)
    faulthandler.enable()  # SIGABRT writes the stacks of all threads to the log
    signal.signal(signal.SIGUSR1, _abort_with_tasks)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["cloudrun-identity", *arguments]

    from cloudrun_identity.cli import main

    main()
