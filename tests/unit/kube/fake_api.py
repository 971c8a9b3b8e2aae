"""Kubernetes API in memory, with the rules of the API server for resourceVersion, uid and deletion."""

import copy
import json
import uuid
from collections.abc import Callable

from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.kube.objects import apply_merge_patch
from cloudrun_identity.kube.resources import Listing, Object, Objects, PatchType, Resource, as_sent

Interference = Callable[[], None]


class FakeApi:
    """Implements `resources.ObjectClient`."""

    objects: dict[tuple[str, str, str], Object]
    """Stored objects by plural, namespace and name."""

    requests: list[tuple[str, str]]
    """Method and object name of each request, in order."""

    interferences: list[Interference]
    """Edits of other clients. One of them happens right before each write."""

    outage: KubeError | None
    """Error that every request raises while it is set."""

    prune: Callable[[Object], None]
    """Called with each object before it is stored."""

    def __init__(self) -> None:
        self.objects = {}
        self.requests = []
        self.interferences = []
        self.outage = None
        self.prune = lambda obj: None
        self._version = 0

    @property
    def writes(self) -> list[str]:
        """Methods of the requests that write."""
        return [verb for verb, _ in self.requests if verb not in ("get", "list")]

    def put(self, resource: Resource, obj: Object) -> Object:
        """Store the object as another client, without any check."""
        metadata = obj["metadata"]
        stored = copy.deepcopy(obj)
        stored["metadata"].setdefault("uid", str(uuid.uuid4()))
        self._version += 1
        stored["metadata"]["resourceVersion"] = str(self._version)
        self.objects[_key(resource, metadata["name"], metadata.get("namespace", ""))] = stored
        return copy.deepcopy(stored)

    def drop(self, resource: Resource, name: str, namespace: str = "") -> None:
        """Delete the object as another client."""
        del self.objects[_key(resource, name, namespace)]

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
        self._receive("get", name)
        return copy.deepcopy(self._stored(resource, name, namespace))

    async def list(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        form: Callable[[Object], Object] = as_sent,
    ) -> Objects:
        self._receive("list", "")
        return [
            form(copy.deepcopy(obj))
            for (plural, its_namespace, _), obj in self.objects.items()
            if plural == resource.plural and namespace in ("", its_namespace)
        ]

    async def list_all(
        self, resource: Resource, *, form: Callable[[Object], Object] = as_sent
    ) -> Listing[Object]:
        return Listing(await self.list(resource, form=form), str(self._version))

    async def create(self, resource: Resource, obj: Object) -> Object:
        name, namespace = obj["metadata"]["name"], obj["metadata"].get("namespace", "")
        self._receive("create", name)
        if _key(resource, name, namespace) in self.objects:
            raise KubeError(409, "AlreadyExists", f"{name} already exists")
        return self._store(resource, obj)

    async def replace(self, resource: Resource, obj: Object, *, subresource: str = "") -> Object:
        metadata = obj["metadata"]
        self._receive("replace", metadata["name"])
        stored = self._stored(resource, metadata["name"], metadata.get("namespace", ""))
        _check(stored, metadata.get("uid", ""), metadata.get("resourceVersion", ""))
        return self._store(resource, obj | {"metadata": metadata | {"uid": stored["metadata"]["uid"]}})

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
        assert patch_type is PatchType.MERGE
        assert isinstance(patch, dict)
        self._receive("patch", name)
        stored = self._stored(resource, name, namespace)
        _check(stored, "", patch.get("metadata", {}).get("resourceVersion", ""))
        patched = apply_merge_patch(copy.deepcopy(stored), patch)
        _reject_new_finalizers(stored, patched)
        return self._store(resource, patched)

    async def delete(
        self, resource: Resource, name: str, namespace: str = "", *, uid: str = "", resource_version: str = ""
    ) -> None:
        self._receive("delete", name)
        _check(self._stored(resource, name, namespace), uid, resource_version)
        self.drop(resource, name, namespace)

    def _receive(self, verb: str, name: str) -> None:
        self.requests.append((verb, name))
        if self.outage is not None:
            raise self.outage
        if verb not in ("get", "list") and self.interferences:
            self.interferences.pop(0)()

    def _stored(self, resource: Resource, name: str, namespace: str) -> Object:
        try:
            return self.objects[_key(resource, name, namespace)]
        except KeyError:
            raise KubeError(404, "NotFound", f"{resource.plural} {name} not found") from None

    def _store(self, resource: Resource, obj: Object) -> Object:
        stored = json.loads(json.dumps(obj))
        self.prune(stored)
        return self.put(resource, stored)


def _key(resource: Resource, name: str, namespace: str) -> tuple[str, str, str]:
    return resource.plural, namespace, name


def _check(stored: Object, uid: str, resource_version: str) -> None:
    metadata = stored["metadata"]
    if uid not in ("", metadata["uid"]) or resource_version not in ("", metadata["resourceVersion"]):
        raise KubeError(409, "Conflict", "the object has been modified")


def _reject_new_finalizers(old: Object, new: Object) -> None:
    before, after = (set(obj["metadata"].get("finalizers", ())) for obj in (old, new))
    if "deletionTimestamp" in old["metadata"] and after - before:
        raise KubeError(422, "Invalid", "no new finalizers can be added if the object is being deleted")
