"""Lint and render the Helm chart with Helm itself."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm_python.chart import Chart, lint
from helm_python.errors import HelmError

from cloudrun_identity.api import KINDS
from cloudrun_identity.api.crd import file_name, generate, render
from cloudrun_identity.api.group import CATEGORY, GROUP

CHART = Path(__file__).parents[1] / "charts" / "cloudrun-identity"
IMAGE = {"image": {"repository": "registry.example/cloudrun-identity"}}
SERVED = [kind.plural for name, kind in KINDS.items() if name != "PolicyLedger"]
WARNING = 2
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The C loader, if available, is ten times as fast, and each rendering contains all CRDs."""

Manifest = dict[str, Any]


@pytest.fixture
def chart() -> Iterator[Chart]:
    with Chart.load(CHART) as chart:
        yield chart


def rendering(chart: Chart, **values: Any) -> list[Manifest]:
    """Render release `ops` in namespace `identities`."""
    rendered = chart.render(IMAGE | values, name="ops", namespace="identities")
    return [
        manifest
        for path, text in rendered.items()
        if path.endswith(".yaml")
        for manifest in yaml.load_all(text, LOADER)
        if manifest
    ]


def manifests(chart: Chart, **values: Any) -> dict[tuple[str, str], Manifest]:
    """Return the manifests of the release by kind and name."""
    return {
        (manifest["kind"], manifest["metadata"]["name"]): manifest for manifest in rendering(chart, **values)
    }


def deployment(chart: Chart, **values: Any) -> Manifest:
    found: Manifest = manifests(chart, **values)["Deployment", "ops-cloudrun-identity"]["spec"]
    return found


def container(chart: Chart, **values: Any) -> Manifest:
    (found,) = deployment(chart, **values)["template"]["spec"]["containers"]
    return dict(found)


def rules(chart: Chart, kind: str, **values: Any) -> set[tuple[str, str]]:
    """Return every (resource, verb) that the role of this kind permits."""
    return permitted(manifests(chart, **values)[kind, "ops-cloudrun-identity"])


def permitted(role: Manifest) -> set[tuple[str, str]]:
    """Return every (resource, verb) that a role permits."""
    return {
        (f"{resource}.{group}".removesuffix("."), verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


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
    spec = rendered["Deployment", "ops-cloudrun-identity"]["spec"]["template"]["spec"]
    assert spec["serviceAccountName"] == "operator"
    for binding in ("ClusterRoleBinding", "RoleBinding"):
        (subject,) = rendered[binding, "ops-cloudrun-identity"]["subjects"]
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
    role = manifests(chart)["Role", "ops-cloudrun-identity"]
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


def test_namespace_editors_may_write_exactly_the_kinds_of_the_category(chart: Chart) -> None:
    def granted(role: str) -> set[tuple[str, str]]:
        rendered = manifests(chart)["ClusterRole", f"ops-cloudrun-identity-{role}"]
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
    assert ("ClusterRole", "ops-cloudrun-identity-edit") not in kept_apart


def test_several_replicas_have_a_pod_disruption_budget(chart: Chart) -> None:
    assert ("PodDisruptionBudget", "ops-cloudrun-identity") not in manifests(chart)
    budget = manifests(chart, replicas=2)["PodDisruptionBudget", "ops-cloudrun-identity"]["spec"]
    assert budget == {"maxUnavailable": 1, "selector": deployment(chart)["selector"]}


def test_pod_monitor_is_optional(chart: Chart) -> None:
    assert ("PodMonitor", "ops-cloudrun-identity") not in manifests(chart)
    labels = {"release": "prometheus"}
    monitor = manifests(chart, podMonitor={"enabled": True, "labels": labels})[
        "PodMonitor", "ops-cloudrun-identity"
    ]
    assert monitor["metadata"]["labels"].items() >= labels.items()
    assert monitor["spec"]["selector"] == deployment(chart)["selector"]
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint == {"port": container(chart)["ports"][0]["name"], "path": "/metrics"}


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
    name = "ops-cloudrun-identity-secrets"
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


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({}, "image.repository"),
        (IMAGE | {"replica": 2}, "replica"),
        (IMAGE | {"http": {"port": 80}}, "port"),
        (IMAGE | {"keys": {"enabled": True}}, "keys.namespaces must list"),
        (IMAGE | {"keys": {"enabled": True, "namespaces": ["Flows"]}}, "namespaces"),
        (IMAGE | {"admissionPolicy": {"validationActions": ["Refuse"]}}, "validationActions"),
        (IMAGE | {"leaseDuration": "15 seconds"}, "leaseDuration"),
        (IMAGE | {"serviceAccount": {"annotations": {"a": 1}}}, "annotations"),
    ],
)
def test_invalid_value_is_refused_by_name(chart: Chart, values: Manifest, named: str) -> None:
    with pytest.raises(HelmError, match=named):
        chart.render(values, name="ops", namespace="identities")


def test_notes_mention_a_missing_google_account(chart: Chart) -> None:
    def notes(**values: Any) -> str:
        return chart.render(IMAGE | values, name="ops", namespace="identities")[
            f"{CHART.name}/templates/NOTES.txt"
        ]

    assert "gcp-service-account" in notes()
    assert "gcp-service-account" not in notes(serviceAccount={"annotations": {"eks": "no"}})
