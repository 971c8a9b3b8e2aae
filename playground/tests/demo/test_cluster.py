from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cloudrun_identity.api import KINDS
from cloudrun_identity.kube.client import connect
from cloudrun_identity.kube.resources import NAMESPACES
from cloudrun_identity_playground.demo import manifests
from cloudrun_identity_playground.demo.cluster import Cluster, Readiness, Subject
from cloudrun_identity_playground.demo.failure import DemoError
from cloudrun_identity_playground.demo.kubectl import Kubectl
from cloudrun_identity_playground.kubeapi.server import KubeApi

FEED = "projects/acme-ledger/subscriptions/changes"


@pytest.fixture
async def kubeconfig(tmp_path: Path) -> AsyncIterator[str]:
    path = tmp_path / "kubeconfig"
    async with KubeApi(path, port=0):
        yield str(path)


@pytest.fixture
async def cluster(kubeconfig: str) -> AsyncIterator[Cluster]:
    cluster = await Cluster.connect(kubeconfig)
    yield cluster
    await cluster.close()


async def apply_examples(cluster: Cluster) -> list[Subject]:
    await cluster.install_definitions()
    objects = [obj for name in manifests.EXAMPLES for obj in manifests.load(name, FEED).objects]
    for obj in objects:
        await cluster.apply(obj)
    return [Subject.of(obj) for obj in objects if obj["kind"] in KINDS]


async def test_applied_objects_are_read_back(cluster: Cluster) -> None:
    subjects = await apply_examples(cluster)

    found = await cluster.read(subjects)

    assert found.keys() == set(subjects)
    assert all(Readiness.of(obj).reason == "NotObserved" for obj in found.values())


async def test_cluster_with_the_operators_crds_is_refused(cluster: Cluster) -> None:
    await cluster.refuse_if_in_use()
    await cluster.install_definitions()

    with pytest.raises(DemoError, match=r"already has CRDs of cloudrun-identity\.dev"):
        await cluster.refuse_if_in_use()


async def test_remove_deletes_installed_objects_only(cluster: Cluster, kubeconfig: str) -> None:
    somebody = await connect(kubeconfig)
    await somebody.create(NAMESPACES, {"metadata": {"name": "flows"}})
    await apply_examples(cluster)

    assert cluster.installed_by_plural()["namespaces"] == ["payments"]
    await cluster.remove()

    await cluster.refuse_if_in_use()
    namespaces = {obj["metadata"]["name"] for obj in await somebody.list(NAMESPACES)}
    assert "flows" in namespaces
    assert "payments" not in namespaces
    await somebody.close()


async def test_refused_manifest_is_reported_with_the_reason(cluster: Cluster) -> None:
    await cluster.install_definitions()
    project = {
        "apiVersion": "cloudrun-identity.dev/v1alpha1",
        "kind": "ManagedProject",
        "metadata": {"name": "shop"},
        "spec": {"projectID": "acme-shop", "driftInterval": "soon"},
    }

    with pytest.raises(DemoError, match=r"refuses ManagedProject shop: .*driftInterval"):
        await cluster.apply(project)


async def test_unreachable_server_is_reported_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="kubeconfig"):
        await Cluster.connect(str(tmp_path / "missing"))


async def test_tables_are_rendered_without_kubectl(cluster: Cluster, kubeconfig: str, tmp_path: Path) -> None:
    await apply_examples(cluster)

    command, output = await Kubectl(kubeconfig, tmp_path, None).get("IdentityAttachment")

    assert command == "kubectl get identityattachments -A"
    header, first, *_ = output.splitlines()
    assert header.split()[:3] == ["NAMESPACE", "NAME", "KIND"]
    assert first.split()[:3] == ["payments", "checkout", "Service"]


async def test_list_without_objects_prints_no_table(
    cluster: Cluster, kubeconfig: str, tmp_path: Path
) -> None:
    await cluster.install_definitions()

    _, output = await Kubectl(kubeconfig, tmp_path, None).get("PolicyLedger", "cloudrun-identity")

    assert output == "No resources found"


def identity(**status: Any) -> dict[str, Any]:
    return {
        "kind": "CloudRunIdentity",
        "metadata": {"name": "prefect-runner", "namespace": "flows", "generation": 2},
        "status": status,
    }


def ready(status: str, reason: str, message: str = "") -> list[dict[str, str]]:
    return [
        {"type": "InSync", "status": "True", "reason": "UpToDate"},
        {"type": "Ready", "status": status, "reason": reason, "message": message},
    ]


def test_object_is_ready_if_the_condition_has_its_generation() -> None:
    obj = identity(observedGeneration=2, conditions=ready("True", "UpToDate"))

    assert Readiness.of(obj) == Readiness(True, "UpToDate", "")


def test_unready_object_reports_reason_and_message() -> None:
    obj = identity(observedGeneration=2, conditions=ready("False", "InUse", "checkout runs as it"))

    assert Readiness.of(obj) == Readiness(False, "InUse", "checkout runs as it")


def test_condition_of_an_older_generation_is_ignored() -> None:
    obj = identity(observedGeneration=1, conditions=ready("True", "UpToDate"))

    assert not Readiness.of(obj).is_ready


def test_object_without_status_is_not_ready() -> None:
    obj = identity()
    del obj["status"]

    assert not Readiness.of(obj).is_ready


def test_subject_is_printed_as_kind_namespace_and_name() -> None:
    project = {"kind": "ManagedProject", "metadata": {"name": "flows"}}

    assert str(Subject.of(identity())) == "CloudRunIdentity flows/prefect-runner"
    assert str(Subject.of(project)) == "ManagedProject flows"
