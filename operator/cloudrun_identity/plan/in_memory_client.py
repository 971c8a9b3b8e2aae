"""A Kubernetes API in memory, without validation, for the duration of a command."""

import itertools
from collections.abc import Callable
from http import HTTPStatus

from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.kube.objects import apply_merge_patch, resource_of
from cloudrun_identity.kube.resources import (
    NAMESPACES,
    SECRETS,
    Listing,
    Object,
    ObjectClient,
    Objects,
    PatchType,
    Resource,
    as_sent,
)

_Place = tuple[str, str, str]


class InMemoryClient:
    """An `ObjectClient` of `kube.resources` for a single writer, which never meets a conflict."""

    def __init__(self, secrets: ObjectClient | None = None) -> None:
        """Secrets are read from the API of `secrets`, if it is given: a command does not list them."""
        self._secrets = secrets
        self._stored: dict[_Place, Object] = {}
        self._numbers = itertools.count(1)

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
        """Read one object."""
        if self._secrets is not None and resource == SECRETS:
            return await self._secrets.get(resource, name, namespace)
        try:
            return self._stored[resource.plural, namespace, name]
        except KeyError:
            raise KubeError(
                HTTPStatus.NOT_FOUND, "NotFound", f"there is no {resource.plural} {name}"
            ) from None

    async def list(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        form: Callable[[Object], Object] = as_sent,
    ) -> Objects:
        """Read all objects of one namespace, or of all when it is empty."""
        return [
            form(obj)
            for (plural, home, _), obj in self._stored.items()
            if plural == resource.plural and namespace in ("", home)
        ]

    async def list_all(
        self, resource: Resource, *, form: Callable[[Object], Object] = as_sent
    ) -> Listing[Object]:
        """Read all objects of all namespaces. The version is empty: nothing is watched."""
        return Listing(await self.list(resource, form=form), "")

    async def create(self, resource: Resource, obj: Object) -> Object:
        """Store the object, with a uid of its own."""
        number = next(self._numbers)
        metadata = {**obj["metadata"], "uid": f"{number:08}", "generation": 1}
        return self._store(resource, {**obj, "metadata": metadata})

    def put(self, obj: Object) -> Object:
        """Store a copy of an object of a cluster, with its uid. Return it with its resourceVersion."""
        return self._store(NAMESPACES if obj["kind"] == "Namespace" else resource_of(obj), obj)

    async def replace(self, resource: Resource, obj: Object, *, subresource: str = "") -> Object:
        """Put the object in the place of the stored one."""
        generation = obj["metadata"].get("generation", 0) + (not subresource)
        return self._store(resource, {**obj, "metadata": {**obj["metadata"], "generation": generation}})

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
        """Merge a change into the object; raises TypeError for patches of another type."""
        if patch_type is not PatchType.MERGE or isinstance(patch, list):
            raise TypeError(f"{patch_type} is not for scratch objects")
        stored = await self.get(resource, name, namespace)
        return self._store(resource, apply_merge_patch(stored, patch))

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        resource_version: str = "",
    ) -> None:
        """Forget the object."""
        self._stored.pop((resource.plural, namespace, name), None)

    def _store(self, resource: Resource, obj: Object) -> Object:
        metadata = {**obj["metadata"], "resourceVersion": str(next(self._numbers))}
        stored = {**obj, "metadata": metadata}
        self._stored[resource.plural, metadata.get("namespace", ""), metadata["name"]] = stored
        return stored
