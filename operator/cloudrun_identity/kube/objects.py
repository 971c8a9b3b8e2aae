"""Raw objects of our own kinds: which resource they belong to, and how they stand on the server now."""

from functools import cache

from cloudrun_identity.api import KINDS
from cloudrun_identity.api.group import GROUP, VERSION
from cloudrun_identity.api.resource import Scope

from .errors import KubeError
from .resources import Object, Resource, Verbs


@cache
def resource(kind: str) -> Resource:
    """Find the resource of one of our kinds by its name (`IAMBinding`); KeyError for any other."""
    model = KINDS[kind]
    return Resource(GROUP, VERSION, model.plural, namespaced=model.scope is Scope.NAMESPACED)


def resource_of(obj: Object) -> Resource:
    """Find the resource that a raw object of ours belongs to."""
    return resource(obj["kind"])


async def newest_of(client: Verbs, obj: Object) -> Object | None:
    """Read the object anew; None when it is gone, also when another one took its name."""
    metadata = obj["metadata"]
    try:
        newest = await client.get(resource_of(obj), metadata["name"], metadata.get("namespace", ""))
    except KubeError as error:
        if error.is_not_found:
            return None
        raise
    return newest if newest["metadata"]["uid"] == metadata["uid"] else None
