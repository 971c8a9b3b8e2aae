"""Two operators with different namespaces on one cluster: one of them acts on each project."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.commands import run_cli
from tests.e2e.conftest import OPEN_PROJECT
from tests.e2e.eventually import eventually
from tests.e2e.manifests import VIEWERS
from tests.e2e.scene import Scene
from tests.e2e.stage import OPERATOR_NAMESPACE, Stage, set_stage, with_operator

FIRST = "first-operator"
IDENTITY = """
kind: CloudRunIdentity
metadata: {name: checkout}
spec: {users: [{principal: "group:ops@example.com"}]}
"""


@pytest.fixture
def own_stage(kube_api_name: str, tmp_path: Path) -> Iterator[Stage]:
    """Provide a stage for one test, because a stopped operator would be replaced on other projects, too."""
    with set_stage(kube_api_name, tmp_path, with_operator({"projects": []})) as stage:
        yield stage


@pytest.mark.slow
def test_second_operator_acts_on_nothing_until_it_has_the_ledgers(own_stage: Stage) -> None:
    stage, scene = own_stage, Scene(own_stage, "e2e-two-operators")
    first = stage.start_operator(namespace=FIRST)
    first.wait_until_leading()
    scene.apply(OPEN_PROJECT + "---" + VIEWERS + "---" + IDENTITY)
    scene.ready("IAMBinding/viewers", "CloudRunIdentity/checkout")

    second = stage.start_operator()
    second.wait_until_leading()
    second.wait_for_line("acts on no object of ManagedProject e2e-two-operators")
    scene.cloud.remove(scene.project, "roles/viewer", "group:ops@example.com")
    eventually(scene.policy, bool)  # the first operator repairs the drift
    scene.delete_and_wait("IAMBinding/viewers")

    assert scene.policy() == {}
    written = {
        name for name, count in second.metrics().items() if "kubernetes_writes_total" in name and count
    }
    assert all("leases" in name or "namespaces" in name for name in written), written  # its own
    assert not [name for name in second.metrics() if "google_calls_total" in name and "SetIamPolicy" in name]
    assert second.metrics()["cloudrun_identity_projects_operated_elsewhere"] == 1
    lines = [line for line in second.log() if "acts on no object" in str(line)]
    assert len(lines) == 1

    first.terminate()
    scene.delete("CloudRunIdentity/checkout")
    second.wait_for_line("no longer renews its Lease, but only its ledgers")
    assert scene.get("CloudRunIdentity/checkout")
    assert set(scene.cloud.accounts(scene.name)) == {"checkout"}

    admin = ("--kubeconfig", str(stage.kube_api.kubeconfig))
    exported = run_cli("ledgers", "export", "--operator-namespace", FIRST, *admin)
    run_cli(
        "ledgers", "import", "-f", "-", "--operator-namespace", OPERATOR_NAMESPACE, *admin, stdin=exported
    )

    scene.wait_until_deleted("CloudRunIdentity/checkout")
    assert scene.cloud.accounts(scene.name) == {}
    project = scene.status("ManagedProject/e2e-two-operators")
    assert project["operator"] == {"namespace": OPERATOR_NAMESPACE, "lease": "cloudrun-identity"}
