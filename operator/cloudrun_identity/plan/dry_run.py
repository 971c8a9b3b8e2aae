"""A plan without a cluster: the operator's own parts on objects in memory, and clients that send no write."""

from collections.abc import Iterable

from cloudrun_identity.api import KINDS
from cloudrun_identity.controllers.cloud_run_identity.account_records import AccountRecords
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.kube.event_recorder import EventType
from cloudrun_identity.kube.objects import resource_of
from cloudrun_identity.kube.resources import NAMESPACES, Object
from cloudrun_identity.manager.engine import Engine
from cloudrun_identity.manager.factory import Ports, compose
from cloudrun_identity.manager.hooks import now
from cloudrun_identity.manager.kubernetes import CountedClient, KubeWrites
from cloudrun_identity.manager.metrics import Metrics
from cloudrun_identity.manager.workers import Slots

from .in_memory_client import InMemoryClient
from .model import Plan
from .planner import Planner

_NAMESPACE = "cloudrun-identity"


async def dry_run_plan(google: GoogleClients, objects: Iterable[Object]) -> Plan:
    """What applying these objects, of our kinds and namespaces, to an empty cluster would change.

    `google` must refuse to write. A namespace that an object lives in need not be among the objects.
    """
    scratch, metrics = InMemoryClient(), Metrics()
    namespaces: dict[str, Object] = {}
    for obj in objects:
        metadata = obj["metadata"]
        if obj["kind"] == "Namespace":
            namespaces[metadata["name"]] = obj
        else:
            await scratch.create(resource_of(obj), obj)
            if namespace := metadata.get("namespace"):
                namespaces.setdefault(namespace, {"kind": "Namespace", "metadata": {"name": namespace}})
    for namespace in namespaces.values():
        await scratch.create(NAMESPACES, namespace)
    client = CountedClient(scratch, metrics)
    engine = compose(
        Ports(
            client=client,
            kube=KubeWrites(client),
            google=google,
            namespace=_NAMESPACE,
            events=_NoEvents(),
            drift=metrics,
            syncs=metrics,
            slots=Slots(1),
            wake=lambda _: None,
        )
    )
    try:
        await engine.fill(client, KINDS)
        return await _planner(engine).plan(engine.cache.known())
    finally:
        await engine.close()


class _NoEvents:
    """Drops Events."""

    def record(self, obj: Object, event_type: EventType, reason: str, message: str) -> None:
        """Drop the Event."""


def _planner(engine: Engine) -> Planner:
    return Planner(
        engine.kinds,
        engine.dependencies,
        engine.ledgers,
        AccountRecords(engine.ledgers, now),
        engine.cloud.roles,
        engine.cloud.policies,
        engine.settings.is_protected,
    )
