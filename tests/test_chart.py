"""Lint and render the Helm chart: the objects that it creates by default, its RBAC and its policies."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import yaml
from helm_python.chart import Chart, lint

from cloudrun_identity.api import KINDS
from cloudrun_identity.api.crd import file_name, generate, render
from cloudrun_identity.api.group import CATEGORY, GROUP
from cloudrun_identity.commands.cluster_checks import OLDEST
from cloudrun_identity.kube import access
from cloudrun_identity.kube.lease import NAME
from tests.chart import (
    CHART,
    CLUSTER_NAMES,
    IMAGE,
    RELEASED,
    container,
    deployment,
    manifests,
    permitted,
    rendering,
    rules,
)

SERVED = [kind.plural for name, kind in KINDS.items() if name != "PolicyLedger"]
WARNING = 2


@pytest.fixture
def chart() -> Iterator[Chart]:
    with Chart.load(CHART) as chart:
        yield chart


def test_helm_lint_reports_no_warnings() -> None:
    report = lint(str(CHART), IMAGE, strict=True, namespace="identities")
    assert report["total_charts_linted"] == 1
    assert [message for message in report["messages"] if message["severity"] >= WARNING] == []


@pytest.mark.parametrize("kind", KINDS)
def test_chart_contains_the_generated_crd(kind: str) -> None:
    assert (CHART / "files" / "crds" / file_name(kind)).read_text(encoding="utf-8") == render(kind)


def test_chart_contains_no_other_crds() -> None:
    assert {path.name for path in (CHART / "files" / "crds").iterdir()} == {file_name(kind) for kind in KINDS}


def test_crds_are_installed_and_kept_on_uninstall(chart: Chart) -> None:
    installed = {
        name: manifest
        for (kind, name), manifest in manifests(chart).items()
        if kind == "CustomResourceDefinition"
    }
    assert {name: manifest["spec"] for name, manifest in installed.items()} == {
        definition["metadata"]["name"]: definition["spec"] for definition in generate().values()
    }
    for manifest in installed.values():
        assert manifest["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_crds_can_be_left_out(chart: Chart) -> None:
    kinds = {kind for kind, _ in manifests(chart, crds={"install": False})}
    assert "CustomResourceDefinition" not in kinds
    assert "Deployment" in kinds


def test_one_replica_runs_in_the_namespace_of_the_release(chart: Chart) -> None:
    assert deployment(chart)["replicas"] == 1
    assert container(chart)["args"] == [
        "run",
        "--operator-namespace=identities",
        "--lease-duration=15s",
        "--http-port=8080",
        "--concurrency=16",
        "--log-level=info",
        "--log-format=json",
    ]


def test_probes_use_the_configured_port(chart: Chart) -> None:
    serving = container(chart, http={"port": 9000})
    assert serving["ports"] == [{"name": "http", "containerPort": 9000}]
    assert "--http-port=9000" in serving["args"]
    assert serving["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert serving["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}


def test_pod_meets_the_restricted_pod_security_standard(chart: Chart) -> None:
    pod = deployment(chart)["template"]["spec"]["securityContext"]
    assert pod["runAsNonRoot"] is True
    assert pod["runAsUser"] == 65532
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(chart)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_image_digest_takes_precedence_over_the_tag(chart: Chart) -> None:
    repository = IMAGE["image"]["repository"]
    digest = f"sha256:{'0' * 64}"
    assert container(chart, image={"repository": repository, "tag": "1.2"})["image"] == f"{repository}:1.2"
    assert (
        container(chart, image={"repository": repository, "tag": "1.2", "digest": digest})["image"]
        == f"{repository}@{digest}"
    )


def test_workload_identity_annotation_is_on_the_service_account(chart: Chart) -> None:
    annotations = {"iam.gke.io/gcp-service-account": "cri@ops.iam.gserviceaccount.com"}
    rendered = manifests(chart, serviceAccount={"name": "operator", "annotations": annotations})
    account = rendered["ServiceAccount", "operator"]
    assert account["metadata"]["annotations"] == annotations
    assert account["metadata"]["namespace"] == "identities"
    spec = rendered["Deployment", RELEASED]["spec"]["template"]["spec"]
    assert spec["serviceAccountName"] == "operator"
    for binding in ("ClusterRoleBinding", "RoleBinding"):
        (subject,) = rendered[binding, CLUSTER_NAMES.get(binding, RELEASED)]["subjects"]
        assert subject == {"kind": "ServiceAccount", "name": "operator", "namespace": "identities"}


def test_cluster_role_permits_every_kind(chart: Chart) -> None:
    allowed = rules(chart, "ClusterRole")
    for plural in SERVED:
        assert {(f"{plural}.{GROUP}", verb) for verb in ("get", "list", "watch", "patch")} <= allowed
        assert (f"{plural}/status.{GROUP}", "patch") in allowed


def test_operator_may_not_create_or_delete_objects_of_users(chart: Chart) -> None:
    allowed = rules(chart, "ClusterRole") | rules(chart, "Role")
    assert not {(f"{plural}.{GROUP}", verb) for plural in SERVED for verb in ("create", "delete")} & allowed


def test_ledgers_and_lease_are_writable_only_in_the_own_namespace(chart: Chart) -> None:
    role = manifests(chart)["Role", RELEASED]
    assert role["metadata"]["namespace"] == "identities"
    assert {("leases.coordination.k8s.io", verb) for verb in ("get", "create", "update")} <= rules(
        chart, "Role"
    )
    ledgers = f"policyledgers.{GROUP}"
    assert {(ledgers, verb) for verb in ("create", "update", "delete")} <= rules(chart, "Role")
    assert {verb for resource, verb in rules(chart, "ClusterRole") if resource == ledgers} == {
        "get",
        "list",
        "watch",
    }


def test_leases_elsewhere_are_read_by_the_name_of_an_operator_only(chart: Chart) -> None:
    listed = manifests(chart)["ClusterRole", "cloudrun-identity"]["rules"]
    [rule] = [rule for rule in listed if rule["resources"] == ["leases"]]
    assert rule["resourceNames"] == [NAME]
    assert rule["verbs"] == ["get"]


def test_roles_permit_exactly_what_the_operator_and_the_check_command_list(chart: Chart) -> None:
    def listed(accesses: Iterable[access.Access]) -> set[tuple[str, str]]:
        return {(f"{each.resource}.{each.group}".removesuffix("."), each.verb) for each in accesses}

    assert rules(chart, "ClusterRole") == listed(access.CLUSTER)
    assert rules(chart, "Role") == listed(access.OPERATOR_NAMESPACE)
    everywhere = rules(chart, "ClusterRole", keys={"enabled": True, "namespaces": ["*"]})
    assert everywhere == listed((*access.CLUSTER, *access.KEYS))


def test_chart_requires_the_kubernetes_version_that_the_operator_needs() -> None:
    metadata = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert metadata["kubeVersion"] == f">={OLDEST[0]}.{OLDEST[1]}.0-0"


def test_namespace_editors_may_write_exactly_the_kinds_of_the_category(chart: Chart) -> None:
    def granted(role: str) -> set[tuple[str, str]]:
        rendered = manifests(chart)["ClusterRole", f"cloudrun-identity-{role}"]
        assert rendered["metadata"]["labels"][f"rbac.authorization.k8s.io/aggregate-to-{role}"] == "true"
        (rule,) = rendered["rules"]
        assert rule["apiGroups"] == [GROUP]
        return {(resource, verb) for resource in rule["resources"] for verb in rule["verbs"]}

    # kubectl prints an error for each kind of a category that the user may not list.
    declared = {kind.plural for kind in KINDS.values() if kind.category == CATEGORY}
    assert declared == set(SERVED) - {"managedprojects"}
    assert {resource for resource, _ in granted("edit")} == declared
    assert granted("view") == {(each, verb) for each in declared for verb in ("get", "list", "watch")}
    kept_apart = manifests(chart, aggregateRoles=False)
    assert ("ClusterRole", "cloudrun-identity-edit") not in kept_apart


def test_several_replicas_have_a_pod_disruption_budget(chart: Chart) -> None:
    assert ("PodDisruptionBudget", RELEASED) not in manifests(chart)
    budget = manifests(chart, replicas=2)["PodDisruptionBudget", RELEASED]["spec"]
    assert budget == {"maxUnavailable": 1, "selector": deployment(chart)["selector"]}


@pytest.mark.parametrize("kind", ["ClusterRole", "Role"])
def test_no_role_has_a_wildcard_or_access_to_secrets(chart: Chart, kind: str) -> None:
    assert not [rule for rule in rules(chart, kind) if "*" in "".join(rule) or rule[0].startswith("secrets")]


SECRETS = {("secrets", verb) for verb in ("get", "create", "patch", "delete")}


def test_keys_permit_secrets_of_the_listed_namespaces_but_not_listing(chart: Chart) -> None:
    listed = {"enabled": True, "namespaces": ["flows", "payments"]}
    rendered = [each for each in rendering(chart, keys=listed) if each["metadata"]["name"].endswith("-keys")]
    namespaces = {(each["kind"], each["metadata"]["namespace"]) for each in rendered}
    assert namespaces == {(kind, name) for kind in ("Role", "RoleBinding") for name in listed["namespaces"]}
    for each in rendered:
        if each["kind"] == "Role":
            assert permitted(each) == SECRETS
        else:
            assert each["roleRef"]["name"] == "ops-cloudrun-identity-keys"
            assert [subject["namespace"] for subject in each["subjects"]] == ["identities"]
    assert not SECRETS & rules(chart, "ClusterRole", keys=listed)


def test_keys_can_permit_secrets_of_every_namespace(chart: Chart) -> None:
    everywhere = {"enabled": True, "namespaces": ["*"]}
    assert {rule for rule in rules(chart, "ClusterRole", keys=everywhere) if "secrets" in rule} == SECRETS
    assert ("Role", "ops-cloudrun-identity-keys") not in manifests(chart, keys=everywhere)


def test_writes_of_secrets_are_limited_to_those_of_keys(chart: Chart) -> None:
    name = "cloudrun-identity-secrets"
    assert ("ValidatingAdmissionPolicy", name) not in manifests(chart)
    rendered = manifests(
        chart, keys={"enabled": True, "namespaces": ["flows"]}, serviceAccount={"name": "operator"}
    )
    policy = rendered["ValidatingAdmissionPolicy", name]["spec"]
    assert policy["failurePolicy"] == "Fail"
    [condition] = policy["matchConditions"]
    assert condition["expression"].endswith("'system:serviceaccount:identities:operator'")
    assert rendered["ValidatingAdmissionPolicyBinding", name]["spec"]["validationActions"] == ["Deny"]


def test_admission_policies_are_optional_and_name_the_managed_project(chart: Chart) -> None:
    kinds = {kind for kind, _ in manifests(chart)}
    assert not {kind for kind in kinds if kind.startswith("Validating")}
    enabled = {"enabled": True, "validationActions": ["Warn", "Audit"]}
    rendered = manifests(chart, admissionPolicy=enabled)
    policies = {name: each for (kind, name), each in rendered.items() if kind == "ValidatingAdmissionPolicy"}
    assert policies
    for name, policy in policies.items():
        assert policy["spec"]["paramKind"]["kind"] == "ManagedProject"
        assert policy["spec"]["failurePolicy"] == "Ignore", "the operator judges the object in any case"
        binding = rendered["ValidatingAdmissionPolicyBinding", name]["spec"]
        assert binding["policyName"] == name
        assert binding["validationActions"] == ["Warn", "Audit"]
        assert binding["paramRef"]["parameterNotFoundAction"] == "Allow"


def test_notes_mention_a_missing_google_account(chart: Chart) -> None:
    def notes(**values: Any) -> str:
        return chart.render(IMAGE | values, name="ops", namespace="identities")[
            f"{CHART.name}/templates/NOTES.txt"
        ]

    assert "gcp-service-account" in notes()
    assert "gcp-service-account" not in notes(serviceAccount={"annotations": {"eks": "no"}})


def test_web_page_is_off_by_default_and_needs_events(chart: Chart) -> None:
    assert "--ui" not in container(chart)["args"]
    assert ("events", "list") not in rules(chart, "ClusterRole")
    shown = {"enabled": True}
    assert "--ui" in container(chart, ui=shown)["args"]
    assert ("events", "list") in rules(chart, "ClusterRole", ui=shown)
