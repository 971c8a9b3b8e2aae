"""Failover: how long nothing acts after the leader, or the API server, has failed.

Each trial starts a leader and, but for `late standby`, a standby. At the failure, the trial applies an edit.
It measures the time until the edit has its effect in Google Cloud, as a user sees it.
"""

import itertools
import json
import signal
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from urllib3.exceptions import InsecureRequestWarning

from tests.e2e.eventually import eventually
from tests.e2e.processes import Operator, emulator
from tests.e2e.scene import Scene
from tests.e2e.stage import OPERATOR_NAMESPACE, Stage, prepared, with_operator
from tests.servers.interruptible import InterruptibleKubeApi, interruptible

from .figures import Benchmark, Figure

PROJECT = "acme-failover"
_OUTAGE = 3.0  # seconds between the end of the API server and its restart

_MANIFESTS = """
kind: ManagedProject
metadata: {name: $scene}
spec:
  namespaces: {names: [$scene]}
  guardrails:
    grants:
    - roles: [roles/cloudsql.client, roles/logging.logWriter]
      targetKinds: [Project]
      members: ["*"]
---
kind: IAMBinding
metadata: {name: edited}
spec:
  target: {kind: Project}
  role: roles/cloudsql.client
  members: [{principal: "group:ops@example.com"}]
"""


class Cluster:
    """Servers, and the operators of one trial after the other."""

    def __init__(self, kube_api: InterruptibleKubeApi, stage: Stage, lease_duration: str) -> None:
        self._kube_api = kube_api
        self._stage = stage
        self._lease_duration = lease_duration
        self._roles = itertools.cycle(("roles/logging.logWriter", "roles/cloudsql.client"))
        with self._leader():
            self._scene = Scene(stage, PROJECT)
            self._scene.apply(_MANIFESTS)
            self._scene.ready("IAMBinding/edited")

    def killed(self) -> float:
        """Return the seconds without a leader after SIGKILL."""
        with self._leader() as leader, self._standby():
            return self._seconds_until_effect(leader.kill)

    def terminated(self) -> float:
        """Return the seconds without a leader after SIGTERM."""
        with self._leader() as leader, self._standby():
            return self._seconds_until_effect(leader.begin_to_end)

    def frozen(self) -> float:
        """Return the seconds without a leader after SIGSTOP. Its connections stay open."""
        with self._leader() as leader, self._standby():
            try:
                return self._seconds_until_effect(leader.freeze)
            finally:
                leader.thaw()

    def late_standby(self) -> float:
        """Return the seconds from the start of a standby after its leader was killed."""
        with self._leader() as leader:
            leader.kill()
        with self._started(self._stage.start_operator):
            return self._seconds_until_effect(lambda: None)

    def api_server_restarted(self) -> float:
        """Return the seconds from the first accepted edit after a restart of the API server."""
        with self._leader(), self._standby():
            self._kube_api.end(signal.SIGKILL)
            time.sleep(_OUTAGE)
            self._kube_api.start()
            return self._seconds_until_effect(lambda: None)

    def _seconds_until_effect(self, fail: Callable[[], None]) -> float:
        role = next(self._roles)
        started = time.monotonic()
        fail()
        self._scene.patch("IAMBinding/edited", f"spec: {{role: {role}}}")
        eventually(self._scene.policy, lambda policy: set(policy) == {role}, within=300)
        return time.monotonic() - started

    @contextmanager
    def _leader(self) -> Iterator[Operator]:
        self._stage.cluster.end_lease(OPERATOR_NAMESPACE)  # of the trial before
        with self._started(self._stage.start_operator) as leader:
            leader.wait_until_leading()
            yield leader

    @contextmanager
    def _standby(self) -> Iterator[None]:
        with self._started(self._stage.start_operator) as standby:
            standby.wait_until_standby()
            yield

    @contextmanager
    def _started(self, start: Callable[..., Operator]) -> Iterator[Operator]:
        operator = start(lease_duration=self._lease_duration)
        try:
            yield operator
        finally:
            if operator.is_running:
                operator.kill()


def measure(server: str, trials: int, lease_duration: str) -> list[Benchmark]:
    """Return the seconds of each failure on the API server of this name."""
    warnings.filterwarnings("ignore", category=InsecureRequestWarning)  # of the servers of this benchmark
    seed = with_operator({"projects": []})
    with tempfile.TemporaryDirectory(prefix="cloudrun-identity-bench-") as directory:
        run_dir = Path(directory)
        (run_dir / "seed.json").write_text(json.dumps(seed))
        with (
            interruptible(server, run_dir / "kube") as kube_api,
            emulator(run_dir, f"--seed={run_dir / 'seed.json'}") as google,
            prepared(kube_api, google, run_dir) as stage,
        ):
            cluster = Cluster(kube_api, stage, lease_duration)
            failures = {
                "SIGTERM": cluster.terminated,
                "SIGKILL": cluster.killed,
                "SIGSTOP": cluster.frozen,
                "SIGKILL, then a standby starts": cluster.late_standby,
                "restart of the API server": cluster.api_server_restarted,
            }
            return [
                _benchmark(title, [trial() for _ in range(trials)], server)
                for title, trial in failures.items()
            ]


def _benchmark(title: str, seconds: list[float], server: str) -> Benchmark:
    return Benchmark(
        title,
        title,
        (
            Figure(
                "median",
                "seconds until an edit has its effect, median",
                statistics.median(seconds),
                decimals=1,
            ),
            Figure("min", "shortest", min(seconds), decimals=1, is_part=True),
            Figure("max", "longest", max(seconds), decimals=1, is_part=True),
        ),
        server,
    )
