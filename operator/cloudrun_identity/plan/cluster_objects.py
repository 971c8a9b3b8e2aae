"""Read the objects and ledgers of a cluster that a plan depends on. Nothing is written."""

from collections.abc import Iterable

from cloudrun_identity.api import KINDS, CloudRunIdentity, ManagedProject, PolicyLedger
from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.kube.objects import resource
from cloudrun_identity.kube.resources import NAMESPACES, Object, ObjectClient, Objects

from .cluster_plan import ClusterObjects


class LedgersMissing(Exception):
    """Objects are managed, and there is no ledger of them. The message is one line."""


async def read_cluster(client: ObjectClient, namespace: str | None, default_namespace: str) -> ClusterObjects:
    """Return the objects of all kinds, the namespaces, and the ledgers in the operator's namespace.

    Without `namespace`, it is the one that the ManagedProjects name in their status. A kind that is not
    installed has no objects.

    Raises:
        KubeError: a kind cannot be listed.
        LedgersMissing: the namespace is probably not that of the operator.

    """
    found: Objects = [{**raw, "kind": "Namespace"} for raw in await client.list(NAMESPACES)]
    for kind in KINDS:
        if kind != PolicyLedger.__name__:
            found += await _listed(client, kind)
    namespace = namespace or _operator_namespace(found) or default_namespace
    ledgers = await _listed(client, PolicyLedger.__name__, namespace)
    if not ledgers and (managed := next(filter(_is_managed, found), None)):
        metadata = managed["metadata"]
        raise LedgersMissing(
            f"there is no PolicyLedger in namespace {namespace}, although {managed['kind']} "
            f"{metadata['namespace']}/{metadata['name']} is managed; name the operator's namespace with "
            "--operator-namespace"
        )
    return ClusterObjects(objects=(*found, *ledgers), namespace=namespace, secrets=client)


async def _listed(client: ObjectClient, kind: str, namespace: str = "") -> Objects:
    try:
        listed = await client.list(resource(kind), namespace)
    except KubeError as error:
        if error.is_not_found:
            return []
        raise
    return [{**raw, "kind": kind} for raw in listed]


def _operator_namespace(objects: Iterable[Object]) -> str:
    """Return the namespace of the operator that all ManagedProjects name; empty if they name several."""
    named = {
        ((raw.get("status") or {}).get("operator") or {}).get("namespace", "")
        for raw in objects
        if raw["kind"] == ManagedProject.__name__
    } - {""}
    return named.pop() if len(named) == 1 else ""


def _is_managed(raw: Object) -> bool:
    """Return whether the status of an object shows that a ledger has the record of its account."""
    return raw["kind"] == CloudRunIdentity.__name__ and bool((raw.get("status") or {}).get("uniqueID"))
