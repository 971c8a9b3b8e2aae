"""ValidatingAdmissionPolicies of the chart, compared with the decisions of the operator."""

from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client, config, utils
from kubernetes.client import ApiException

from cloudrun_identity.api import API_VERSION, GROUP, KINDS, MAX_PERMISSIONS, ManagedProject
from tests.e2e.eventually import eventually
from tests.kube.admission_cases import NAMESPACES, Manifest, is_denied, objects, projects
from tests.servers.chart import rendered_template
from tests.servers.kube_apis import REAL, install_crds, started

OPERATOR_NAMESPACE = "cloudrun-identity"
VERSION = "v1alpha1"
FORBIDDEN, INVALID = 403, 422


class Cluster:
    """A cluster with the policies of the chart."""

    def __init__(self, api: client.ApiClient) -> None:
        self._api = api
        self._objects = client.CustomObjectsApi(api)
        self._core = client.CoreV1Api(api)

    def add_namespaces(self) -> None:
        for name, labels in NAMESPACES.items():
            self._core.create_namespace({"metadata": {"name": name, "labels": dict(labels)}})

    def add_policies(self) -> None:
        """Create the policies. Here, an expression that fails refuses the object, so that errors are seen."""
        rendered = rendered_template(
            "admissionpolicy.yaml", OPERATOR_NAMESPACE, admissionPolicy={"enabled": True}
        )
        for manifest in rendered:
            if manifest["kind"] == "ValidatingAdmissionPolicy":
                assert manifest["spec"]["failurePolicy"] == "Ignore"
                manifest["spec"]["failurePolicy"] = "Fail"
            utils.create_from_dict(self._api, manifest)

    def add_project(self, project: ManagedProject) -> bool:
        """Create a ManagedProject; return whether the schema accepts it."""
        manifest = {"spec": project.spec.to_dict(), "metadata": {"name": project.metadata.name}}
        body = {"apiVersion": API_VERSION, "kind": "ManagedProject", **manifest}
        try:
            self._objects.create_cluster_custom_object(GROUP, VERSION, "managedprojects", body)
        except ApiException as error:
            if error.status != INVALID:
                raise
            return False
        return True

    def refusal(self, obj: Manifest) -> str:
        """Try to create an object; return the message of the policy that refuses it, empty if none does."""
        try:
            self.create(obj, dry_run="All")
        except ApiException as error:
            return _refusal_in(error)
        return ""

    def create(self, obj: Manifest, **options: Any) -> None:
        plural, namespace = KINDS[obj["kind"]].plural, obj["metadata"]["namespace"]
        self._objects.create_namespaced_custom_object(GROUP, VERSION, namespace, plural, obj, **options)

    def edit(self, obj: Manifest, change: Manifest) -> str:
        """Merge a change into an object; return the message of the policy that refuses it."""
        plural, metadata = KINDS[obj["kind"]].plural, obj["metadata"]
        try:
            self._objects.patch_namespaced_custom_object(
                GROUP, VERSION, metadata["namespace"], plural, metadata["name"], change
            )
        except ApiException as error:
            return _refusal_in(error)
        return ""

    def edit_project(self, name: str, spec: Manifest) -> None:
        self._objects.patch_cluster_custom_object(GROUP, VERSION, "managedprojects", name, {"spec": spec})


def _refusal_in(error: ApiException) -> str:
    message = str(error.body)
    if error.status != FORBIDDEN or "ValidatingAdmissionPolicy" not in message:
        raise error
    return message


@pytest.fixture(scope="module", params=[REAL])  # the embedded server has no admission policies
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with started(request.param, tmp_path_factory.mktemp("policies")) as server:
        install_crds(server)
        api = config.new_client_from_config(str(server.kubeconfig))
        try:
            cluster = Cluster(api)
            cluster.add_namespaces()
            yield cluster
        finally:
            api.close()


@pytest.fixture(scope="module")
def accepted(cluster: Cluster) -> list[ManagedProject]:
    """Return the ManagedProjects that exist, once the policies judge objects of each of them."""
    accepted = [project for project in projects() if cluster.add_project(project)]
    cluster.add_policies()
    for project in accepted:
        outside = next(objects(project.metadata.name, "outside"))
        eventually(lambda outside=outside: cluster.refusal(outside), bool)
    return accepted


def test_policies_and_operator_decide_alike(cluster: Cluster, accepted: list[ManagedProject]) -> None:
    cases = denied = 0
    different = []
    for project in accepted:
        for namespace in NAMESPACES:
            for obj in objects(project.metadata.name, namespace):
                refusal, expected = cluster.refusal(obj), is_denied(project, obj)
                cases, denied = cases + 1, denied + expected
                if bool(refusal) != expected:
                    different.append((project.metadata.name, namespace, obj["spec"], expected, refusal))
    assert different == []
    assert cases > 2_000
    assert 0 < denied < cases


@pytest.fixture
def project(cluster: Cluster, accepted: list[ManagedProject], request: pytest.FixtureRequest) -> str:
    """Create a ManagedProject for one test that admits `payments`; return its name once it is judged."""
    name = request.node.originalname.replace("_", "-")[:60]
    guardrails = {
        "grants": [{"roles": ["roles/viewer"], "targetKinds": ["Project"], "members": ["*"]}],
        "customRoles": {"permissions": ["run.*"]},
        "naming": {"requireDisplayName": True},
    }
    spec = {"projectID": "acme-shop", "namespaces": {"names": ["payments"]}, "guardrails": guardrails}
    metadata = {"name": name}
    made = {"apiVersion": API_VERSION, "kind": "ManagedProject", "metadata": metadata, "spec": spec}
    assert cluster.add_project(ManagedProject.model_validate(made))
    outside = next(objects(name, "outside"))
    eventually(lambda: cluster.refusal(outside), bool)
    return name


def binding(project: str, *members: str) -> Manifest:
    return {
        "apiVersion": API_VERSION,
        "kind": "IAMBinding",
        "metadata": {"name": project, "namespace": "payments"},
        "spec": {
            "projectRef": {"name": project},
            "target": {"kind": "Project"},
            "role": "roles/viewer",
            "members": [{"principal": member} for member in members],
        },
    }


def test_refusal_of_a_grant_that_lasts_too_long_names_the_limit(cluster: Cluster, project: str) -> None:
    entry = {"roles": ["roles/viewer"], "targetKinds": ["Project"], "members": ["*"]}
    obj = binding(project, "group:a@example.com")
    cluster.edit_project(project, {"guardrails": {"grants": [entry | {"maxDuration": "8h"}]}})
    eventually(lambda: cluster.refusal(obj), bool)

    refusal = cluster.refusal(obj)
    assert "does not admit roles/viewer on Project acme-shop in namespace payments" in refusal
    assert "for longer than 8h (maxDuration); set duration or expiresAt of the members" in refusal
    obj["spec"]["members"][0]["duration"] = "9h"
    assert "for longer than 8h" in cluster.refusal(obj)
    obj["spec"]["members"][0]["duration"] = "8h"
    assert not cluster.refusal(obj)
    obj["spec"]["role"] = "roles/editor"
    assert "maxDuration" not in cluster.refusal(obj)


def no_longer_admitted(cluster: Cluster, obj: Manifest) -> None:
    """Remove the grants of the project from its guardrails, and wait until the policies know it."""
    cluster.edit_project(obj["spec"]["projectRef"]["name"], {"guardrails": {"grants": []}})
    another = obj | {"metadata": obj["metadata"] | {"name": "another"}}
    eventually(lambda: cluster.refusal(another), bool)


def test_object_that_lost_its_admission_can_be_narrowed_and_suspended(cluster: Cluster, project: str) -> None:
    obj = binding(project, "group:a@example.com", "group:b@example.com")
    cluster.create(obj)
    no_longer_admitted(cluster, obj)

    assert not cluster.edit(obj, {"metadata": {"finalizers": ["cloudrun-identity.dev/finalizer"]}})
    assert not cluster.edit(obj, {"spec": {"members": [{"principal": "group:a@example.com"}]}})
    assert not cluster.edit(obj, {"spec": {"deletionPolicy": "Abandon"}})
    added = {"spec": {"members": [{"principal": "group:c@example.com"}]}}
    assert "does not admit roles/viewer on Project acme-shop" in cluster.edit(obj, added)
    assert cluster.edit(obj, {"spec": {"role": "roles/owner"}})

    assert not cluster.edit(obj, {"spec": {"suspend": True}})
    assert not cluster.edit(obj, added)
    assert cluster.edit(obj, {"spec": {"suspend": False}})
    assert not cluster.edit(obj, {"metadata": {"finalizers": []}})


def test_objects_of_a_suspended_project_are_not_judged(cluster: Cluster, project: str) -> None:
    cluster.edit_project(project, {"suspend": True})
    outside = next(objects(project, "outside"))
    eventually(lambda: cluster.refusal(outside), lambda refusal: not refusal)


def test_edit_is_judged_by_the_field_that_it_changes(cluster: Cluster, project: str) -> None:
    identity = {
        "apiVersion": API_VERSION,
        "kind": "CloudRunIdentity",
        "metadata": {"name": "checkout", "namespace": "payments"},
        "spec": {"projectRef": {"name": project}, "displayName": "Checkout"},
    }
    cluster.create(identity)
    assert not cluster.edit(identity, {"spec": {"description": "Checkout of the shop"}})
    assert "spec.displayName: must be set" in cluster.edit(identity, {"spec": {"displayName": None}})
    role = identity | {
        "kind": "CustomRole",
        "spec": {"projectRef": {"name": project}, "roleID": "runner", "permissions": ["run.jobs.run"]},
    }
    cluster.create(role)
    assert "does not admit storage.buckets.get in a custom role" in cluster.edit(
        role, {"spec": {"permissions": ["run.jobs.run", "storage.buckets.get"]}}
    )


def test_role_of_3000_permissions_is_judged(cluster: Cluster, project: str) -> None:
    role = {
        "apiVersion": API_VERSION,
        "kind": "CustomRole",
        "metadata": {"name": "runner", "namespace": "payments"},
        "spec": {
            "projectRef": {"name": project},
            "roleID": "runner",
            "permissions": [f"run.r{number}.get" for number in range(MAX_PERMISSIONS - 4)],
        },
    }
    assert not cluster.refusal(role)
    role["spec"]["permissions"] += [f"storage.{number}.get" for number in range(4)]
    assert "storage.0.get, storage.1.get, storage.2.get and 1 more in a custom role" in cluster.refusal(role)


def test_role_keeps_an_id_that_the_pattern_no_longer_admits(cluster: Cluster, project: str) -> None:
    role = {
        "apiVersion": API_VERSION,
        "kind": "CustomRole",
        "metadata": {"name": "runner", "namespace": "payments"},
        "spec": {"projectRef": {"name": project}, "roleID": "runner", "permissions": ["run.jobs.run"]},
    }
    cluster.create(role)
    cluster.edit_project(project, {"guardrails": {"naming": {"roleIDPattern": "pay_*"}}})
    another = role | {"metadata": role["metadata"] | {"name": "another"}}
    refusal = eventually(lambda: cluster.refusal(another), bool)
    assert "spec.roleID: runner does not match pay_*, which guardrails.naming" in refusal
    assert not cluster.edit(role, {"spec": {"permissions": ["run.jobs.run", "run.jobs.get"]}})


def test_object_of_an_unknown_project_is_left_to_the_operator(
    cluster: Cluster, accepted: list[ManagedProject]
) -> None:
    assert accepted
    assert not cluster.refusal(next(objects("not-there-yet", "outside")))
