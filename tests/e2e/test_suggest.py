"""Test that applied suggestions give a workload of the default account everything that it needs."""

import subprocess
import sys

import pytest
import yaml

from tests.e2e.cloud import LOCATION
from tests.e2e.eventually import eventually
from tests.e2e.scene import Scene
from tests.time_budget import HUNG_AFTER

PROJECT = """
kind: ManagedProject
metadata: {name: $scene}
spec:
  driftInterval: 1s
  locations: [europe-west1]
  namespaces: {names: [$scene]}
  guardrails:
    grants:
    - roles: [roles/secretmanager.secretAccessor, roles/pubsub.publisher]
      targetKinds: [Secret, PubSubTopic]
      names: [stripe-key, orders]
      members: [identities]
      namespaces: [$scene]
    - roles: [roles/cloudsql.client]
      targetKinds: [Project]
      members: [identities]
      namespaces: [$scene]
"""


def suggest(scene: Scene, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Suggest grants with the objects of the cluster."""
    command = [sys.executable, "-m", "cloudrun_identity", "suggest", *arguments]
    options = (
        *("--kubeconfig", str(scene.stage.kube_api.kubeconfig)),
        *("--google-endpoint", scene.stage.google.grpc_address),
    )
    return subprocess.run(
        [*command, *options], capture_output=True, text=True, timeout=HUNG_AFTER, check=False
    )


@pytest.mark.slow
def test_applied_suggestions_meet_all_needs_of_a_workload(closed_scene: Scene) -> None:
    scene, cloud = closed_scene, closed_scene.cloud
    scene.apply(PROJECT)
    service = cloud.deploy("services", scene.name, "shop")
    secret = f"{scene.project}/secrets/stripe-key"
    topic = f"{scene.project}/topics/orders"
    cloud.create_resource(f"//secretmanager.googleapis.com/{secret}", scene.name)
    cloud.create_resource(f"//pubsub.googleapis.com/{topic}", scene.name)
    reference = {"secretKeyRef": {"secret": "stripe-key", "version": "latest"}}
    container = {
        **cloud.workload(service)["template"]["containers"][0],
        "env": [{"name": "STRIPE", "valueSource": reference}, {"name": "ORDERS", "value": topic}],
    }
    instances = {"instances": [f"{scene.name}:{LOCATION}:orders"]}
    volumes = [{"name": "sql", "cloudSqlInstance": instances}]
    cloud.update(service, template={"containers": [container], "volumes": volumes})
    scene.ready(f"ManagedProject/{scene.name}")

    arguments = ("service/shop", "--project", scene.name)
    first = suggest(scene, *arguments)
    assert (first.returncode, first.stderr) == (2, "Suggested 3 grants and 1 identity for 1 workload.\n")
    assert "Not admitted" not in first.stdout
    for obj in yaml.safe_load_all(first.stdout):
        scene.apply(yaml.safe_dump(obj))

    attachment = f"IdentityAttachment/service-{LOCATION}-shop"
    scene.ready(attachment)
    scene.ready("CloudRunIdentity/shop-account")
    states = eventually(
        lambda: {each["check"]: each["state"] for each in scene.status(attachment).get("preflight", ())},
        lambda states: states.get("Secrets") == states.get("Topics") == states.get("CloudSQL") == "Passed",
    )
    assert "Failed" not in states.values()
    again = suggest(scene, *arguments)
    assert (again.returncode, again.stdout) == (0, "")
