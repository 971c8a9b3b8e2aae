"""Workloads in manifests of Cloud Run."""

from typing import Any

import pytest
import yaml

from cloudrun_identity.api import WorkloadKind
from cloudrun_identity.gcp.cloud_run_manifests import InvalidManifest, is_cloud_run, project_in, workload_in
from cloudrun_identity.gcp.workload_dependencies import needs_of
from cloudrun_identity.gcp.workloads import Workload

TEMPLATE = """
metadata:
  annotations:
    run.googleapis.com/cloudsql-instances: shop-1234:europe-west1:orders, shop-1234:europe-west1:users
    run.googleapis.com/secrets: tls:projects/42/secrets/tls-key
    run.googleapis.com/vpc-access-connector: projects/net-1/locations/europe-west1/connectors/c
    run.googleapis.com/network-interfaces: '[{"network": "projects/net-1/global/networks/main"}]'
    run.googleapis.com/encryption-key: projects/shop-1234/locations/eu/keyRings/run/cryptoKeys/images
spec:
  serviceAccountName: checkout@shop-1234.iam.gserviceaccount.com
  containers:
  - image: europe-docker.pkg.dev/shop-1234/app/web
    env:
    - {name: STRIPE, valueFrom: {secretKeyRef: {name: stripe-key, key: latest}}}
    - {name: TLS, valueFrom: {secretKeyRef: {name: tls, key: "1"}}}
    - {name: WORKERS, value: 4}
    - {name: ORDERS, value: projects/shop-1234/topics/orders}
  volumes:
  - {name: tls, secret: {secretName: tls, items: [{key: "1", path: key}]}}
  - {name: assets, csi: {driver: gcsfuse.run.googleapis.com, volumeAttributes: {bucketName: assets}}}
  - name: data
    csi: {driver: gcsfuse.run.googleapis.com, readOnly: true, volumeAttributes: {bucketName: data}}
  - {name: share, nfs: {server: 10.0.0.2, path: /}}
  - {name: scratch, emptyDir: {medium: Memory}}
"""
NAMES = [
    *("Secret tls-key", "Secret stripe-key"),
    *("Project shop-1234", "Project shop-1234"),
    *("StorageBucket data", "StorageBucket assets", "PubSubTopic orders"),
    "KMSCryptoKey eu/run/images",
]
APIS = {
    "Service": "serving.knative.dev/v1",
    "Job": "run.googleapis.com/v1",
    "WorkerPool": "run.googleapis.com/v1",
}


def manifest(kind: str = "Service", template: Any = None, **metadata: Any) -> dict[str, Any]:
    template = yaml.safe_load(TEMPLATE) if template is None else template
    if kind == "Job":
        template = {**template, "spec": {"template": {"spec": template["spec"]}}}
    return {
        "apiVersion": APIS[kind],
        "kind": kind,
        "metadata": {"name": "checkout", "namespace": "123456789012", **metadata},
        "spec": {"template": template},
    }


@pytest.mark.parametrize("kind", APIS)
def test_template_of_a_manifest_shows_the_needs(kind: str) -> None:
    document = manifest(kind, labels={"cloud.googleapis.com/location": "europe-west1"})
    assert is_cloud_run(document)
    state = workload_in(document, "shop-1234", "us-east1")
    assert state.workload == Workload(WorkloadKind(kind), "shop-1234", "europe-west1", "checkout")
    assert state.service_account == "checkout@shop-1234.iam.gserviceaccount.com"
    found = needs_of(state)
    assert sorted(str(need.target) for need in found.needs) == sorted(NAMES)
    assert len(found.notes) == 3


def test_project_of_a_manifest_is_its_namespace() -> None:
    assert project_in(manifest()) == "123456789012"
    assert project_in({"metadata": {"name": "web"}}) == ""


def test_location_of_a_manifest_without_a_label_is_given() -> None:
    assert workload_in(manifest(), "shop-1234", "us-east1").workload.location == "us-east1"
    with pytest.raises(InvalidManifest, match="name its location with --location"):
        workload_in(manifest(), "shop-1234", "")


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ({"spec": {"containers": "web"}}, "containers"),
        ({"spec": []}, "spec.template"),
        ("web", "spec.template"),
        (
            {"metadata": {"annotations": {"run.googleapis.com/network-interfaces": "[main"}}},
            "run.googleapis.com/network-interfaces",
        ),
    ],
)
def test_invalid_manifest_is_reported_by_field(template: Any, path: str) -> None:
    if template == {"spec": []}:
        template = {"metadata": [1], "spec": {}}
    with pytest.raises(InvalidManifest) as raised:
        workload_in(manifest(template=template), "shop-1234", "us-east1")
    assert path in str(raised.value)
    assert "\n" not in str(raised.value)


def test_manifests_of_other_groups_are_not_of_cloud_run() -> None:
    assert not is_cloud_run({"apiVersion": "v1", "kind": "Service"})
    assert not is_cloud_run({"apiVersion": "serving.knative.dev/v1", "kind": "Revision"})
