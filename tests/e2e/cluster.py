"""Client of the cluster (`Cluster`): reads and changes objects as a user would."""

from collections.abc import Container, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

from kubernetes import client, config

Object = dict[str, Any]

GROUP = "cloudrun-identity.dev"
VERSION = "v1alpha1"
PLURALS = {
    "ManagedProject": "managedprojects",
    "CloudRunIdentity": "cloudrunidentities",
    "IAMBinding": "iambindings",
    "IdentityAttachment": "identityattachments",
    "CustomRole": "customroles",
    "IdentityKey": "identitykeys",
    "PolicyLedger": "policyledgers",
}
CLUSTER_SCOPED = "ManagedProject"
EVENT_TYPES = frozenset({"Normal", "Warning"})

NOT_FOUND = 404
CONFLICT = 409


class Cluster:
    """One cluster, accessed with a kubeconfig. `namespace` is ignored for cluster-scoped kinds."""

    def __init__(self, kubeconfig: Path) -> None:
        api = config.new_client_from_config(str(kubeconfig))
        self._objects: Any = client.CustomObjectsApi(api)
        self._core: Any = client.CoreV1Api(api)
        self._coordination: Any = client.CoordinationV1Api(api)
        self._definitions: Any = client.ApiextensionsV1Api(api)
        self._api = api

    def close(self) -> None:
        self._api.close()

    def create(self, obj: Object) -> Object:
        """Create a custom resource; raises ApiException."""
        kind, namespace = obj["kind"], obj["metadata"].get("namespace", "")
        created: Object
        if kind == CLUSTER_SCOPED:
            created = self._objects.create_cluster_custom_object(GROUP, VERSION, PLURALS[kind], obj)
        else:
            created = self._objects.create_namespaced_custom_object(
                GROUP, VERSION, namespace, PLURALS[kind], obj
            )
        return created

    def apply(self, obj: Object) -> Object:
        """Create a custom resource, or merge it into the existing one."""
        try:
            return self.create(obj)
        except client.ApiException as error:
            if error.status != CONFLICT:
                raise
        metadata = obj["metadata"]
        return self.patch(obj["kind"], metadata["name"], metadata.get("namespace", ""), obj)

    def patch(self, kind: str, name: str, namespace: str, change: Object) -> Object:
        """Merge a change into a custom resource."""
        patched: Object
        if kind == CLUSTER_SCOPED:
            patched = self._objects.patch_cluster_custom_object(GROUP, VERSION, PLURALS[kind], name, change)
        else:
            patched = self._objects.patch_namespaced_custom_object(
                GROUP, VERSION, namespace, PLURALS[kind], name, change
            )
        return patched

    def patch_operations(self, kind: str, name: str, operations: list[Object]) -> None:
        """Apply a JSON patch to a cluster-scoped custom resource; raises ApiException."""
        self._objects.patch_cluster_custom_object(
            GROUP, VERSION, PLURALS[kind], name, operations, _content_type="application/json-patch+json"
        )

    def server_side_apply(self, obj: Object) -> Object:
        """Apply a cluster-scoped custom resource on the server, as Flux does; raises ApiException."""
        metadata = obj["metadata"]
        applied: Object = self._objects.patch_cluster_custom_object(
            GROUP,
            VERSION,
            PLURALS[obj["kind"]],
            metadata["name"],
            obj,
            field_manager="flux",
            force=True,
            _content_type="application/apply-patch+yaml",
        )
        return applied

    def get(self, kind: str, name: str, namespace: str = "") -> Object | None:
        """Return a custom resource; None if it does not exist."""
        found: Object
        try:
            if kind == CLUSTER_SCOPED:
                found = self._objects.get_cluster_custom_object(GROUP, VERSION, PLURALS[kind], name)
            else:
                found = self._objects.get_namespaced_custom_object(
                    GROUP, VERSION, namespace, PLURALS[kind], name
                )
        except client.ApiException as error:
            if error.status == NOT_FOUND:
                return None
            raise
        return found

    def all(self, kind: str, namespace: str) -> list[Object]:
        """Return every object of a kind in a namespace."""
        found: list[Object] = self._objects.list_namespaced_custom_object(
            GROUP, VERSION, namespace, PLURALS[kind]
        )["items"]
        return found

    def everywhere(self, kind: str) -> list[Object]:
        """Return every object of a kind, of all namespaces."""
        found: list[Object] = self._objects.list_cluster_custom_object(GROUP, VERSION, PLURALS[kind])["items"]
        return found

    def delete(self, kind: str, name: str, namespace: str = "") -> None:
        """Delete a custom resource, without waiting."""
        if kind == CLUSTER_SCOPED:
            self._objects.delete_cluster_custom_object(GROUP, VERSION, PLURALS[kind], name)
        else:
            self._objects.delete_namespaced_custom_object(GROUP, VERSION, namespace, PLURALS[kind], name)

    def delete_all(self, kind: str, namespace: str) -> None:
        """Delete every object of a kind in a namespace, without waiting.

        A busy kube-apiserver ends the request after a minute (504), and has deleted a part of them.
        """
        for is_last in (False, False, False, False, True):
            try:
                self._objects.delete_collection_namespaced_custom_object(
                    GROUP, VERSION, namespace, PLURALS[kind]
                )
                return
            except client.ApiException as error:
                if is_last or error.status != HTTPStatus.GATEWAY_TIMEOUT:
                    raise

    @contextmanager
    def admitting(self, kind: str, field: str, value: str) -> Iterator[None]:
        """Make the CRD accept this value of a field of the spec during the block."""
        name = f"{PLURALS[kind]}.{GROUP}"
        definition = self._definitions.read_custom_resource_definition(name, _preload_content=False).json()
        schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        listed = schema["properties"]["spec"]["properties"][field]["enum"]
        listed.append(value)
        self._define(name, listed, field)
        try:
            yield
        finally:
            listed.remove(value)
            self._define(name, listed, field)

    def _define(self, name: str, listed: list[str], field: str) -> None:
        path = f"/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/{field}/enum"
        self._definitions.patch_custom_resource_definition(
            name, [{"op": "replace", "path": path, "value": listed}]
        )

    def secret(self, name: str, namespace: str) -> Object | None:
        """Return a Secret; None if it does not exist."""
        try:
            found = self._core.read_namespaced_secret(name, namespace)
        except client.ApiException as error:
            if error.status == NOT_FOUND:
                return None
            raise
        plain: Object = self._api.sanitize_for_serialization(found)
        return plain

    def create_secret(self, name: str, namespace: str, data: dict[str, str]) -> None:
        """Create a Secret as another user; the values are base64."""
        self._core.create_namespaced_secret(
            namespace, client.V1Secret(metadata=client.V1ObjectMeta(name=name), data=data)
        )

    def label_secret(self, name: str, namespace: str, labels: dict[str, str]) -> None:
        """Set labels of a Secret as another user."""
        self._core.patch_namespaced_secret(name, namespace, {"metadata": {"labels": labels}})

    def delete_secret(self, name: str, namespace: str) -> None:
        self._core.delete_namespaced_secret(name, namespace)

    def create_namespace(self, name: str) -> None:
        self._core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=name)))

    def label_namespace(self, name: str, **labels: str | None) -> None:
        """Set labels of a namespace; None removes a label."""
        self._core.patch_namespace(name, {"metadata": {"labels": labels}})

    def forge_status(self, kind: str, name: str, namespace: str, status: Object) -> None:
        """Write to a status, as a user with permission."""
        if kind == CLUSTER_SCOPED:
            self._objects.patch_cluster_custom_object_status(
                GROUP, VERSION, PLURALS[kind], name, {"status": status}
            )
        else:
            self._objects.patch_namespaced_custom_object_status(
                GROUP, VERSION, namespace, PLURALS[kind], name, {"status": status}
            )

    def delete_namespace(self, name: str) -> None:
        self._core.delete_namespace(name)

    def has_namespace(self, name: str) -> bool:
        try:
            self._core.read_namespace(name)
        except client.ApiException as error:
            if error.status == NOT_FOUND:
                return False
            raise
        return True

    def events(
        self, kind: str, name: str, namespace: str, uid: str = "", *, types: Container[str] = EVENT_TYPES
    ) -> list[tuple[str, str]]:
        """Return the (reason, message) of every Event about an object of a name, or of this UID."""
        return [
            (event.reason, event.message)
            for event in self._core.list_namespaced_event(namespace).items
            if (event.involved_object.kind, event.involved_object.name) == (kind, name)
            and uid in ("", event.involved_object.uid)
            and event.type in types
        ]

    def replace_definition(self, definition: Object) -> None:
        """Replace the CRD of the same name."""
        name = definition["metadata"]["name"]
        installed = self._definitions.read_custom_resource_definition(name, _preload_content=False).json()
        self._definitions.replace_custom_resource_definition(name, installed | {"spec": definition["spec"]})

    def uninstall(self, kind: str) -> None:
        """Delete a CRD, and with it all its objects, without waiting."""
        self._definitions.delete_custom_resource_definition(f"{PLURALS[kind]}.{GROUP}")

    def has_kind(self, kind: str) -> bool:
        """Return whether a CRD exists, possibly terminating."""
        names = {each.metadata.name for each in self._definitions.list_custom_resource_definition().items}
        return f"{PLURALS[kind]}.{GROUP}" in names

    def end_lease(self, namespace: str) -> None:
        """Expire the lease of a dead holder, so that the next operator acts at once."""
        try:
            self._coordination.delete_namespaced_lease("cloudrun-identity", namespace)
        except client.ApiException as error:
            if error.status != NOT_FOUND:
                raise

    def lease_version(self, namespace: str) -> str:
        """Return the resourceVersion of the operator's lease."""
        lease = self._coordination.read_namespaced_lease("cloudrun-identity", namespace)
        return str(lease.metadata.resource_version)

    def lease_holder(self, namespace: str) -> str:
        """Return the holder of the operator's lease; empty if there is none."""
        lease = self._coordination.read_namespaced_lease("cloudrun-identity", namespace)
        return lease.spec.holder_identity or ""
