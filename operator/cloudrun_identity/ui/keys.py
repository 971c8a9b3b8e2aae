"""Keys of an identity: those that objects declare, and those that the operator found."""

from collections.abc import Iterator
from dataclasses import dataclass

from cloudrun_identity.overview.cluster import Cluster


@dataclass(frozen=True, slots=True)
class Key:
    """One user-managed key. The page has no key material: the operator keeps it in the Secret only."""

    id: str
    """ID of the key."""
    state: str
    """State of the key; `Unmanaged` if no object declares it."""
    where: str
    """Its state, the Secret that has it, and its last use if Google reports it."""
    declared_by: str
    """The IdentityKey; empty if no object declares the key."""


def keys_of(cluster: Cluster, identity: str) -> Iterator[Key]:
    """Yield the keys of an identity."""
    for declared in cluster.keys.get(identity, ()):
        metadata, status = declared.metadata, declared.status
        for key in status.keys:
            declarer = f"{declared.kind} {metadata.namespace}/{metadata.name}"
            secret = f", in Secret {declared.spec.secret_name}" if key.id == status.active_key_id else ""
            yield Key(key.id, key.state, f"{key.state}{secret}{_last_use(key.last_used)}", declarer)
    for unmanaged in cluster.identities[identity].status.unmanaged_keys:
        where = f"not declared by any object{_last_use(unmanaged.last_used)}"
        yield Key(unmanaged.id, "Unmanaged", where, "")


def _last_use(day: str | None) -> str:
    return f", last used {day}" if day else ""
