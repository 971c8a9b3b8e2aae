"""Processes that begin with the command line's modules loaded, as forks of one that has loaded them.

Loading takes two seconds of a processor, which is most of what a start costs, and is the same each time.
"""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
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
    """One `cloudrun-identity ARGUMENTS…`, started at once, with the methods of `subprocess.Popen`."""

    def __init__(self, arguments: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self._arguments = arguments
        log.write_bytes(b"")
        # A daemon ends with the tests, whatever they leave behind.
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


def _run(arguments: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
    """What becomes of a fork: what `python -m cloudrun_identity` does."""
    with log.open("ab") as output:
        for stream in (1, 2):
            os.dup2(output.fileno(), stream)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["cloudrun-identity", *arguments]

    from cloudrun_identity.cli import main

    main()
