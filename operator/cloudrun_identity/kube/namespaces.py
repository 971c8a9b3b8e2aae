"""The operator's own namespace."""

from pathlib import Path

from .errors import KubeError
from .resources import NAMESPACES, Verbs

POD_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


async def ensure_namespace(client: Verbs, name: str) -> None:
    """Create the namespace if it is absent; raises `KubeError` when it can neither be read nor created."""
    try:
        await client.get(NAMESPACES, name)
    except KubeError as error:
        if not error.is_not_found:
            raise
    else:
        return
    try:
        await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    except KubeError as error:
        if not error.is_conflict:  # somebody else created it in between
            raise


def pod_namespace() -> str | None:
    """Read the namespace of the pod we run in; None outside of a cluster."""
    try:
        return POD_NAMESPACE_FILE.read_text().strip() or None
    except OSError:
        return None
