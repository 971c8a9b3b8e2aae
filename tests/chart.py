"""Render the Helm chart with Helm itself, as release `ops` in namespace `identities`."""

from pathlib import Path
from typing import Any

import yaml
from helm_python.chart import Chart

CHART = Path(__file__).parents[1] / "charts" / "cloudrun-identity"
IMAGE = {"image": {"repository": "registry.example/cloudrun-identity"}}
RELEASED = "ops-cloudrun-identity"
"""Name of the namespaced objects of release `ops`."""
CLUSTER_NAMES = {"ClusterRole": "cloudrun-identity", "ClusterRoleBinding": "cloudrun-identity"}
"""Names of cluster-scoped objects, which do not depend on the release."""
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The C loader, if available, is ten times as fast, and each rendering contains all CRDs."""

Manifest = dict[str, Any]


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
    found: Manifest = manifests(chart, **values)["Deployment", RELEASED]["spec"]
    return found


def container(chart: Chart, **values: Any) -> Manifest:
    (found,) = deployment(chart, **values)["template"]["spec"]["containers"]
    return dict(found)


def rules(chart: Chart, kind: str, **values: Any) -> set[tuple[str, str]]:
    """Return every (resource, verb) that the role of this kind permits."""
    return permitted(manifests(chart, **values)[kind, CLUSTER_NAMES.get(kind, RELEASED)])


def permitted(role: Manifest) -> set[tuple[str, str]]:
    """Return every (resource, verb) that a role permits."""
    return {
        (f"{resource}.{group}".removesuffix("."), verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
