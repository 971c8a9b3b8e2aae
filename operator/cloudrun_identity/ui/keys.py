"""Keys of an identity: those that objects declare, and those that the operator found."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from cloudrun_identity.overview.cluster import Cluster


@dataclass(frozen=True, slots=True)
class Key:
    """One user-managed key. The page has no key material: the operator keeps it in the Secret only."""

    id: str
    """ID of the key."""
    state: str
    """State of the key; `Unmanaged` if no object declares it."""
    where: str
    """Its state, and the Secret that has it."""
    declared_by: str
    """The IdentityKey; empty if no object declares the key."""
    created: datetime | None
    """Time of its creation; None if it is not known."""
    last_used: str
    """Date of the last use that Google reports; empty if none is known."""


def keys_of(cluster: Cluster, identity: str) -> Iterator[Key]:
    """Yield the keys of an identity."""
    for declared in cluster.keys.get(identity, ()):
        metadata, status = declared.metadata, declared.status
        for key in status.keys:
            is_active = key.id == status.active_key_id
            yield Key(
                id=key.id,
                state=key.state,
                where=f"{key.state}, in Secret {declared.spec.secret_name}" if is_active else key.state,
                declared_by=f"{declared.kind} {metadata.namespace}/{metadata.name}",
                created=key.created_time,
                last_used=key.last_used or (status.last_used if is_active else None) or "",
            )
    for unmanaged in cluster.identities[identity].status.unmanaged_keys:
        yield Key(
            id=unmanaged.id,
            state="Unmanaged",
            where="not declared by any object",
            declared_by="",
            created=unmanaged.created_time,
            last_used=unmanaged.last_used or "",
        )
