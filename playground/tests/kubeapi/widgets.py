"""The kind of `widgets.yaml`, in one namespace."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playground.tests.kubeapi.http import Answer, Api, Object

DEFINITION = Path(__file__).parent / "widgets.yaml"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
API_VERSION = "contract.test/v1"
_NUMBERS = itertools.count(1)


def widget(name: str = "a", *, metadata: Object | None = None, **spec: Any) -> Object:
    """Return a widget, by default with the size 1."""
    return {
        "apiVersion": API_VERSION,
        "kind": "Widget",
        "metadata": {"name": name, **(metadata or {})},
        "spec": {"size": 1, **spec},
    }


def definition(spec: Object | None = None, version: Object | None = None, **schema: Any) -> Object:
    """Return a definition of a kind with a unique name."""
    plural = f"oddities{next(_NUMBERS)}"
    sized = {"type": "object", "properties": {"size": {"type": "integer"}, "net": {"type": "string"}}}
    served = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": sized | schema}}},
        **(version or {}),
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.contract.test"},
        "spec": {
            "group": "contract.test",
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": plural.capitalize()},
            "versions": [served],
            **(spec or {}),
        },
    }


@dataclass(frozen=True)
class Widgets:
    """The widgets of one namespace."""

    api: Api
    namespace: str

    @property
    def path(self) -> str:
        return f"/apis/{API_VERSION}/namespaces/{self.namespace}/widgets"

    def at(self, name: str, subresource: str = "") -> str:
        return f"{self.path}/{name}{subresource}"

    async def create(self, name: str = "a", *, metadata: Object | None = None, **spec: Any) -> Object:
        """Create a widget and return the stored object."""
        created = await self.api.post(self.path, widget(name, metadata=metadata, **spec))
        assert created.code == 201, created.body
        stored: Object = created.body
        return stored

    async def read(self, name: str = "a") -> Object:
        answer = await self.api.get(self.at(name))
        assert answer.code == 200, answer.body
        stored: Object = answer.body
        return stored

    async def try_create(self, name: str = "a", **spec: Any) -> Answer:
        """Create a widget with a dry run."""
        return await self.api.post(self.path, widget(name, **spec), dryRun="All")

    async def names(self, **query: str) -> list[str]:
        answer = await self.api.get(self.path, **query)
        assert answer.code == 200, answer.body
        return [item["metadata"]["name"] for item in answer.body["items"]]
