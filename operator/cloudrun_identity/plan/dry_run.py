"""A plan without a cluster: the operator's own parts on objects in memory, and clients that send no write."""

from collections.abc import Iterable

from cloudrun_identity.api import KINDS
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.kube.objects import resource_of
from cloudrun_identity.kube.resources import NAMESPACES, Object
from cloudrun_identity.manager.kubernetes import CountedClient
from cloudrun_identity.manager.metrics import Metrics
from cloudrun_identity.manager.operator import Operator

from .in_memory_client import InMemoryClient
from .model import Plan

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
    operator = Operator(client, google, metrics, _NAMESPACE, KINDS, lambda: False, concurrency=1)
    try:
        await operator.fill()
        return await operator.plan()
    finally:
        await operator.drain()
