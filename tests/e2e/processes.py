"""The operator and the emulator as processes of their own, as `cloudrun-identity` starts them."""

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

STARTS_WITHIN = 60.0
"""Seconds; imports alone take two, more on a busy machine."""

LEASE_DURATION = "10s"
"""Waited out where a standby takes over from who was killed; a busy machine must manage to renew it."""

ENDS_WITHIN = 15.0
"""Seconds between SIGTERM and giving up."""


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code, and the lines it wrote to stderr and stdout."""

    code: int
    lines: list[str]


class Command:
    """One `cloudrun-identity ARGUMENTS…`, started at once; what it writes goes to `log`.

    It is a fork, unless it is to be loaded `afresh`, as when a user starts it: that costs two seconds more.
    """

    def __init__(
        self, arguments: Sequence[str], log: Path, *, afresh: bool = False, **environment: str
    ) -> None:
        self._log = log
        inherited = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
        start = _loaded_afresh if afresh else Fork
        self._process = start(arguments, log, inherited | environment)

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def lines(self) -> list[str]:
        """What it has written so far."""
        return self._log.read_text(errors="replace").splitlines()

    def says(self, pattern: str) -> re.Match[str]:
        """Wait for a line with `pattern`; fails with the log if the process ends without one."""

        def said() -> re.Match[str] | None:
            ended = not self.is_running
            text = "\n".join(self.lines())
            found = re.search(pattern, text)
            assert found or not ended, f"it ended without saying {pattern!r}:\n{text[-3000:]}"
            return found

        found = eventually(said, bool, within=STARTS_WITHIN)
        assert found
        return found

    def ends(self, within: float = STARTS_WITHIN) -> Ended:
        """Wait until it ends by itself, or by the signal it got."""
        return Ended(self._process.wait(within), self.lines())

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def stop(self) -> None:
        """End it in whatever way it takes."""
        self.signal(signal.SIGTERM)
        try:
            self.ends(ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            self.ends()


def _loaded_afresh(
    arguments: Sequence[str], log: Path, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "cloudrun_identity", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
        )


class Emulator:
    """An emulator, and the same one anew after `stop` and `start`: on the same ports, as its seed has it."""

    def __init__(self, run_dir: Path, *options: str) -> None:
        self._log = run_dir / "emulator.log"
        self._options = options
        self._ports = ("0", "0")
        self.start()

    def start(self) -> None:
        port, rest_port = self._ports
        command = ["emulator", "--port", port, "--rest-port", rest_port, *self._options]
        self._command = Command(command, self._log)
        said = self._command.says(r"gRPC 127\.0\.0\.1:(\d+), REST http://127\.0\.0\.1:(\d+)")
        self._ports = (said[1], said[2])

    def ensure(self) -> None:
        """Start it, if it does not run."""
        if not self._command.is_running:
            self.start()

    def stop(self) -> None:
        self._command.stop()

    @property
    def grpc_address(self) -> str:
        return f"127.0.0.1:{self._ports[0]}"

    @property
    def rest_url(self) -> str:
        return f"http://127.0.0.1:{self._ports[1]}"


@contextmanager
def emulator(run_dir: Path, *options: str) -> Iterator[Emulator]:
    """An emulator until the block ends."""
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
        die_at: str = "",
        afresh: bool = False,
    ) -> None:
        """`die_at` is the checkpoint at which it ends itself as SIGKILL would.

        `key_clock` is a file that holds by how many seconds the clock is ahead that keys go by.
        """
        self._command = Command(
            [
                "run",
                f"--kubeconfig={kubeconfig}",
                f"--google-endpoint={google_endpoint}",
                f"--google-token-file={token_file}",
                f"--operator-namespace={namespace}",
                f"--lease-duration={LEASE_DURATION}",
                "--http-port=0",
            ],
            log,
            afresh=afresh,
            CLOUDRUN_IDENTITY_DIE_AT=die_at,
            CLOUDRUN_IDENTITY_KEY_CLOCK=str(key_clock),
        )

    def acts(self) -> None:
        """Wait until it holds the lease and has begun to work."""
        self._command.says("became the leader")

    def stands_by(self) -> None:
        """Wait until it has found the lease held by another one."""
        self._command.says("standby: lease")

    @property
    def is_running(self) -> bool:
        return self._command.is_running

    def kill(self) -> None:
        """SIGKILL: no chance to tidy up."""
        self._command.signal(signal.SIGKILL)
        self._command.ends()

    def dies(self) -> None:
        """Wait until it has ended itself at its checkpoint."""
        assert self._command.ends().code == -signal.SIGKILL

    def terminate(self) -> Ended:
        """SIGTERM, as the kubelet sends it; how it ended."""
        self._command.signal(signal.SIGTERM)
        return self._command.ends(within=ENDS_WITHIN)

    def stop(self) -> None:
        self._command.stop()

    def probe(self, path: str) -> int:
        """The HTTP status of `/readyz` or `/healthz`."""
        return self._http(path)[0]

    def tells(self) -> str:
        """All that it says to anybody who looks: its log and its metrics."""
        return "\n".join([*self._command.lines(), self._http("/metrics")[1]])

    def metrics(self) -> dict[str, float]:
        """The value of every series, by its name with its labels."""
        lines = (line for line in self._http("/metrics")[1].splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def log(self) -> list[dict[str, Any]]:
        """Every line of its log; each is JSON, or this fails."""
        return [json.loads(line) for line in self._command.lines()]

    def _http(self, path: str) -> tuple[int, str]:
        port = self._command.says(r"http port (\d+)")[1]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, ""


_NOT_INHERITED = {"KUBECONFIG", "GOOGLE_APPLICATION_CREDENTIALS"}
