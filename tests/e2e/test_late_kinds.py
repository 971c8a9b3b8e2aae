"""A CRD that is installed while the operator runs, which checks once a minute what is served."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudrun_identity.api.crd import generate
from tests.e2e.eventually import becomes
from tests.e2e.scene import Scene
from tests.e2e.stage import Stage, set_stage, with_operator
from tests.servers.kube_apis import EMBEDDED, install_crds

PROJECT = "e2e-late"
ROLES = "CustomRole"
DELEGATED = """
kind: ManagedProject
metadata: {name: $scene}
spec:
  namespaces: {names: [$scene]}
  guardrails:
    customRoles: {permissions: ["run.*"], namespaces: ["*"]}
"""
RUNNER = """
kind: CustomRole
metadata: {name: runner}
spec: {roleID: runner, permissions: [run.jobs.run]}
"""

pytestmark = pytest.mark.slow


@pytest.fixture
def own_stage(kube_api_name: str, tmp_path: Path) -> Iterator[Stage]:
    with set_stage(kube_api_name, tmp_path, with_operator({"projects": [{"projectID": PROJECT}]})) as stage:
        yield stage


@pytest.mark.parametrize("kube_api_name", [EMBEDDED], indirect=True, scope="package")
def test_kind_that_is_installed_later_is_reconciled(own_stage: Stage) -> None:
    cluster, scene = own_stage.cluster, Scene(own_stage, PROJECT)
    cluster.uninstall(ROLES)
    becomes(lambda: cluster.has_kind(ROLES), expected=False)
    own_stage.ensure_operator()
    scene.apply(DELEGATED)
    scene.ready(f"ManagedProject/{PROJECT}")

    [definition] = [each for each in generate().values() if each["spec"]["names"]["kind"] == ROLES]
    install_crds(own_stage.kube_api, [definition])
    scene.apply(RUNNER)
    scene.ready("CustomRole/runner")

    own_stage.operator.wait_for_line("the installed CRDs have changed; restarting the watches")
