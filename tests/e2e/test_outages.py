"""Test outages of the API server: killed, ended, frozen or cut off, in every phase of the operator.

`--outages=50` runs fifty of them in a row. Each is a test of its own, on servers that all of them share.
"""

import itertools
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import yaml
from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from tests.e2e.eventually import becomes, eventually
from tests.e2e.processes import emulator
from tests.e2e.scene import Scene
from tests.e2e.stage import OPERATOR_NAMESPACE, Stage, prepared, with_operator
from tests.servers.interruptible import InterruptibleKubeApi, interruptible
from tests.servers.kube_apis import KUBE_APIS

PROJECT = "acme-outages"
POD = "0b5e9a3c"
"""UID of the operator's pod: a restarted container takes over from its predecessor at once."""
HEARS_WITHIN = 60.0
"""Seconds until an edit has its effect after an outage. A killed leader's Lease expires first."""


@dataclass(frozen=True)
class Outage:
    """One outage of the API server."""

    way: str
    phase: str
    seconds: int

    def __str__(self) -> str:
        return f"{self.way}-{self.phase}-{self.seconds}s"


WAYS = ("kill", "freeze", "cut", "terminate")
PHASES = ("working", "starting", "idle", "leading", "ending")
# Every combination occurs in twenty outages in a row. The durations are on both sides of the Lease's.
_DURATIONS = itertools.cycle((1, 4, 9, 2, 14, 6, 12))


def outages(count: int) -> list[Outage]:
    """Return outages that differ in way, phase and duration."""
    ways, phases = itertools.cycle(WAYS), itertools.cycle(PHASES)  # four and five: coprime
    return [Outage(next(ways), next(phases), next(_DURATIONS)) for _ in range(count)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "outage" in metafunc.fixturenames:
        chosen = outages(metafunc.config.getoption("outages"))
        metafunc.parametrize(
            "outage",
            [
                pytest.param(each, id=f"{number}-{each}", marks=pytest.mark.slow if number > 1 else ())
                for number, each in enumerate(chosen, 1)
            ],
        )


class Interrupted:
    """A stage whose API server a test interrupts, with one operator that the kubelet restarts."""

    def __init__(self, kube_api: InterruptibleKubeApi, stage: Stage) -> None:
        self.kube_api = kube_api
        self.stage = stage
        self.scene = Scene(stage, PROJECT)
        self.operator = stage.start_operator(pod=POD)
        self._roles = itertools.cycle(("roles/cloudsql.client", "roles/logging.logWriter"))

    def interrupt(self, outage: Outage) -> None:
        """Interrupt the API server for the duration of the outage."""
        match outage.way:
            case "kill" | "terminate":
                self.kube_api.end(signal.SIGKILL if outage.way == "kill" else signal.SIGTERM)
                time.sleep(outage.seconds)
                self.kube_api.start()
            case "freeze":
                self.kube_api.freeze()
                time.sleep(outage.seconds)
                self.kube_api.thaw()
            case "cut":
                self.kube_api.proxy.cut()
                time.sleep(outage.seconds)
                self.kube_api.proxy.restore()

    def edit(self) -> str:
        """Change the role of the binding, as soon as the API server accepts it; return the role."""
        role = next(self._roles)
        eventually(lambda: self._is_taken(f"spec: {{role: {role}}}"), bool)
        return role

    def work(self) -> None:
        """Give the operator something to do."""
        self.scene.patch("IAMBinding/edited", f"spec: {{role: {next(self._roles)}}}")

    def restart_if_ended(self) -> None:
        """Start the operator again if it has ended, as the kubelet does. It must have said why it ended."""
        if not self.operator.is_running:
            ended = self.operator.wait_for_exit()
            self.operator = self.stage.start_operator(pod=POD)
            assert ended.code in (0, 1), ended
            reason = ended.lines[-1]
            assert ended.code == 0 or (reason.startswith("Error: ") and "unexpected" not in reason), reason

    def hears(self, role: str) -> bool:
        """Return whether the operator has made the last edit true."""
        self.restart_if_ended()
        return self.scene.policy() == {role: ["group:ops@example.com"]}

    def granted(self) -> set[str]:
        """Return the roles that are granted now."""
        self.restart_if_ended()
        return set(self.scene.policy())

    def is_alive(self) -> bool:
        self.restart_if_ended()
        return self.operator.is_running and self.operator.probe("/healthz") == 200

    def lease_version(self) -> str:
        """Return the resourceVersion of the operator's Lease."""
        return self.stage.cluster.lease_version(OPERATOR_NAMESPACE)

    def stored_role(self) -> str:
        """Return the role that the API server has now; empty if it does not answer."""
        try:
            found = self.scene.get("IAMBinding/edited")
        except (ApiException, HTTPError):
            return ""
        return str(found["spec"]["role"]) if found else ""

    def _is_taken(self, change: str) -> bool:
        try:
            self.scene.patch("IAMBinding/edited", change)
        except (ApiException, HTTPError):
            return False
        return True


EDITED = """
kind: ManagedProject
metadata: {name: $scene}
spec:
  namespaces: {names: [$scene]}
  guardrails:
    grants:
    - namespaces: ["*"]
      roles: [roles/cloudsql.client, roles/logging.logWriter]
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


@pytest.fixture(scope="module", params=KUBE_APIS)
def interrupted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Interrupted]:
    run_dir = tmp_path_factory.mktemp("outages")
    seed = run_dir / "seed.yaml"
    seed.write_text(yaml.safe_dump(with_operator({"projects": [{"projectID": PROJECT}]})))
    with (
        interruptible(request.param, run_dir / "kube") as kube_api,
        emulator(run_dir, f"--seed={seed}") as google,
        prepared(kube_api, google, run_dir) as stage,
    ):
        interrupted = Interrupted(kube_api, stage)
        interrupted.scene.apply(EDITED)
        interrupted.scene.ready("IAMBinding/edited")
        yield interrupted


def test_edit_after_an_outage_is_made_true(
    interrupted: Interrupted, outage: Outage, record_property: Callable[[str, object], None]
) -> None:
    interrupted.restart_if_ended()
    match outage.phase:
        case "starting":
            interrupted.operator.stop()
            interrupted.operator = interrupted.stage.start_operator(pod=POD)
        case "leading":
            interrupted.operator.stop()
            interrupted.operator = interrupted.stage.start_operator(pod=POD)
            interrupted.operator.wait_until_leading()
        case "working":
            interrupted.work()
        case "ending":
            interrupted.operator.begin_to_end()

    interrupted.interrupt(outage)

    role, began = interrupted.edit(), time.monotonic()
    try:
        eventually(lambda: interrupted.hears(role), bool, within=HEARS_WITHIN)
    except AssertionError:
        found, queued = interrupted.scene.get("IAMBinding/edited"), interrupted.operator.metrics()
        state = {name: value for name, value in queued.items() if "queue" in name or "reconcile" in name}
        pytest.fail(f"the operator is deaf: {state}\n{found}\n{interrupted.operator.abort()}")
    record_property("heard after", round(time.monotonic() - began, 1))
    becomes(interrupted.is_alive, True)


def test_sigterm_during_an_outage_ends_the_process(interrupted: Interrupted) -> None:
    interrupted.restart_if_ended()
    interrupted.kube_api.freeze()
    try:
        ended = interrupted.operator.terminate()
    finally:
        interrupted.kube_api.thaw()
    assert ended.code in (0, 1)
    becomes(interrupted.is_alive, True)


@pytest.mark.slow
def test_restored_backup_is_noticed_and_read_again(interrupted: Interrupted) -> None:
    interrupted.restart_if_ended()
    interrupted.kube_api.back_up()
    becomes(interrupted.is_alive, True)
    role = interrupted.edit()
    eventually(lambda: interrupted.hears(role), bool, within=HEARS_WITHIN)
    for _ in range(30):  # more versions than the restored server has again before a busy operator looks
        role = interrupted.edit()
    eventually(lambda: interrupted.hears(role), bool, within=HEARS_WITHIN)
    renewed = interrupted.lease_version()
    eventually(interrupted.lease_version, lambda version: version != renewed)

    operator = interrupted.operator
    interrupted.kube_api.restore()

    # The ledger is that of the backup, too: a grant that it does not record is unmanaged and stays.
    stored = eventually(interrupted.stored_role, bool)
    eventually(interrupted.granted, lambda roles: stored in roles, within=HEARS_WITHIN)
    interrupted.scene.ready("IAMBinding/edited")
    role = interrupted.edit()
    eventually(interrupted.granted, lambda roles: role in roles, within=HEARS_WITHIN)
    interrupted.scene.ready("IAMBinding/edited")

    def is_noticed() -> bool:
        """Return whether the watches were restarted, or the process, if kopf did not end them in time."""
        restarted = interrupted.operator is not operator
        return restarted or operator.metrics()["cloudrun_identity_watches_lost_total"] >= 1

    eventually(is_noticed, bool, within=HEARS_WITHIN)
