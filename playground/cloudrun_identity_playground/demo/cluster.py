"""The Kubernetes side of the demo: install and apply objects, read their state, and remove them again."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Self

from cloudrun_identity.api import KINDS, crd
from cloudrun_identity.api.group import GROUP
from cloudrun_identity.kube import objects
from cloudrun_identity.kube.client import KubeClient, connect
from cloudrun_identity.kube.errors import ClusterUnreachable, KubeError
from cloudrun_identity.kube.resources import (
    CUSTOM_RESOURCE_DEFINITIONS,
    EVENTS,
    NAMESPACES,
    Object,
    PatchType,
    Resource,
)

from .failure import DemoError

POLL_INTERVAL = 0.25  # seconds
ESTABLISH_TIMEOUT = 30.0  # seconds until the API server serves a new kind
REMOVE_TIMEOUT = 60.0  # seconds until deleted objects are removed; namespaces take a while


@dataclass(frozen=True, slots=True, order=True)
class Subject:
    """Reference to a custom resource; `namespace` is empty for a ManagedProject."""

    kind: str
    namespace: str
    name: str

    @classmethod
    def of(cls, obj: Object) -> Self:
        """Return the reference to a raw object."""
        return cls(obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"])

    def __str__(self) -> str:
        """Return, for example, `CloudRunIdentity flows/prefect-runner`."""
        return f"{self.kind} {f'{self.namespace}/' if self.namespace else ''}{self.name}"


@dataclass(frozen=True, slots=True)
class Readiness:
    """The condition Ready of an object. A condition of an older generation counts as not observed."""

    is_ready: bool
    reason: str
    message: str

    @classmethod
    def of(cls, obj: Object | None) -> Self:
        """Read the condition from a raw object; None is an object that does not exist."""
        if obj is None:
            return cls(False, "NotFound", "the object was deleted")
        status = obj.get("status", {})
        ready = next((each for each in status.get("conditions", ()) if each["type"] == "Ready"), None)
        if ready is None or status.get("observedGeneration") != obj["metadata"]["generation"]:
            return cls(False, "NotObserved", "the operator has not reconciled this generation yet")
        return cls(ready["status"] == "True", ready["reason"], ready.get("message", ""))


class Cluster:
    """One API server and what the demo installed on it."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._installed: list[tuple[Resource, str]] = []

    @classmethod
    async def connect(cls, kubeconfig: str) -> Self:
        """Connect to the API server.

        Raises:
            DemoError: The API server does not answer.

        """
        try:
            return cls(await connect(kubeconfig))
        except ClusterUnreachable as error:
            raise DemoError(str(error)) from error

    @property
    def server(self) -> str:
        """URL of the API server."""
        return self._client.server

    def installed_by_plural(self) -> dict[str, list[str]]:
        """Return the names of the CRDs and namespaces that the demo created, by plural."""
        names: dict[str, list[str]] = {}
        for resource, name in self._installed:
            names.setdefault(resource.plural, []).append(name)
        return names

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def refuse_if_in_use(self) -> None:
        """Check that the operator's CRDs are not installed.

        Raises:
            DemoError: They are installed.

        """
        if await self._definitions():
            raise DemoError(
                f"{self.server} already has CRDs of {GROUP}, and the demo must not change their objects: "
                "use another cluster, or omit --kubeconfig for the embedded API server"
            )

    async def install_definitions(self) -> int:
        """Apply the CustomResourceDefinitions, wait until they are served, and return their number."""
        for definition in crd.generate().values():
            await self._install(CUSTOM_RESOURCE_DEFINITIONS, definition)
        await _until(
            self._all_established, ESTABLISH_TIMEOUT, "the API server does not serve the operator's kinds"
        )
        return len(KINDS)

    async def install_namespace(self, name: str) -> None:
        """Apply a namespace."""
        await self._install(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    async def apply(self, obj: Object) -> None:
        """Apply an object with server-side apply.

        Raises:
            DemoError: The API server refuses the object.

        """
        if obj["kind"] == "Namespace":
            await self._install(NAMESPACES, obj)
        else:
            await self._apply(objects.resource(obj["kind"]), obj)

    async def read(self, subjects: Iterable[Subject]) -> dict[Subject, Object]:
        """Read the objects that exist."""
        wanted = set(subjects)
        found = [
            obj for kind in sorted({subject.kind for subject in wanted}) for obj in await self._list(kind)
        ]
        return {subject: obj for obj in found if (subject := Subject.of(obj)) in wanted}

    async def events(self, subject: Subject) -> list[Object]:
        """List the Events about an object, oldest first."""
        about = {"kind": subject.kind, "name": subject.name}
        listed = await self._client.list(EVENTS, subject.namespace)
        mine = [event for event in listed if about.items() <= event["involvedObject"].items()]
        # Timestamps have a resolution of one second. Within a second, order by the writes.
        return sorted(mine, key=lambda event: (_last_seen(event), int(event["metadata"]["resourceVersion"])))

    async def remove(self) -> None:
        """Delete everything that the demo installed. The operator must have stopped.

        Finalizers are removed without cleanup in Google Cloud, because the emulator ends with the demo.
        """
        for kind in KINDS:
            for obj in await self._list_if_served(kind):
                await self._release(objects.resource(kind), obj)
        for resource, name in reversed(self._installed):
            await _ignore_not_found(self._client.delete(resource, name))
        await _until(self._all_removed, REMOVE_TIMEOUT, "the API server does not finish the deletion")
        self._installed.clear()

    async def _install(self, resource: Resource, obj: Object) -> None:
        name = obj["metadata"]["name"]
        try:
            await self._client.get(resource, name)
        except KubeError as error:
            if not error.is_not_found:
                raise
            self._installed.append((resource, name))
        await self._apply(resource, obj)

    async def _apply(self, resource: Resource, obj: Object) -> None:
        metadata = obj["metadata"]
        try:
            await self._client.patch(
                resource, metadata["name"], metadata.get("namespace", ""), obj, PatchType.APPLY
            )
        except KubeError as error:
            raise DemoError(f"the API server refuses {Subject.of(obj)}: {error.message}") from error

    async def _list(self, kind: str) -> list[Object]:
        return [obj | {"kind": kind} for obj in await self._client.list(objects.resource(kind))]

    async def _list_if_served(self, kind: str) -> list[Object]:
        try:
            return await self._list(kind)
        except KubeError as error:
            if error.is_not_found:
                return []
            raise

    async def _release(self, resource: Resource, obj: Object) -> None:
        name, namespace = obj["metadata"]["name"], obj["metadata"].get("namespace", "")
        await _ignore_not_found(self._client.delete(resource, name, namespace))
        if obj["metadata"].get("finalizers"):
            no_finalizers: Object = {"metadata": {"finalizers": []}}
            await _ignore_not_found(self._client.patch(resource, name, namespace, no_finalizers))

    async def _definitions(self) -> list[Object]:
        definitions = await self._client.list(CUSTOM_RESOURCE_DEFINITIONS)
        return [each for each in definitions if each["spec"]["group"] == GROUP]

    async def _all_established(self) -> bool:
        ours = await self._definitions()
        return len(ours) == len(KINDS) and all(map(_is_established, ours))

    async def _all_removed(self) -> bool:
        definitions = await self._client.list(CUSTOM_RESOURCE_DEFINITIONS)
        namespaces = await self._client.list(NAMESPACES)
        left = {obj["metadata"]["name"] for obj in (*definitions, *namespaces)}
        return not any(name in left for _, name in self._installed)


def _last_seen(event: Object) -> str:
    return str(event.get("lastTimestamp") or event["metadata"]["creationTimestamp"])


def _is_established(definition: Object) -> bool:
    conditions = (
        definition["status"]["conditions"] or ()
    )  # null until the API server has processed the definition
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)


async def _ignore_not_found(request: Awaitable[object]) -> None:
    try:
        await request
    except KubeError as error:
        if not error.is_not_found:
            raise


async def _until(holds: Callable[[], Awaitable[bool]], timeout: float, complaint: str) -> None:
    deadline = time.monotonic() + timeout
    while not await holds():
        if time.monotonic() > deadline:
            raise DemoError(f"{complaint} after {timeout:g} s")
        await asyncio.sleep(POLL_INTERVAL)
