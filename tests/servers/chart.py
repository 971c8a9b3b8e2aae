"""Manifests of the chart, such as its RBAC for a server with RBAC."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from helm_python.chart import Chart
from kubernetes import client, config, utils

CHART = Path(__file__).parents[2] / "charts" / "cloudrun-identity"
RELEASE = "cloudrun-identity"
IMAGE = {"repository": "registry.example/cloudrun-identity"}
EVERY_NAMESPACE = ("*",)


def rendered_template(template: str, namespace: str, **values: Any) -> list[dict[str, Any]]:
    """Return the manifests of one template of the chart."""
    with Chart.load(CHART) as chart:
        rendered = chart.render({"image": IMAGE, **values}, name=RELEASE, namespace=namespace)
    [text] = [text for path, text in rendered.items() if path.endswith(f"/{template}")]
    return [manifest for manifest in yaml.safe_load_all(text) if manifest]


def grant_chart_roles(
    kubeconfig: Path, namespace: str, key_namespaces: Sequence[str] = EVERY_NAMESPACE
) -> None:
    """Create the release's namespace, and the objects that permit and limit what the operator does.

    The operator may use the Secrets of `key_namespaces`, which exist already.
    """
    keys = {"enabled": True, "namespaces": list(key_namespaces)}
    api = config.new_client_from_config(str(kubeconfig))
    try:
        client.CoreV1Api(api).create_namespace({"metadata": {"name": namespace}})
        for template in ("rbac.yaml", "secretpolicy.yaml"):
            for manifest in rendered_template(template, namespace, keys=keys):
                utils.create_from_dict(api, manifest)
    finally:
        api.close()
