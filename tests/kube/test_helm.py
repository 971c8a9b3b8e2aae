"""The life of a release: install, upgrade, second release, uninstall and test, with Helm's own library.

Only a real API server serves all the kinds of the chart.
"""

import asyncio
import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from helm_python import _native
from helm_python.config import Config
from helm_python.errors import HelmError
from kubernetes import client, config

from cloudrun_identity.api import KINDS
from cloudrun_identity.api.group import GROUP
from cloudrun_identity.kube.client import connect
from cloudrun_identity.kube.lease import Lease
from tests.chart import CHART, IMAGE, RELEASED
from tests.servers.kube_apis import REAL, KubeApi, started
from tests.time_budget import HUNG_AFTER, POLL_EVERY, time_budget

NAMESPACE = "identities"
EVERYTHING: dict[str, Any] = {
    **IMAGE,
    "replicas": 2,
    "keys": {"enabled": True, "namespaces": ["default"]},
    "admissionPolicy": {"enabled": True},
    "metricsService": {"enabled": True},
    "networkPolicy": {"enabled": True},
    "dashboard": {"enabled": True},
}
"""Values with every object except those of the Prometheus operator, whose CRDs are not installed."""


@pytest.fixture(scope="module", params=[REAL])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeApi]:
    with started(request.param, tmp_path_factory.mktemp("helm")) as running:
        yield running


@pytest.fixture(scope="module")
def api(server: KubeApi) -> Iterator[client.ApiClient]:
    api = config.new_client_from_config(str(server.kubeconfig))
    yield api
    api.close()


@pytest.fixture
def helm(server: KubeApi) -> Iterator[Config]:
    with Config(kubeconfig_path=server.kubeconfig, namespace=NAMESPACE) as helm:
        yield helm
        for release in helm.list(all_states=True, all_namespaces=True):
            with Config(kubeconfig_path=server.kubeconfig, namespace=release["namespace"]) as there:
                there.uninstall(release["name"])


def owners_of_crds(api: client.ApiClient) -> dict[str, Any]:
    """Return the release that owns each CRD of the operator."""
    listed = client.ApiextensionsV1Api(api).list_custom_resource_definition().items
    return {
        each.metadata.name: (each.metadata.annotations or {}).get("meta.helm.sh/release-name")
        for each in listed
        if each.spec.group == GROUP
    }


def install(helm: Config, name: str, values: dict[str, Any], namespace: str = NAMESPACE) -> None:
    """Install a release with `--take-ownership`: an earlier release left its CRDs.

    The Python package does not have this option of Helm's library.
    """
    options = {"namespace": namespace, "create_namespace": True, "take_ownership": True}
    _native.call_string(
        "helm_install",
        helm._raw(),
        _native.HANDLE(0),
        _native.HANDLE(0),
        str(CHART),
        name,
        json.dumps(values),
        json.dumps(options),
    )


def test_second_release_is_refused_with_and_without_crds(helm: Config) -> None:
    install(helm, "ops", EVERYTHING)
    with pytest.raises(HelmError, match=r'CustomResourceDefinition .* must equal "second"'):
        helm.install(CHART, "second", IMAGE)
    with pytest.raises(HelmError, match=r'ClusterRole "cloudrun-identity" .* must equal "second"'):
        helm.install(CHART, "second", IMAGE | {"crds": {"install": False}}, namespace="default")


def test_release_is_upgraded_and_rolled_back(helm: Config, api: client.ApiClient) -> None:
    def replicas() -> int:
        deployment = client.AppsV1Api(api).read_namespaced_deployment(RELEASED, NAMESPACE)
        return int(deployment.spec.replicas)

    install(helm, "ops", IMAGE)
    helm.upgrade(CHART, "ops", EVERYTHING)
    assert replicas() == 2
    helm.rollback("ops")
    assert replicas() == 1
    assert [each["status"] for each in helm.history("ops")] == ["superseded", "superseded", "deployed"]


def test_uninstall_keeps_the_crds_for_a_release_that_takes_ownership(
    helm: Config, api: client.ApiClient
) -> None:
    installed = {f"{kind.plural}.{GROUP}" for kind in KINDS.values()}
    install(helm, "ops", IMAGE)
    helm.uninstall("ops")
    assert owners_of_crds(api) == dict.fromkeys(installed, "ops")
    assert not client.AppsV1Api(api).list_namespaced_deployment(NAMESPACE).items

    with pytest.raises(HelmError, match="invalid ownership metadata"):
        helm.install(CHART, "other", IMAGE)
    install(helm, "other", IMAGE)
    assert owners_of_crds(api) == dict.fromkeys(installed, "other")


async def test_helm_test_runs_the_check_with_the_access_of_the_operator(
    server: KubeApi, api: client.ApiClient
) -> None:
    name = "cloudrun-identity"
    with Config(kubeconfig_path=server.kubeconfig, namespace=name) as helm:
        await asyncio.to_thread(install, helm, name, IMAGE, namespace=name)
        leader = await connect(str(server.kubeconfig))
        lease = Lease(leader, name, identity="pod_1", duration=3.0)
        await lease.acquire()
        renewals = asyncio.create_task(lease.hold())
        try:
            tested = asyncio.to_thread(helm.test, name, timeout=int(HUNG_AFTER))
            _, output = await asyncio.gather(tested, run_as_kubelet(server, api, f"{name}-check"))
        finally:
            renewals.cancel()
            await leader.close()
            await asyncio.to_thread(helm.uninstall, name)
    assert "✔ RBAC: the present user has all permissions of the operator" in output
    assert "✔ Leader: pod_1 holds and renews" in output


async def run_as_kubelet(server: KubeApi, api: client.ApiClient, pod: str) -> str:
    """Run the container of a pod in its namespace of the same name as the release; return its output."""
    namespace = pod.removesuffix("-check")
    pods = client.CoreV1Api(api)
    found: list[client.V1Pod] = []
    async with time_budget():
        while not found:
            await asyncio.sleep(POLL_EVERY)
            found = [each for each in pods.list_namespaced_pod(namespace).items if each.metadata.name == pod]
    [container] = found[0].spec.containers
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cloudrun_identity", *container.args),
        f"--kubeconfig={server.operator_kubeconfig}",
        "--google-endpoint=127.0.0.1:1",
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    phase = "Failed" if process.returncode else "Succeeded"
    pods.patch_namespaced_pod_status(pod, namespace, {"status": {"phase": phase}})
    return output.decode()
