"""Routing of a path and a method to a resource, an object and a verb."""

from dataclasses import dataclass

from aiohttp import web

from .errors import method_not_allowed, path_not_found
from .resources import Catalog, Resource
from .store import ObjectKey

TRUE = frozenset({"1", "t", "true", "True", "TRUE"})
"""True values of query parameters."""


@dataclass(frozen=True)
class Target:
    """Target of a path: a collection, an object in it, or a subresource."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def key(self) -> ObjectKey:
        """Key of the object."""
        return self.namespace, self.name

    @property
    def resource_name(self) -> str:
        """Plural, with the subresource if there is one, as in roles: `widgets/status`."""
        return f"{self.resource.plural}/{self.subresource}" if self.subresource else self.resource.plural


def target_of(catalog: Catalog, parts: list[str]) -> Target:
    """Return the target of a path of objects, split at its slashes.

    Raises:
        ApiError: 404, the resource is not served.

    """
    root, *rest = parts
    group = rest.pop(0) if root == "apis" else ""
    version, *rest = rest
    namespace = ""
    names_namespace = rest[0] == "namespaces" and len(rest) >= 3
    if names_namespace and not (group == "" and rest[2] == "status"):
        _, namespace, *rest = rest
    resource = catalog.find(group, version, rest[0])
    if resource is None or len(rest) > 3 or (namespace and not resource.namespaced):
        raise path_not_found()
    name, subresource = [*rest[1:], "", ""][:2]
    if subresource and subresource not in resource.subresources:
        raise path_not_found()
    if name and resource.namespaced and not namespace:
        raise path_not_found()
    return Target(resource, namespace, name, subresource)


def verb_of(request: web.Request, target: Target) -> str:
    """Return the verb of a method on the target, as in discovery.

    Raises:
        ApiError: 405, the target does not support it.

    """
    watched = request.query.get("watch") in TRUE
    on_object = {"GET": "watch" if watched else "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
    on_collection = {"GET": "watch" if watched else "list", "POST": "create", "DELETE": "deletecollection"}
    verb = (on_object if target.name else on_collection).get(request.method)
    writes_everywhere = (
        target.resource.namespaced and not target.namespace and verb in ("create", "deletecollection")
    )
    if verb not in target.resource.verbs or writes_everywhere or (target.subresource and verb == "delete"):
        raise method_not_allowed("the server does not allow this method on the requested resource")
    return verb
