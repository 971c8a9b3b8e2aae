"""RBAC of the chart, for a server with RBAC."""

from pathlib import Path

import yaml
from helm_python.chart import Chart
from kubernetes import client, config, utils

CHART = Path(__file__).parents[2] / "charts" / "cloudrun-identity"
RELEASE = "cloudrun-identity"
VALUES = {"image": {"repository": "registry.example/cloudrun-identity"}, "keys": {"enabled": True}}


def grant_chart_roles(kubeconfig: Path, namespace: str) -> None:
    """Create the release's namespace, and the objects of `rbac.yaml`."""
    with Chart.load(CHART) as chart:
        rendered = chart.render(VALUES, name=RELEASE, namespace=namespace)
    [rbac] = [text for path, text in rendered.items() if path.endswith("/rbac.yaml")]
    api = config.new_client_from_config(str(kubeconfig))
    try:
        client.CoreV1Api(api).create_namespace({"metadata": {"name": namespace}})
        for manifest in yaml.safe_load_all(rbac):
            utils.create_from_dict(api, manifest)
    finally:
        api.close()
