"""Apply the examples of the repository, and check Ready objects and exact grants."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.e2e.cluster import Object
from tests.e2e.eventually import eventually
from tests.e2e.stage import Stage

EXAMPLES = Path(__file__).parents[2] / "examples"


class Example:
    """Apply the manifests of one example in the order of their files."""

    def __init__(self, stage: Stage, name: str) -> None:
        self._cluster = stage.cluster
        files = sorted((EXAMPLES / name).glob("*.yaml"))
        self._objects: list[Object] = [obj for file in files for obj in yaml.safe_load_all(file.read_text())]

    def apply(self) -> None:
        for obj in self._objects:
            if obj["kind"] == "Namespace":
                self._cluster.create_namespace(obj["metadata"]["name"])
            else:
                self._cluster.apply(obj)

    def ready(self) -> None:
        """Wait until every object is Ready at its current generation."""
        eventually(self._unready, lambda unready: not unready)

    def events(self) -> set[str]:
        """Return the reasons of the Events about the objects."""
        return {
            reason
            for obj in self._objects
            for reason, _ in self._cluster.events(
                obj["kind"], obj["metadata"]["name"], obj["metadata"].get("namespace", "default")
            )
        }

    def status(self, kind: str, name: str, namespace: str) -> Object:
        found = self._cluster.get(kind, name, namespace)
        assert found
        status: Object = found["status"]
        return status

    def suspend(self) -> None:
        for obj in self._objects:
            if obj["kind"] == "ManagedProject":
                self._cluster.patch(
                    "ManagedProject", obj["metadata"]["name"], "", {"spec": {"suspend": True}}
                )

    def _unready(self) -> dict[str, str]:
        states = {}
        for obj in self._objects:
            kind, metadata = obj["kind"], obj["metadata"]
            if kind == "Namespace":
                continue
            found = self._cluster.get(kind, metadata["name"], metadata.get("namespace", ""))
            assert found
            conditions = {each["type"]: each for each in found.get("status", {}).get("conditions", ())}
            ready = conditions.get("Ready")
            if not ready or ready["observedGeneration"] != found["metadata"]["generation"]:
                states[f"{kind}/{metadata['name']}"] = "not observed"
            elif ready["status"] != "True":
                states[f"{kind}/{metadata['name']}"] = ready["message"]
        return states


@pytest.fixture
def prefect(stage: Stage) -> Iterator[Example]:
    example = Example(stage, "prefect")
    yield example
    example.suspend()


@pytest.fixture
def least_privilege(stage: Stage) -> Example:
    return Example(stage, "prefect-least-privilege")


@pytest.fixture
def checkout(stage: Stage) -> Iterator[Example]:
    example = Example(stage, "checkout")
    yield example
    example.suspend()


def test_prefect_examples_grant_exactly_the_documented_roles(
    stage: Stage, prefect: Example, least_privilege: Example
) -> None:
    prefect.apply()
    prefect.ready()

    email = "prefect-runner@acme-flows.iam.gserviceaccount.com"
    account = stage.cloud.accounts("acme-flows")["prefect-runner"]
    assert account["displayName"] == "Prefect flow runner"
    assert stage.cloud.policy("projects/acme-flows") == {
        "roles/owner": ["user:dana@example.com"],
        "roles/run.serviceAgent": [
            "serviceAccount:service-310552417096@serverless-robot-prod.iam.gserviceaccount.com"
        ],
        "roles/run.admin": [f"serviceAccount:{email}"],
        "roles/iam.serviceAccountUser": [f"serviceAccount:{email}"],
    }
    status = prefect.status("CloudRunIdentity", "prefect-runner", "flows")
    assert status["email"] == email
    assert status["uniqueID"] == account["uniqueId"]
    assert status["origin"] == "Created"
    assert status["grantCounts"]["granted"] == 2
    assert prefect.status("ManagedProject", "flows", "")["projectNumber"] == "310552417096"

    least_privilege.apply()
    least_privilege.ready()

    runner, flows = (
        f"serviceAccount:{account}@acme-flows.iam.gserviceaccount.com"
        for account in ("prefect-runner", "prefect-flows")
    )
    role = "projects/acme-flows/roles/prefectRunner"
    made = stage.cloud.role(role)
    assert made is not None
    assert made["includedPermissions"] == [
        f"run.jobs.{verb}" for verb in ("create", "delete", "run", "update")
    ]
    policy = stage.cloud.policy("projects/acme-flows")
    assert policy.keys() == {"roles/owner", "roles/run.serviceAgent", role}
    assert policy[role] == [runner]
    account = f"projects/acme-flows/serviceAccounts/{flows.removeprefix('serviceAccount:')}"
    assert stage.cloud.policy(account) == {"roles/iam.serviceAccountUser": [runner]}


def test_checkout_example_attaches_identities_and_admits_callers(stage: Stage, checkout: Example) -> None:
    checkout.apply()
    checkout.ready()
    assert checkout.events() == {"Ready"}

    cloud = stage.cloud
    shop = "projects/acme-shop/locations/europe-west1"
    ledger_writer = "ledger-writer@acme-ledger.iam.gserviceaccount.com"
    assert cloud.runs_as(f"{shop}/services/checkout") == "checkout@acme-shop.iam.gserviceaccount.com"
    assert cloud.runs_as(f"{shop}/jobs/checkout-settlement") == "checkout@acme-shop.iam.gserviceaccount.com"
    assert cloud.runs_as(f"{shop}/workerPools/checkout-bookings") == ledger_writer
    invokers = cloud.policy(f"{shop}/services/checkout")["roles/run.invoker"]
    assert invokers[0] == "group:checkout-testers@example.com"
    assert sorted(invokers[1:]) == ["group:storefront@example.com", f"serviceAccount:{ledger_writer}"]
    assert cloud.policy(f"projects/acme-ledger/serviceAccounts/{ledger_writer}") == {
        "roles/iam.serviceAccountTokenCreator": [
            "serviceAccount:service-417203958816@serverless-robot-prod.iam.gserviceaccount.com"
        ]
    }
    assert cloud.policy("projects/acme-shop/serviceAccounts/checkout@acme-shop.iam.gserviceaccount.com") == {
        "roles/iam.serviceAccountUser": ["group:checkout-deployers@example.com"]
    }
    assert cloud.policy("projects/acme-ledger")["roles/cloudsql.client"] == [
        "group:ledger-operators@example.com",
        f"serviceAccount:{ledger_writer}",
    ]
    attached = checkout.status("IdentityAttachment", "checkout", "payments")
    assert attached["workload"] == "Service europe-west1/checkout"
    assert attached["currentServiceAccount"] == "checkout@acme-shop.iam.gserviceaccount.com"
