"""Resources as URL paths, and the client interface `ObjectClient`."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeAlias, TypeVar
from urllib.parse import quote

Object: TypeAlias = dict[str, Any]
"""An object as the API server sends it: decoded JSON with camelCase attributes."""

Objects: TypeAlias = list[Object]

Form = TypeVar("Form")


def as_sent(obj: Object) -> Object:
    """Return the object as the API server sent it."""
    return obj


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of object, as URL paths of the API name it."""

    group: str
    """API group; empty for the core group."""

    version: str
    """API version, such as `v1`."""

    plural: str
    """Plural name in lower case, such as `secrets`."""

    namespaced: bool
    """True if the objects belong to namespaces."""

    @property
    def api_version(self) -> str:
        """Value of `apiVersion` in its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Return the URL path of an object, or of the collection if `name` is empty.

        An empty `namespace` selects the collection of all namespaces.
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
    """Patch formats. Each value is the content type of the format."""

    MERGE = "application/merge-patch+json"
    JSON = "application/json-patch+json"
    APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class Listing(Generic[Form]):
    """The result of one list: all objects at one time."""

    items: list[Form]
    """The objects in the requested form."""
    version: str
    """The resourceVersion of the list. A watch that begins after it misses nothing."""


class ObjectClient(Protocol):
    """Interface of a Kubernetes API client. `client.KubeClient` talks to a server; tests use a fake.

    Every method raises `errors.KubeError`, and nothing else, if the request does not succeed. `namespace` is
    empty for cluster-scoped resources.
    """

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
        """Read one object."""
        ...

    async def list(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        form: Callable[[Object], Object] = as_sent,
    ) -> Objects:
        """Read all objects of a namespace, or of all namespaces if it is empty, each in the given form.

        The form is applied page by page: a compact one bounds the memory of a large list.
        """
        ...

    async def list_all(
        self, resource: Resource, *, form: Callable[[Object], Object] = as_sent
    ) -> Listing[Object]:
        """Read all objects of all namespaces, as `list` does, with the version after which to watch them."""
        ...

    async def create(self, resource: Resource, obj: Object) -> Object:
        """Create the object in the namespace of its metadata. Return the stored object."""
        ...

    async def replace(self, resource: Resource, obj: Object, *, subresource: str = "") -> Object:
        """Replace the stored object. A resourceVersion in the object must be the current one."""
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
        """Change part of the object. Return the stored object."""
        ...

    async def delete(
        self, resource: Resource, name: str, namespace: str = "", *, uid: str = "", resource_version: str = ""
    ) -> None:
        """Delete the object if it still has the given uid and resourceVersion. Empty values match any."""
        ...
