"""Every manifest that the documentation shows is one that the API server takes."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config

from cloudrun_identity.api import GROUP, KINDS, VERSION, Scope
from tests.servers.kube_apis import EMBEDDED, install_crds, started

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.DOTALL | re.MULTILINE)


def manifests() -> Iterator[Any]:
    """Every object of a kind of ours in a block of YAML, by its page and place on it."""
    for page in sorted(DOCS.glob("*.md")):
        for number, block in enumerate(BLOCK.findall(page.read_text(encoding="utf-8")), 1):
            for obj in yaml.safe_load_all(block):
                if isinstance(obj, dict) and obj.get("kind") in KINDS:
                    name = f"{page.name}-{number}-{obj['kind']}-{obj['metadata']['name']}"
                    yield pytest.param(obj, id=name)


MANIFESTS = list(manifests())


def namespace_of(obj: Any) -> str:
    return str(obj["metadata"].get("namespace", "default"))


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The objects of a server that serves our kinds, and all namespaces that the documentation names."""
    with started(EMBEDDED, tmp_path_factory.mktemp("docs")) as kube_api:
        install_crds(kube_api)
        api = config.new_client_from_config(str(kube_api.kubeconfig))  # type: ignore[no-untyped-call]
        core = client.CoreV1Api(api)
        for namespace in {namespace_of(each.values[0]) for each in MANIFESTS} - {"default"}:
            core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=namespace)))
        yield client.CustomObjectsApi(api)
        api.close()


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_the_api_server_takes_what_the_documentation_shows(objects: Any, manifest: dict[str, Any]) -> None:
    """As a dry run, with unknown fields refused, which kubectl only warns of."""
    kind = KINDS[manifest["kind"]]
    manifest = {"apiVersion": f"{GROUP}/{VERSION}", **manifest}
    strictly = {"dry_run": "All", "field_validation": "Strict"}
    if kind.scope is Scope.CLUSTER:
        taken = objects.create_cluster_custom_object(GROUP, VERSION, kind.plural, manifest, **strictly)
    else:
        taken = objects.create_namespaced_custom_object(
            GROUP, VERSION, namespace_of(manifest), kind.plural, manifest, **strictly
        )
    assert taken["spec"].keys() >= manifest["spec"].keys()
