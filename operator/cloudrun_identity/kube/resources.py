"""Which objects a request speaks about, and the verbs that the API server understands."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, TypeAlias
from urllib.parse import quote

Object: TypeAlias = dict[str, Any]
"""An object as the API server sends it: decoded JSON, attributes in camelCase."""

Objects: TypeAlias = list[Object]


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of objects, as the paths of the API name it; `group` is empty for the core group."""

    group: str
    version: str
    plural: str
    namespaced: bool

    @property
    def api_version(self) -> str:
        """The `apiVersion` that its objects carry."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Build the URL path of one object, or without `name` that of the collection.

        Without `namespace` the collection of a namespaced resource is that of all namespaces.
        """
        root = f"/apis/{self.group}" if self.group else "/api"
        parts = ["namespaces", namespace] if self.namespaced and namespace else []
        parts += [part for part in (self.plural, name, subresource) if part]
        return f"{root}/{self.version}/" + "/".join(quote(part, safe="") for part in parts)


NAMESPACES = Resource("", "v1", "namespaces", namespaced=False)
EVENTS = Resource("", "v1", "events", namespaced=True)
SECRETS = Resource("", "v1", "secrets", namespaced=True)
LEASES = Resource("coordination.k8s.io", "v1", "leases", namespaced=True)
CUSTOM_RESOURCE_DEFINITIONS = Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", namespaced=False
)


class PatchType(StrEnum):
    """The patch formats, each the content type that announces it."""

    MERGE = "application/merge-patch+json"
    JSON = "application/json-patch+json"
    APPLY = "application/apply-patch+yaml"


class Verbs(Protocol):
    """The API server as a port: `client.KubeClient` in the process, a fake in tests.

    Every method raises `errors.KubeError`, and nothing else, when the request does not succeed.
    `namespace` is empty for cluster-scoped resources.
    """

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
        """Read one object."""
        ...

    async def list(self, resource: Resource, namespace: str = "", *, label_selector: str = "") -> Objects:
        """Read all objects of one namespace, or of all when it is empty."""
        ...

    async def create(self, resource: Resource, obj: Object) -> Object:
        """Create the object where its metadata says; the reply is what was stored."""
        ...

    async def replace(self, resource: Resource, obj: Object, *, subresource: str = "") -> Object:
        """Put the object in the place of the stored one; its resourceVersion, if any, must be current."""
        ...

    async def patch(
        self,
        resource: Resource,
        name: str,
        namespace: str,
        patch: Object | Objects,
        patch_type: PatchType = PatchType.MERGE,
        *,
        subresource: str = "",
    ) -> Object:
        """Change a part of the object; the reply is what was stored."""
        ...

    async def delete(
        self, resource: Resource, name: str, namespace: str = "", *, uid: str = "", resource_version: str = ""
    ) -> None:
        """Delete the object, on condition of its uid and resourceVersion where they are given."""
        ...
