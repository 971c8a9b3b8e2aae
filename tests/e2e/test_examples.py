"""Apply and delete the examples of the repository, and check Ready objects and exact grants."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.client import ApiException

from tests.e2e.cluster import NOT_FOUND, Object
from tests.e2e.eventually import becomes, eventually
from tests.e2e.stage import Stage

EXAMPLES = Path(__file__).parents[2] / "examples"


class Example:
    """Apply the manifests of one example in the order of their files."""

    def __init__(self, stage: Stage, name: str) -> None:
        self._stage = stage
        self._cluster = stage.cluster
        files = sorted((EXAMPLES / name).glob("*.yaml"))
        self._objects: list[Object] = [obj for file in files for obj in yaml.safe_load_all(file.read_text())]

    def apply(self) -> None:
        for obj in self._objects:
            if obj["kind"] == "Namespace":
                self._stage.ensure_namespace(obj["metadata"]["name"])
            else:
                self._cluster.apply(obj)

    def delete(self, *kinds: str) -> None:
        """Delete all objects in the order of their files, as `kubectl delete -f` does; or those of kinds."""
        for obj in self._objects:
            kind, metadata = obj["kind"], obj["metadata"]
            if kinds and kind not in kinds:
                continue
            try:
                if kind == "Namespace":
                    self._cluster.delete_namespace(metadata["name"])
                else:
                    self._cluster.delete(kind, metadata["name"], metadata.get("namespace", ""))
            except ApiException as error:
                if error.status != NOT_FOUND:
                    raise

    def deleted(self, *kinds: str) -> None:
        """Wait until all objects are deleted, or those of kinds."""
        becomes(
            lambda: [name for name in self._present() if not kinds or name.partition("/")[0] in kinds], []
        )

    def ready(self) -> None:
        """Wait until every object is Ready at its current generation."""
        eventually(self._unready, lambda unready: not unready)

    def events(self) -> set[str]:
        """Return the reasons of the Events about the objects, without those of earlier objects."""
        found: set[str] = set()
        for obj in self._objects:
            kind, name = obj["kind"], obj["metadata"]["name"]
            if kind != "Namespace":
                namespace = obj["metadata"].get("namespace", "")
                stored = self._cluster.get(kind, name, namespace)
                uid = stored["metadata"]["uid"] if stored else "none"
                events = self._cluster.events(kind, name, namespace or "default", uid)
                found |= {reason for reason, _ in events}
        return found

    def status(self, kind: str, name: str, namespace: str) -> Object:
        found = self._cluster.get(kind, name, namespace)
        assert found
        status: Object = found["status"]
        return status

    def message(self, kind: str, name: str, namespace: str) -> str:
        """Return the message of Ready; empty if there is none."""
        found = self._cluster.get(kind, name, namespace) or {}
        conditions = found.get("status", {}).get("conditions", ())
        return next((str(each["message"]) for each in conditions if each["type"] == "Ready"), "")

    def patch_all(self, kind: str, change: Object) -> None:
        """Merge a change into the objects of a kind that still exist."""
        for obj in self._objects:
            metadata = obj["metadata"]
            if obj["kind"] == kind and self._cluster.get(kind, metadata["name"], metadata["namespace"]):
                self._cluster.patch(kind, metadata["name"], metadata["namespace"], change)

    def _present(self, *kinds: str) -> list[str]:
        found = []
        for obj in self._objects:
            kind, metadata = obj["kind"], obj["metadata"]
            if kinds and kind not in kinds:
                continue
            exists = (
                self._cluster.has_namespace(metadata["name"])
                if kind == "Namespace"
                else self._cluster.get(kind, metadata["name"], metadata.get("namespace", ""))
            )
            if exists:
                found.append(f"{kind}/{metadata['name']}")
        return found

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
    yield from _ended(Example(stage, "prefect"))


@pytest.fixture
def least_privilege(stage: Stage) -> Iterator[Example]:
    yield from _ended(Example(stage, "prefect-least-privilege"))


@pytest.fixture
def checkout(stage: Stage) -> Iterator[Example]:
    yield from _ended(Example(stage, "checkout"))


def _ended(example: Example) -> Iterator[Example]:
    yield example
    example.delete()
    example.deleted()


CYCLES = 3
ROLE = "projects/acme-flows/roles/prefectRunner"
PROJECTS = ("acme-flows", "acme-shop", "acme-ledger")


def state_of(stage: Stage) -> dict[str, Any]:
    """Return the policies, live accounts and the custom role of the examples' projects in Google Cloud."""
    return {
        "policies": {
            name: {role: sorted(members) for role, members in stage.cloud.policy(name).items()}
            for name in stage.cloud.policies()
            if name.split("/")[1] in PROJECTS and stage.cloud.policy(name)
        },
        "accounts": {project: sorted(stage.cloud.accounts(project)) for project in PROJECTS},
        "role": (stage.cloud.role(ROLE) or {}).get("includedPermissions"),
    }


def test_examples_can_be_deleted_and_applied_again_and_again(
    stage: Stage, checkout: Example, prefect: Example, least_privilege: Example
) -> None:
    applied, deleted = [], []
    for _ in range(CYCLES):
        for example in (checkout, prefect):
            example.apply()
            example.ready()
        least_privilege.apply()
        least_privilege.ready()
        applied.append(state_of(stage))
        for example in (checkout, prefect, least_privilege):
            example.delete()
        for example in (checkout, prefect, least_privilege):
            example.deleted()
        deleted.append(state_of(stage))
    for states in (applied, deleted):
        for state in states[1:]:
            assert state == states[0]
    assert deleted[0]["accounts"] == {
        "acme-flows": ["payroll"],
        "acme-shop": ["checkout"],
        "acme-ledger": ["ledger-writer"],
    }, "their workloads run as them"
    writer = "projects/acme-ledger/serviceAccounts/ledger-writer@acme-ledger.iam.gserviceaccount.com"
    assert deleted[0]["policies"][writer] == applied[0]["policies"][writer], "Cloud Run needs the grant"


def test_checkout_example_can_be_pruned_in_reverse_waves(stage: Stage, checkout: Example) -> None:
    checkout.apply()
    checkout.ready()
    pool = "projects/acme-shop/locations/europe-west1/workerPools/checkout-bookings"
    for kind in ("IAMBinding", "IdentityAttachment"):
        checkout.delete(kind)
        checkout.deleted(kind)

    checkout.delete("CloudRunIdentity")
    checkout.delete("ManagedProject")
    in_use = eventually(
        lambda: checkout.message("CloudRunIdentity", "ledger-writer", "payments"),
        lambda message: "workloads run as it" in message,
    )
    assert "WorkerPool europe-west1/checkout-bookings of project acme-shop" in in_use
    assert "ledger-writer" in stage.cloud.accounts("acme-ledger")
    checkout.patch_all("CloudRunIdentity", {"spec": {"abandonInUseAfter": "1s"}})
    checkout.deleted("CloudRunIdentity", "ManagedProject")
    assert stage.cloud.runs_as(pool) == "ledger-writer@acme-ledger.iam.gserviceaccount.com"
    assert "ledger-writer" in stage.cloud.accounts("acme-ledger")

    checkout.apply()
    checkout.ready()


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
    role = ROLE
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
