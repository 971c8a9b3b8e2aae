"""Persist status fields before the action they describe, so that a crash in between loses nothing."""

from collections.abc import Callable, Mapping
from typing import Any

from cloudrun_identity.api import ReconciledResource

from .cluster_state import ObjectKey
from .dependencies import KubePort, ObjectStore
from .status import status_object, with_fields


class Records:
    """Write fields of an object's status during its reconcile."""

    def __init__(self, store: ObjectStore, kube: KubePort, checkpoint: Callable[[str], None]) -> None:
        """`checkpoint(step)` is called after every step that a crash could follow."""
        self._store = store
        self._kube = kube
        self._checkpoint = checkpoint

    async def record(self, obj: ReconciledResource, fields: Mapping[str, Any]) -> bool:
        """Persist these fields (by name) in the object's status.

        Returns False if the object was edited or deleted meanwhile. The caller must then not act on the
        fields. Raises KubeError.
        """
        known = self._store.stored(ObjectKey.of(obj))
        raw = known.raw if known else None
        if raw is None or raw["metadata"]["uid"] != obj.metadata.uid:
            return False
        status = status_object(with_fields(obj.status, fields))
        stored = await self._kube.write_status(raw, status)
        if stored is None:
            return False
        self._store.absorb(stored)
        self._checkpoint("status recorded")
        return bool(stored.get("status") == status)
