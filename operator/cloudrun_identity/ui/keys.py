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
    """Its state and the Secret that has it."""
    declared_by: str
    """The IdentityKey; empty if no object declares the key."""


def keys_of(cluster: Cluster, identity: str) -> Iterator[Key]:
    """Yield the keys of an identity."""
    for declared in cluster.keys.get(identity, ()):
        metadata, secret = declared.metadata, declared.spec.secret_name
        for key in declared.status.keys:
            declarer = f"{declared.kind} {metadata.namespace}/{metadata.name}"
            where = (
                f"{key.state}, in Secret {secret}" if key.id == declared.status.active_key_id else key.state
            )
            yield Key(key.id, key.state, where, declarer)
    for unmanaged in cluster.identities[identity].status.unmanaged_keys:
        yield Key(unmanaged.id, "Unmanaged", "not declared by any object", "")
