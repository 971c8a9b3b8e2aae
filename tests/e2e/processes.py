"""Processes of the command line (`Command`), the emulator (`Emulator`) and the operator (`Operator`)."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.eventually import eventually
from tests.e2e.forks import Fork
from tests.time_budget import HUNG_AFTER, POLL_EVERY, TimeBudget

STARTS_WITHIN = 120.0
"""Time budget of a start; imports take a second."""

LEASE_DURATION = "15s"
"""Time until a standby takes over from a killed leader; a busy machine must renew within it."""

ENDS_WITHIN = 60.0
"""Time budget of an end after SIGTERM."""

_SHOWN_LINES = 12


@dataclass(frozen=True)
class Ended:
    """Exit code of a process, and the lines that it wrote to stderr and stdout."""

    code: int
    lines: list[str]


class Command:
    """A process of `cloudrun-identity ARGUMENTS…`, which writes its output to `log`.

    It is a fork, unless `afresh` is set: then it loads all modules, as for a user, which takes
    a second more. With `program`, another installation of `cloudrun-identity` is started.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        log: Path,
        *,
        afresh: bool = False,
        program: Sequence[str] = (),
        **environment: str,
    ) -> None:
        self._log = log
        inherited = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
        self._process: Fork | subprocess.Popen[bytes]
        if program:
            self._process = _started([*program, *arguments], log, inherited | environment)
        elif afresh:
            loaded = [sys.executable, "-m", "cloudrun_identity", *arguments]
            self._process = _started(loaded, log, inherited | environment)
        else:
            self._process = Fork(arguments, log, inherited | environment)

    @property
    def name(self) -> str:
        """Name of its log."""
        return self._log.stem

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def lines(self) -> list[str]:
        """Return the lines that it has written so far."""
        return self._log.read_text(errors="replace").splitlines()

    def wait_for_line(self, pattern: str) -> re.Match[str]:
        """Wait for a line with `pattern`; fail with the log if the process ends without one."""

        def said() -> re.Match[str] | None:
            ended = not self.is_running
            text = "\n".join(self.lines())
            found = re.search(pattern, text)
            assert found or not ended, f"it ended without saying {pattern!r}:\n{text[-3000:]}"
            return found

        found = eventually(said, bool, within=STARTS_WITHIN)
        assert found
        return found

    def wait_for_exit(self, within: float = STARTS_WITHIN) -> Ended:
        """Wait until the process ends."""
        budget = TimeBudget(within)
        while True:
            try:
                return Ended(self._process.wait(POLL_EVERY), self.lines())
            except subprocess.TimeoutExpired:
                if budget.is_spent():
                    raise

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def stop(self) -> None:
        """End the process with SIGTERM, or with SIGKILL if necessary."""
        self.signal(signal.SIGTERM)
        try:
            self.wait_for_exit(ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            self.wait_for_exit()


def _started(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment
        )


class Emulator:
    """An emulator. After `stop` and `start` it has the same ports and the state of its seed."""

    def __init__(self, run_dir: Path, *options: str) -> None:
        self._log = run_dir / "emulator.log"
        self._options = options
        self._ports = ("0", "0")
        self.start()

    def start(self) -> None:
        port, rest_port = self._ports
        command = ["emulator", "--port", port, "--rest-port", rest_port, *self._options]
        self._command = Command(command, self._log)
        said = self._command.wait_for_line(r"gRPC 127\.0\.0\.1:(\d+), REST http://127\.0\.0\.1:(\d+)")
        self._ports = (said[1], said[2])

    def ensure(self) -> None:
        """Start it if it does not run."""
        if not self._command.is_running:
            self.start()

    def stop(self) -> None:
        self._command.stop()

    @property
    def grpc_address(self) -> str:
        return f"127.0.0.1:{self._ports[0]}"

    @property
    def endpoint(self) -> str:
        """Value of `--google-endpoint`, with the port for REST."""
        return f"{self.grpc_address}/{self._ports[1]}"

    @property
    def rest_url(self) -> str:
        return f"http://127.0.0.1:{self._ports[1]}"


@contextmanager
def emulator(run_dir: Path, *options: str) -> Iterator[Emulator]:
    """Run an emulator during the block."""
    running = Emulator(run_dir, *options)
    try:
        yield running
    finally:
        running.stop()


class Operator:
    """A `cloudrun-identity run` process."""

    def __init__(
        self,
        kubeconfig: Path,
        google_endpoint: str,
        token_file: Path,
        namespace: str,
        log: Path,
        *,
        key_clock: Path,
        grant_clock: Path,
        die_at: str = "",
        afresh: bool = False,
        pod: str = "",
        lease_duration: str = LEASE_DURATION,
    ) -> None:
        """Start the operator, in the pod with this UID. It kills itself at the checkpoint `die_at`.

        `key_clock` is a file with the number of seconds that the clock of key rotation is ahead, and
        `grant_clock` that of temporary grants.
        """
        self._command = Command(
            [
                "run",
                f"--kubeconfig={kubeconfig}",
                f"--google-endpoint={google_endpoint}",
                f"--google-token-file={token_file}",
                f"--operator-namespace={namespace}",
                f"--lease-duration={lease_duration}",
                "--http-port=0",
            ],
            log,
            afresh=afresh,
            POD_UID=pod,
            CLOUDRUN_IDENTITY_DIE_AT=die_at,
            CLOUDRUN_IDENTITY_KEY_CLOCK=str(key_clock),
            CLOUDRUN_IDENTITY_GRANT_CLOCK=str(grant_clock),
        )

    def wait_until_leading(self) -> None:
        """Wait until it is the leader and has started to reconcile."""
        self._command.wait_for_line("became the leader")

    def wait_for_line(self, pattern: str) -> None:
        """Wait for a line of the log with `pattern`."""
        self._command.wait_for_line(pattern)

    def wait_until_standby(self) -> None:
        """Wait until it is on standby."""
        self._command.wait_for_line("standby: lease")

    @property
    def is_running(self) -> bool:
        return self._command.is_running

    def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        self._command.signal(signal.SIGKILL)
        self._command.wait_for_exit()

    def wait_until_killed(self) -> None:
        """Wait until it has killed itself at its checkpoint."""
        assert self._command.wait_for_exit().code == -signal.SIGKILL

    def terminate(self) -> Ended:
        """Send SIGTERM, as the kubelet does; return how it ended."""
        self._command.signal(signal.SIGTERM)
        return self._command.wait_for_exit(within=ENDS_WITHIN)

    def freeze(self) -> None:
        """Stop the process with SIGSTOP: it answers nothing and renews nothing."""
        self._command.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Continue the process."""
        self._command.signal(signal.SIGCONT)

    def abort(self) -> str:
        """End the process with the stacks of its tasks and threads, and return its log without kopf's."""
        self._command.signal(signal.SIGUSR1)
        try:
            ended = self._command.wait_for_exit(ENDS_WITHIN)
        except subprocess.TimeoutExpired:  # its main thread runs no Python code
            self._command.signal(signal.SIGABRT)
            ended = self._command.wait_for_exit()
        return "\n".join(line for line in ended.lines if '"kopf.' not in line)

    def begin_to_end(self) -> None:
        """Send SIGTERM, without waiting."""
        self._command.signal(signal.SIGTERM)

    def wait_for_exit(self) -> Ended:
        """Wait until it ends."""
        return self._command.wait_for_exit()

    def stop(self) -> None:
        self._command.stop()

    def text(self) -> str:
        """Return whether it runs, and the last lines of its log."""
        state = "runs" if self.is_running else "has ended"
        return "\n".join(
            [f"{self._command.name} {state}; its last lines:", *self._command.lines()[-_SHOWN_LINES:]]
        )

    def probe(self, path: str) -> int:
        """Return the HTTP status of `/readyz` or `/healthz`."""
        return self._http(path)[0]

    def output(self) -> str:
        """Return its log and its metrics as text."""
        return "\n".join([*self._command.lines(), self._http("/metrics")[1]])

    def metrics(self) -> dict[str, float]:
        """Return the value of every series, by name and labels."""
        lines = (line for line in self._http("/metrics")[1].splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def log(self) -> list[dict[str, Any]]:
        """Return the lines of its log; fail if a line is not JSON."""
        return [json.loads(line) for line in self._command.lines()]

    def _http(self, path: str) -> tuple[int, str]:
        port = self._command.wait_for_line(r"http port (\d+)")[1]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=HUNG_AFTER) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, ""


_NOT_INHERITED = {"KUBECONFIG", "GOOGLE_APPLICATION_CREDENTIALS"}
