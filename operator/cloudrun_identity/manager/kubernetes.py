"""Writes to Kubernetes: counted in the metrics, and as the driver for every kind uses them."""

from collections.abc import Callable

from cloudrun_identity.kube.crds import CrdReader, CrdState
from cloudrun_identity.kube.finalizers import Finalizers
from cloudrun_identity.kube.resources import (
    Listing,
    Object,
    ObjectClient,
    Objects,
    PatchType,
    Resource,
    as_sent,
)
from cloudrun_identity.kube.status_writer import StatusWriter

from .metrics import Metrics


class CountedClient:
    """Implements `kube.resources.ObjectClient` and counts every write."""

    def __init__(self, client: ObjectClient, metrics: Metrics) -> None:
        self._client = client
        self._metrics = metrics

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
        """Read one object."""
        return await self._client.get(resource, name, namespace)

    async def list(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        form: Callable[[Object], Object] = as_sent,
    ) -> Objects:
        """Read all objects of one namespace, or of every namespace if it is empty."""
        return await self._client.list(resource, namespace, label_selector=label_selector, form=form)

    async def list_all(
        self, resource: Resource, *, form: Callable[[Object], Object] = as_sent
    ) -> Listing[Object]:
        """Read all objects of all namespaces, with the version after which to watch them."""
        return await self._client.list_all(resource, form=form)

    async def create(self, resource: Resource, obj: Object) -> Object:
        """Create the object."""
        self._metrics.kubernetes_written(resource.plural, "create")
        return await self._client.create(resource, obj)

    async def replace(self, resource: Resource, obj: Object, *, subresource: str = "") -> Object:
        """Replace the stored object."""
        self._metrics.kubernetes_written(_path(resource, subresource), "replace")
        return await self._client.replace(resource, obj, subresource=subresource)

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
        """Patch the object."""
        self._metrics.kubernetes_written(_path(resource, subresource), "patch")
        return await self._client.patch(resource, name, namespace, patch, patch_type, subresource=subresource)

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        resource_version: str = "",
    ) -> None:
        """Delete the object."""
        self._metrics.kubernetes_written(resource.plural, "delete")
        await self._client.delete(resource, name, namespace, uid=uid, resource_version=resource_version)


class KubeWrites:
    """Implements `reconcile.dependencies.KubePort` on an API server."""

    def __init__(self, client: CountedClient) -> None:
        self._client = client
        self._finalizers = Finalizers(client)
        self._statuses = StatusWriter(client)
        self._crds = CrdReader(client)

    async def add_finalizer(self, raw: Object) -> Object | None:
        """Add the finalizer. Return the object, or None if it no longer exists."""
        return await self._finalizers.add(raw)

    async def remove_finalizer(self, raw: Object) -> None:
        """Remove the finalizer."""
        await self._finalizers.remove(raw)

    async def write_status(self, raw: Object, status: Object) -> Object | None:
        """Write the status. Return the object, its newer version after a conflict, or None if deleted."""
        return await self._statuses.write(raw, status)

    async def is_uninstalled(self, kind: str) -> bool:
        """Return whether the CRD of the kind is absent or being deleted. Raises KubeError."""
        return await self._crds.state_of(kind) in (CrdState.ABSENT, CrdState.DELETING)


def _path(resource: Resource, subresource: str) -> str:
    return f"{resource.plural}/{subresource}" if subresource else resource.plural
