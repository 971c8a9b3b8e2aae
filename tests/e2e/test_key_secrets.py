"""Test the Secrets that the operator may use with `keys.namespaces` of the chart, on a server with RBAC."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.e2e.eventually import becomes
from tests.e2e.processes import emulator
from tests.e2e.scene import Scene
from tests.e2e.stage import OPERATOR_NAMESPACE, Stage, with_operator
from tests.servers.chart import grant_chart_roles
from tests.servers.kube_apis import REAL, install_crds, started

LISTED, UNLISTED = "acme-flows", "acme-payments"
PROJECT = f"""
kind: ManagedProject
metadata: {{name: $scene}}
spec:
  namespaces: {{names: [$scene, {UNLISTED}]}}
  guardrails: {{keys: Allowed, keyNamespaces: ["*"]}}
"""
IDENTITY_WITH_KEY = """
kind: CloudRunIdentity
metadata: {name: checkout}
spec: {accountID: $account}
---
kind: IdentityKey
metadata: {name: checkout}
spec: {identityRef: {name: checkout}, secretName: checkout-key}
"""
KEY = "IdentityKey/checkout"


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """Provide a scene in `LISTED`, the only namespace of which the operator may use the Secrets."""
    seed = tmp_path / "seed.yaml"
    seed.write_text(yaml.safe_dump(with_operator({"projects": []})))
    with started(REAL, tmp_path / "kube") as kube_api, emulator(tmp_path, f"--seed={seed}") as google:
        install_crds(kube_api)
        stage = Stage(kube_api, google, tmp_path)
        scene = Scene(stage, LISTED)
        scene.add_namespace(UNLISTED)
        grant_chart_roles(kube_api.kubeconfig, OPERATOR_NAMESPACE, key_namespaces=[LISTED])
        stage.ensure_operator()
        yield scene
        stage.close()


def test_key_is_delivered_only_where_the_chart_permits_secrets(scene: Scene) -> None:
    scene.apply(PROJECT)
    for namespace in (LISTED, UNLISTED):
        manifests = IDENTITY_WITH_KEY.replace("$account", namespace)
        scene.apply(manifests, namespace=namespace)

    scene.ready(KEY)
    becomes(lambda: scene.cluster.secret("checkout-key", LISTED) is not None, True)
    message = scene.fails(KEY, "PermissionDenied", namespace=UNLISTED)
    assert f"add {UNLISTED} to keys.namespaces" in message
    assert scene.cluster.secret("checkout-key", UNLISTED) is None
    assert not scene.cloud.keys(scene.account(UNLISTED)), "no key that cannot be delivered"
