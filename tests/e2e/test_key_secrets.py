"""Test the Secrets that the operator may use with `keys.namespaces` of the chart, on a server with RBAC."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config

from cloudrun_identity.api import API_VERSION
from tests.e2e.eventually import becomes, eventually
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


@pytest.fixture(params=[REAL])  # the embedded server has neither RBAC nor admission policies
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    """Provide a scene in `LISTED`, the only namespace of which the operator may use the Secrets."""
    seed = tmp_path / "seed.yaml"
    seed.write_text(yaml.safe_dump(with_operator({"projects": []})))
    with (
        started(request.param, tmp_path / "kube") as kube_api,
        emulator(tmp_path, f"--seed={seed}") as google,
    ):
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

    scene.patch(KEY, "spec: {deletionPolicy: Abandon}")
    scene.ready(KEY)
    scene.delete_and_wait(KEY)
    released = scene.cluster.secret("checkout-key", LISTED)
    assert released
    assert "ownerReferences" not in released["metadata"]

    scene.apply(IDENTITY_WITH_KEY.replace("$account", LISTED), namespace=LISTED)
    scene.ready(KEY)
    taken_back = scene.cluster.secret("checkout-key", LISTED)
    assert taken_back
    assert taken_back["metadata"]["ownerReferences"], "the policy of the chart permits it"
    assert not taken_back["metadata"].get("annotations")


def test_secret_of_a_key_is_deleted_with_it(scene: Scene) -> None:
    scene.apply(PROJECT)
    scene.apply(IDENTITY_WITH_KEY.replace("$account", LISTED))
    scene.ready(KEY)
    scene.patch(KEY, "spec: {secretTemplate: {labels: {app: checkout}}}")
    scene.ready(KEY)
    scene.delete_and_wait(KEY)
    becomes(lambda: scene.cluster.secret("checkout-key", LISTED), None)


def is_refused(api: "client.CoreV1Api", obj: dict[str, Any]) -> bool:
    try:
        api.create_namespaced_secret(LISTED, obj, dry_run="All")
    except client.ApiException as error:
        return error.status == 403
    return False


def secret(name: str, **fields: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **fields.pop("metadata", {})}, **fields}


def test_credentials_of_the_operator_write_no_other_secret(scene: Scene) -> None:
    admin, operator = (
        client.CoreV1Api(config.new_client_from_config(str(kubeconfig)))
        for kubeconfig in (scene.stage.kube_api.kubeconfig, scene.stage.kube_api.operator_kubeconfig)
    )
    foreign = secret("database", stringData={"password": "hush"})
    admin.create_namespaced_secret(LISTED, foreign)
    admin.create_namespaced_service_account(LISTED, {"metadata": {"name": "powerful"}})
    owner = {"apiVersion": API_VERSION, "kind": "IdentityKey", "name": "checkout", "uid": "0"}
    annotations = {"kubernetes.io/service-account.name": "powerful"}
    token = secret(
        "token",
        type="kubernetes.io/service-account-token",
        metadata={"annotations": annotations, "ownerReferences": [owner]},
    )
    claim = {"metadata": {"ownerReferences": [owner]}}

    def refused(write: Callable[[], object]) -> str:
        with pytest.raises(client.ApiException) as refusal:
            write()
        assert refusal.value.status == 403
        return str(refusal.value.body)

    # The policy is in effect some moments after its creation.
    unowned = secret("unowned", type="Opaque")
    eventually(lambda: is_refused(operator, unowned), bool)
    assert "type Opaque" in refused(lambda: operator.create_namespaced_secret(LISTED, token))
    for write in (
        lambda: operator.patch_namespaced_secret("database", LISTED, {"stringData": {"password": "x"}}),
        lambda: operator.patch_namespaced_secret("database", LISTED, claim),
        lambda: operator.delete_namespaced_secret("database", LISTED),
    ):
        assert "that an IdentityKey owns" in refused(write)
    admin.patch_namespaced_secret("database", LISTED, {"metadata": {"labels": {"of": "admin"}}})
