"""Values of the Helm chart: their documentation, their schema, and what each of them does."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from helm_python.chart import Chart
from helm_python.errors import HelmError

from tests.chart import CHART, IMAGE, RELEASED, Manifest, container, deployment, manifests
from tools.chart_docs import readme, schema

VALUES = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))


@pytest.fixture
def chart() -> Iterator[Chart]:
    with Chart.load(CHART) as chart:
        yield chart


def resolved(schema: Manifest) -> Manifest:
    """Return a schema, or the definition that it names."""
    name = schema.get("$ref", "").removeprefix("#/definitions/")
    found: Manifest = SCHEMA["definitions"][name] if name else schema
    return found


def differences(values: Manifest, schema: Manifest, path: str = "") -> Iterator[str]:
    """Yield the values that the schema does not list and require, and those that have no default."""
    listed = {name: each for name, each in schema["properties"].items() if (path, name) != ("", "global")}
    yield from (f"{path}{name} has no default" for name in listed.keys() - values.keys())
    yield from (f"{path}{name} is not required" for name in listed.keys() - set(schema["required"]))
    for name, value in values.items():
        if name not in listed:
            yield f"{path}{name} is not in the schema"
        elif "required" in (inner := resolved(listed[name])) and isinstance(value, dict):
            yield from differences(value, inner, f"{path}{name}.")


def test_schema_lists_and_requires_every_value() -> None:
    assert list(differences(VALUES, SCHEMA)) == []


def test_readme_and_schema_describe_every_value() -> None:
    assert (CHART / "README.md").read_text(encoding="utf-8") == readme(CHART), "run `make generate`"
    assert (CHART / "values.schema.json").read_text(encoding="utf-8") == schema(CHART), "run `make generate`"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({}, "image.repository must be set"),
        (IMAGE | {"replica": 2}, "'replica' not allowed"),
        (IMAGE | {"http": {"port": 80}}, "/http/port.*minimum"),
        (IMAGE | {"keys": {"enabled": True}}, "keys.namespaces must list"),
        (IMAGE | {"keys": {"enabled": True, "namespaces": ["Flows"]}}, "/keys/namespaces"),
        (
            IMAGE | {"admissionPolicy": {"validationActions": ["Refuse"]}},
            "/validationActions",
        ),
        (IMAGE | {"leaseDuration": "15 seconds"}, "/leaseDuration"),
        (IMAGE | {"leaseDuration": "0s"}, "/leaseDuration.*does not match pattern"),
        (IMAGE | {"leaseDuration": "500ms"}, "/leaseDuration.*does not match pattern"),
        (IMAGE | {"leaseDuration": ""}, "/leaseDuration"),
        (IMAGE | {"leaseDuration": 15}, "/leaseDuration.*want string"),
        (IMAGE | {"leaseDuration": None}, "missing property 'leaseDuration'"),
        (IMAGE | {"http": None}, "missing property 'http'"),
        (IMAGE | {"http": {"port": None}}, "/http.*missing property 'port'"),
        (IMAGE | {"extraArgs": None}, "missing property 'extraArgs'"),
        (IMAGE | {"fullnameOverride": "Big_Name"}, "/fullnameOverride.*does not match pattern"),
        (IMAGE | {"fullnameOverride": "a" * 64}, "/fullnameOverride.*maxLength"),
        (IMAGE | {"nameOverride": "-x"}, "/nameOverride.*does not match pattern"),
        (IMAGE | {"namespaceOverride": "a.b"}, "/namespaceOverride.*does not match pattern"),
        (IMAGE | {"commonLabels": {"helm.sh/chart": "x"}}, "invalid propertyName .helm.sh/chart"),
        (IMAGE | {"podLabels": {"team": "a b"}}, "/podLabels/team"),
        (IMAGE | {"logLevel": "verbose"}, "/logLevel"),
        (IMAGE | {"terminationGracePeriodSeconds": 5}, "/terminationGracePeriodSeconds.*minimum"),
        (IMAGE | {"serviceAccount": {"annotations": {"a": 1}}}, "/serviceAccount/annotations"),
        (IMAGE | {"serviceAccount": {"create": False}}, "serviceAccount.name must name an existing"),
        (IMAGE | {"volumes": [{"emptyDir": {}}]}, "/volumes/0.*missing property 'name'"),
    ],
)
def test_invalid_value_is_refused_with_a_reason(chart: Chart, values: Manifest, reason: str) -> None:
    with pytest.raises(HelmError, match=re.compile(reason, re.DOTALL)):
        chart.render(values, name="ops", namespace="identities")


def test_credentials_file_is_mounted_for_the_operator_and_the_check(chart: Chart) -> None:
    values: dict[str, Any] = {
        "volumes": [{"name": "google", "secret": {"secretName": "google"}}],
        "volumeMounts": [{"name": "google", "mountPath": "/etc/google", "readOnly": True}],
        "extraEnv": [{"name": "GOOGLE_APPLICATION_CREDENTIALS", "value": "/etc/google/key.json"}],
    }
    rendered = manifests(chart, **values)
    for pod in (
        rendered["Deployment", RELEASED]["spec"]["template"]["spec"],
        rendered["Pod", f"{RELEASED}-check"]["spec"],
    ):
        [running] = pod["containers"]
        assert pod["volumes"] == values["volumes"]
        assert running["volumeMounts"] == values["volumeMounts"]
        assert values["extraEnv"][0] in running["env"]


def test_settings_of_the_pod_are_passed_on(chart: Chart) -> None:
    settings: dict[str, Any] = {
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "system-cluster-critical",
        "dnsPolicy": "None",
        "dnsConfig": {"nameservers": ["192.0.2.1"]},
        "hostAliases": [{"ip": "192.0.2.2", "hostnames": ["proxy"]}],
        "terminationGracePeriodSeconds": 60,
    }
    spec = deployment(chart, **settings)["template"]["spec"]
    assert spec.items() >= settings.items()
    assert spec["nodeSelector"] == {"kubernetes.io/os": "linux"}
    assert spec["enableServiceLinks"] is False


def test_security_contexts_can_be_changed_and_parts_removed(chart: Chart) -> None:
    openshift: dict[str, Any] = {"runAsUser": None, "runAsGroup": None}
    spec = deployment(chart, podSecurityContext=openshift)["template"]["spec"]
    assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    changed = container(chart, containerSecurityContext={"privileged": False})
    assert changed["securityContext"]["privileged"] is False
    assert changed["securityContext"]["readOnlyRootFilesystem"] is True


def test_probes_can_be_slower(chart: Chart) -> None:
    probes = {"livenessProbe": {"failureThreshold": 9}, "readinessProbe": {"timeoutSeconds": 5}}
    running = container(chart, **probes)
    assert running["livenessProbe"] == {
        "httpGet": {"path": "/healthz", "port": "http"},
        "periodSeconds": 10,
        "failureThreshold": 9,
    }
    assert running["readinessProbe"]["timeoutSeconds"] == 5


def test_spread_constraints_apply_to_the_replicas_of_the_release(chart: Chart) -> None:
    zones = {
        "maxSkew": 1,
        "topologyKey": "topology.kubernetes.io/zone",
        "whenUnsatisfiable": "ScheduleAnyway",
    }
    own = {**zones, "labelSelector": {"matchLabels": {"a": "b"}}}
    spec = deployment(chart, topologySpreadConstraints=[zones, own])
    selector = {"matchLabels": spec["selector"]["matchLabels"]}
    assert spec["template"]["spec"]["topologySpreadConstraints"] == [
        {**zones, "labelSelector": selector},
        own,
    ]


def test_deployment_has_its_strategy_history_and_annotations(chart: Chart) -> None:
    strategy = {"type": "Recreate"}
    rendered = manifests(
        chart, strategy=strategy, revisionHistoryLimit=2, deploymentAnnotations={"owner": "platform"}
    )["Deployment", RELEASED]
    assert rendered["metadata"]["annotations"] == {"owner": "platform"}
    assert rendered["spec"]["strategy"] == strategy
    assert rendered["spec"]["revisionHistoryLimit"] == 2


def test_common_labels_are_on_every_object_and_in_no_selector(chart: Chart) -> None:
    everything = {
        "commonLabels": {"team": "platform"},
        "replicas": 2,
        "keys": {"enabled": True, "namespaces": ["flows"]},
        "admissionPolicy": {"enabled": True},
        "serviceMonitor": {"enabled": True, "labels": {"team": "observability"}},
        "prometheusRule": {"enabled": True},
        "dashboard": {"enabled": True},
        "networkPolicy": {"enabled": True},
        "podLabels": {"team": "operator"},
    }
    rendered = manifests(chart, **everything)
    labels = {
        (kind, name): manifest["metadata"]["labels"]["team"] for (kind, name), manifest in rendered.items()
    }
    own = {("ServiceMonitor", RELEASED): "observability", ("Pod", f"{RELEASED}-check"): "operator"}
    assert labels == {**dict.fromkeys(labels, "platform"), **own}
    spec = rendered["Deployment", RELEASED]["spec"]
    assert "team" not in spec["selector"]["matchLabels"]
    assert spec["template"]["metadata"]["labels"]["team"] == "operator"


def test_namespace_override_moves_every_namespaced_object(chart: Chart) -> None:
    values = {"keys": {"enabled": True, "namespaces": ["*"]}, "networkPolicy": {"enabled": True}}
    rendered = manifests(chart, namespaceOverride="elsewhere", serviceMonitor={"enabled": True}, **values)
    namespaces = {manifest["metadata"].get("namespace") for manifest in rendered.values()}
    assert namespaces == {None, "elsewhere"}
    assert "--operator-namespace=elsewhere" in container(chart, namespaceOverride="elsewhere")["args"]
    [subject] = rendered["ClusterRoleBinding", "cloudrun-identity"]["subjects"]
    assert subject["namespace"] == "elsewhere"
    policy = rendered["ValidatingAdmissionPolicy", "cloudrun-identity-secrets"]["spec"]
    assert "system:serviceaccount:elsewhere:" in policy["matchConditions"][0]["expression"]


def test_existing_service_account_can_be_used(chart: Chart) -> None:
    rendered = manifests(chart, serviceAccount={"create": False, "name": "mine"})
    assert not [name for kind, name in rendered if kind == "ServiceAccount"]
    spec = rendered["Deployment", RELEASED]["spec"]["template"]["spec"]
    assert spec["serviceAccountName"] == "mine"
    [subject] = rendered["RoleBinding", RELEASED]["subjects"]
    assert subject["name"] == "mine"


def test_tokens_are_mounted_unless_the_values_say_no(chart: Chart) -> None:
    account = {"automountServiceAccountToken": False}
    rendered = manifests(chart, serviceAccount=account)
    assert rendered["ServiceAccount", RELEASED]["automountServiceAccountToken"] is False
    assert (
        rendered["Deployment", RELEASED]["spec"]["template"]["spec"]["automountServiceAccountToken"] is True
    )


def test_roles_can_be_left_out(chart: Chart) -> None:
    kinds = {kind for kind, _ in manifests(chart, rbac={"create": False}, aggregateRoles=False)}
    assert not {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"} & kinds


def test_extra_objects_are_manifests_or_templates(chart: Chart) -> None:
    manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "{{ .Release.Name }}-a", "namespace": "identities"},
    }
    template = """
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "cloudrun-identity.fullname" . }}-b
  labels: {{- include "cloudrun-identity.labels" . | nindent 4 }}
"""
    rendered = manifests(chart, extraObjects=[manifest, template])
    assert ("ConfigMap", "ops-a") in rendered
    assert ("ConfigMap", f"{RELEASED}-b") in rendered


def test_network_policy_admits_the_probes_and_the_apis_only(chart: Chart) -> None:
    assert ("NetworkPolicy", RELEASED) not in manifests(chart)
    prometheus = [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}]
    values = {"enabled": True, "from": prometheus, "ports": [443], "egress": [{"ports": [{"port": 3128}]}]}
    spec = manifests(chart, networkPolicy=values)["NetworkPolicy", RELEASED]["spec"]
    assert spec["podSelector"] == {
        "matchLabels": {"app.kubernetes.io/instance": "ops"},
        "matchExpressions": [
            {
                "key": "app.kubernetes.io/name",
                "operator": "In",
                "values": ["cloudrun-identity", "cloudrun-identity-check"],
            }
        ],
    }
    assert spec["ingress"] == [{"ports": [{"port": "http"}], "from": prometheus}]
    ports = {port["port"] for rule in spec["egress"] for port in rule["ports"]}
    assert ports == {53, 443, 80, 988, 3128}
