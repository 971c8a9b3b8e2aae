"""Test start, failed start, takeover and shutdown of the process."""

import json
from pathlib import Path

import pytest
import yaml

from tests.e2e.eventually import eventually
from tests.e2e.manifests import VIEWERS
from tests.e2e.processes import Command, Ended
from tests.e2e.scene import Scene
from tests.e2e.stage import OPERATOR_NAMESPACE, Stage
from tests.servers.kube_apis import started


def one_line(ended: Ended) -> str:
    """Return the error that a process ended with."""
    assert ended.code == 1
    said = [line for line in ended.lines if not _is_log(line)]
    assert len(said) == 1, said
    return said[0]


def _is_log(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def test_sigterm_drains_the_operator_and_the_next_one_continues(scene: Scene) -> None:
    stage = scene.stage
    stage.operator.stop()
    operator = stage.start_operator(afresh=True)
    operator.wait_until_leading()
    assert stage.cluster.lease_holder(OPERATOR_NAMESPACE)

    ended = operator.terminate()

    assert ended.code == 0
    assert all(_is_log(line) for line in ended.lines)
    assert stage.cluster.lease_holder(OPERATOR_NAMESPACE) == ""

    scene.apply(VIEWERS)
    stage.ensure_operator()
    scene.ready("IAMBinding/viewers")
    assert scene.policy() == {"roles/viewer": ["group:ops@example.com"]}


def test_standby_is_ready_and_takes_over(scene: Scene) -> None:
    acting = scene.stage.operator
    standby = scene.stage.start_operator()
    standby.wait_until_standby()
    assert standby.probe("/readyz") == standby.probe("/healthz") == 200
    assert standby.metrics()["cloudrun_identity_is_leader"] == 0
    assert acting.metrics()["cloudrun_identity_is_leader"] == 1

    acting.kill()
    standby.wait_until_leading()
    scene.apply(VIEWERS)
    scene.ready("IAMBinding/viewers")
    assert standby.metrics()["cloudrun_identity_is_leader"] == 1


def test_standby_takes_over_from_a_leader_that_hangs(scene: Scene) -> None:
    hanging = scene.stage.operator
    standby = scene.stage.start_operator()
    standby.wait_until_standby()

    hanging.freeze()
    try:
        standby.wait_until_leading()
        scene.apply(VIEWERS)
        scene.ready("IAMBinding/viewers")
    finally:
        hanging.thaw()

    assert "lease cloudrun-identity/cloudrun-identity" in one_line(hanging.wait_for_exit())
    assert standby.probe("/healthz") == 200


def test_missing_crds_are_reported_with_the_command_to_install_them(
    kube_api_name: str, tmp_path: Path
) -> None:
    with started(kube_api_name, tmp_path / "kube") as kube_api:
        command = Command(
            ["run", f"--kubeconfig={kube_api.kubeconfig}", "--google-endpoint=127.0.0.1:1", "--http-port=0"],
            tmp_path / "operator.log",
            afresh=True,
        )
        message = one_line(command.wait_for_exit())
    assert "the ManagedProject CRD is not installed" in message
    assert "cloudrun-identity crds" in message


def test_unreachable_api_server_is_reported_in_one_line(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
                "users": [{"name": "u", "user": {"token": "secret-token"}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
    command = Command(
        ["run", f"--kubeconfig={kubeconfig}", "--http-port=0"], tmp_path / "operator.log", afresh=True
    )

    message = one_line(command.wait_for_exit())

    assert "https://127.0.0.1:1" in message
    assert "secret-token" not in message


def test_missing_google_credentials_are_reported_in_one_line(stage: Stage, tmp_path: Path) -> None:
    command = Command(
        ["run", f"--kubeconfig={stage.kube_api.kubeconfig}", "--http-port=0"],
        tmp_path / "operator.log",
        afresh=True,
        HOME=str(tmp_path),
        NO_GCE_CHECK="true",
    )

    assert "credentials" in one_line(command.wait_for_exit())


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_leader_is_alive_and_ready(stage: Stage, path: str) -> None:
    assert stage.operator.probe(path) == 200


def test_log_is_json_and_names_every_change_in_google_cloud(scene: Scene) -> None:
    scene.apply(VIEWERS)
    scene.ready("IAMBinding/viewers")

    def logged() -> list[object]:
        lines = (line for line in scene.stage.operator.log() if scene.project in str(line))
        return [line for line in lines if "group:ops@example.com" in str(line)]

    eventually(logged, bool)
