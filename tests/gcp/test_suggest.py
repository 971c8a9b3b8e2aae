"""`cloudrun-identity suggest` and `export --suggest` against an emulator."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
import yaml
from click.testing import CliRunner

from cloudrun_identity.api import TargetKind, WorkloadKind
from cloudrun_identity.cli import cli
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.cloud_run_manifests import workload_in
from cloudrun_identity.gcp.run import Run
from cloudrun_identity.gcp.workload_dependencies import needs_of
from cloudrun_identity.gcp.workloads import Workload
from cloudrun_identity_playground.emulator.emulator import Emulator
from cloudrun_identity_playground.emulator.seed import (
    Project,
    Secret,
    Seed,
    ServiceAccount,
    TargetResource,
)
from tests.gcp.conftest import Observer

EMAIL = "checkout@shop-1234.iam.gserviceaccount.com"
SEED = Seed(
    projects=(
        Project(
            project_id="shop-1234",
            project_number="123456789012",
            service_accounts=(ServiceAccount(account_id="checkout"),),
            secrets=(Secret(name="stripe-key"),),
            resources=(
                TargetResource(kind=TargetKind.STORAGE_BUCKET, name="shop-assets"),
                TargetResource(kind=TargetKind.PUB_SUB_TOPIC, name="orders"),
            ),
        ),
    ),
)
COLLECTIONS = {
    "Service": "serving.knative.dev/v1/namespaces/shop-1234/services",
    "Job": "run.googleapis.com/v1/namespaces/shop-1234/jobs",
    "WorkerPool": "run.googleapis.com/v1/namespaces/shop-1234/workerpools",
}
TEMPLATE = """
metadata:
  annotations: {run.googleapis.com/cloudsql-instances: "shop-1234:europe-west1:orders"}
spec:
  containers:
  - image: europe-docker.pkg.dev/images-1/app/web
    env:
    - {name: STRIPE, valueFrom: {secretKeyRef: {name: stripe-key, key: latest}}}
    - {name: ORDERS, value: projects/shop-1234/topics/orders}
  volumes:
  - name: assets
    csi: {driver: gcsfuse.run.googleapis.com, readOnly: true, volumeAttributes: {bucketName: shop-assets}}
"""


class Deployed:
    """An emulator with workloads, which are deployed as gcloud does it."""

    def __init__(self, emulator: Emulator, session: aiohttp.ClientSession) -> None:
        self.emulator = emulator
        self._session = session

    async def deploy(self, kind: str = "Service", name: str = "checkout", account: str = EMAIL) -> None:
        template = yaml.safe_load(TEMPLATE)
        template["spec"] |= {"serviceAccountName": account} if account else {}
        if kind == "Job":
            template["spec"] = {"template": {"spec": template["spec"]}}
        group = COLLECTIONS[kind].partition("/namespaces")[0]
        body = {"apiVersion": group, "kind": kind, "metadata": {"name": name}, "spec": {"template": template}}
        await self._request("POST", f"/apis/{COLLECTIONS[kind]}", body)

    async def described(self, kind: str = "Service", name: str = "checkout") -> Any:
        """Return the workload as `gcloud run … describe --format=export` prints it."""
        shown = await self._request("GET", f"/apis/{COLLECTIONS[kind]}/{name}")
        return {field: value for field, value in shown.items() if field != "status"}

    async def _request(self, verb: str, path: str, body: Any = None) -> Any:
        url = self.emulator.rest_url + path
        headers = {"Host": "europe-west1-run.googleapis.com"}
        async with self._session.request(verb, url, json=body, headers=headers) as response:
            answer = await response.json()
            assert response.status == 200, answer
            return answer

    def grant(self, resource: str, role: str, member: str, **condition: Any) -> None:
        self.emulator.edit({"policy": resource, "add": [{"role": role, "member": member, **condition}]})

    async def run(self, *arguments: str) -> tuple[int, str, str]:
        """Run a command in a thread; return exit code, standard output and standard error."""
        command = [*arguments, "--google-endpoint", self.emulator.grpc_address]
        result = await asyncio.to_thread(CliRunner().invoke, cli, command)
        return result.exit_code, result.stdout, result.stderr


@pytest.fixture
async def deployed() -> AsyncIterator[Deployed]:
    async with Emulator(seed=SEED, rest_port=0) as emulator, aiohttp.ClientSession() as session:
        yield Deployed(emulator, session)


LIVE = ("suggest", "--project", "shop-1234", "--location", "europe-west1")


@pytest.mark.parametrize("kind", COLLECTIONS)
async def test_exported_yaml_shows_the_same_needs_as_the_api(deployed: Deployed, kind: str) -> None:
    await deployed.deploy(kind)
    clients = GoogleClients(deployed.emulator.grpc_address, Observer())
    live = await Run(clients).get(Workload(WorkloadKind(kind), "shop-1234", "europe-west1", "checkout"))
    await clients.close()

    written = workload_in(await deployed.described(kind), "shop-1234", "")

    assert (written.workload, written.service_account) == (live.workload, live.service_account)
    assert {each.target for each in needs_of(written).needs} == {each.target for each in needs_of(live).needs}
    assert len(needs_of(live).needs) == 5


async def test_grants_of_the_policies_are_not_suggested_again(deployed: Deployed) -> None:
    await deployed.deploy()
    code, output, _ = await deployed.run(*LIVE, "service/checkout", "-o", "json")
    answer = json.loads(output)
    assert (code, answer["result"]) == (2, "Suggestions")
    (account,) = answer["accounts"]
    assert account["email"] == EMAIL

    project = "//cloudresourcemanager.googleapis.com/projects"
    names = {
        "Project": f"{project}/shop-1234",
        "Secret": "//secretmanager.googleapis.com/projects/shop-1234/secrets/stripe-key",
        "StorageBucket": "//storage.googleapis.com/projects/_/buckets/shop-assets",
        "PubSubTopic": "//pubsub.googleapis.com/projects/shop-1234/topics/orders",
        "ArtifactRegistryRepository": f"{project}/images-1",
    }
    for grant in account["grants"]:
        condition = {"condition": grant["condition"]} if "condition" in grant else {}
        deployed.grant(names[grant["target"]["kind"]], grant["role"], grant["member"], **condition)

    code, output, errors = await deployed.run(*LIVE, "service/checkout")
    assert (code, output) == (0, "")
    assert errors == "Nothing to suggest for 1 workload.\n"


async def test_workloads_of_a_location_are_suggested_identities(deployed: Deployed) -> None:
    await deployed.deploy(account="")
    await deployed.deploy("Job", "nightly", account="")
    code, output, errors = await deployed.run(*LIVE)
    objects = [each for each in yaml.safe_load_all(output) if each]
    assert code == 2, errors
    assert [(each["kind"], each["metadata"]["name"]) for each in objects] == [
        ("CloudRunIdentity", "nightly"),
        ("IdentityAttachment", "job-europe-west1-nightly"),
        ("IAMBinding", "run-agent-artifact-registry-repository-europe-app-reader"),
        ("CloudRunIdentity", "checkout"),
        ("IdentityAttachment", "service-europe-west1-checkout"),
    ]
    assert {each["metadata"]["namespace"] for each in objects} == {"shop-1234"}


async def test_objects_in_files_are_compared_with_all_workloads_of_a_location(
    deployed: Deployed, tmp_path: Path
) -> None:
    await deployed.deploy()
    (tmp_path / "project.yaml").write_text(
        """
apiVersion: cloudrun-identity.dev/v1alpha1
kind: ManagedProject
metadata: {name: shop}
spec: {projectID: shop-1234, locations: [europe-west1], namespaces: {names: [payments]}}
"""
    )
    code, output, _ = await deployed.run("suggest", "-f", str(tmp_path), "--project", "shop-1234")
    assert code == 2
    assert {each["metadata"]["namespace"] for each in yaml.safe_load_all(output)} == {"payments"}


async def test_attachments_in_files_name_the_workloads(deployed: Deployed, tmp_path: Path) -> None:
    await deployed.deploy(account="")
    (tmp_path / "payments.yaml").write_text(
        """
apiVersion: cloudrun-identity.dev/v1alpha1
kind: ManagedProject
metadata: {name: shop}
spec: {projectID: shop-1234, namespaces: {names: [payments]}}
---
apiVersion: cloudrun-identity.dev/v1alpha1
kind: CloudRunIdentity
metadata: {name: checkout, namespace: payments}
spec: {projectRef: {name: shop}}
---
apiVersion: cloudrun-identity.dev/v1alpha1
kind: IdentityAttachment
metadata: {name: checkout, namespace: payments}
spec:
  projectRef: {name: shop}
  workload: {kind: Service, location: europe-west1, name: checkout}
  identityRef: {name: checkout}
"""
    )
    code, output, errors = await deployed.run("suggest", "-f", str(tmp_path), "-o", "text")
    assert (code, errors) == (2, "")
    first, *lines, last = output.splitlines()
    assert first == f"Service europe-west1/checkout runs as {EMAIL}  (CloudRunIdentity payments/checkout)"
    assert (
        "  + roles/pubsub.publisher on PubSubTopic orders: the workload publishes to the topic"
        in "\n".join(lines)
    )
    assert sum("! To admit it: kubectl patch managedproject shop" in line for line in lines) == 4
    assert last == "Suggested 5 grants for 1 workload; 4 not admitted by guardrails."


async def test_yaml_of_a_workload_needs_no_access_to_google(deployed: Deployed, tmp_path: Path) -> None:
    await deployed.deploy(account="")
    file = tmp_path / "checkout.yaml"
    file.write_text(yaml.safe_dump(await deployed.described()))
    before = dict(deployed.emulator.calls)

    arguments = ("suggest", "-f", str(tmp_path), "--project", "shop-1234")
    code, output, errors = await deployed.run(*arguments)
    assert (code, errors) == (2, "Suggested 5 grants and 1 identity for 1 workload.\n")
    assert dict(deployed.emulator.calls) == before

    (tmp_path / "suggested.yaml").write_text(output)
    assert (await deployed.run(*arguments, "-o", "text"))[0] == 0, "nothing is suggested twice"


async def test_named_workload_that_does_not_exist_is_an_error(deployed: Deployed) -> None:
    code, _, errors = await deployed.run(*LIVE, "service/missing")
    assert code == 1
    assert "left out: Service europe-west1/missing: does not exist in project shop-1234" in errors


async def test_project_that_may_not_be_read_is_no_error(deployed: Deployed) -> None:
    await deployed.deploy()
    get_project = "google.cloud.resourcemanager.v3.Projects/GetProject"
    deployed.emulator.faults.inject(get_project, grpc.StatusCode.PERMISSION_DENIED, times=10)
    code, output, errors = await deployed.run(*LIVE, "service/checkout", "-o", "json")
    assert (code, errors) == (2, "")
    (account,) = json.loads(output)["accounts"]
    of_agent = [each for each in account["grants"] if each["role"] == "roles/artifactregistry.reader"]
    assert [each["member"] for each in of_agent] == [None]


async def test_export_adds_the_suggestions_for_its_workloads(deployed: Deployed, tmp_path: Path) -> None:
    await deployed.deploy()
    arguments = ("export", "--project", "shop-1234", "--location", "europe-west1", "--suggest")
    code, _, errors = await deployed.run(*arguments, "-o", str(tmp_path / "out"))
    assert code == 0, errors
    text = (tmp_path / "out" / "suggestions.yaml").read_text()
    bindings = [each["spec"] for each in yaml.safe_load_all(text) if each]
    assert {each["target"]["kind"] for each in bindings} == {
        *("Project", "Secret", "StorageBucket", "PubSubTopic"),
        "ArtifactRegistryRepository",
    }
    assert "# To admit it: kubectl patch managedproject shop-1234" in text
