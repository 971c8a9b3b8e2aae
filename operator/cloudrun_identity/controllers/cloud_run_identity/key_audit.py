"""Keys of an identity's account that no IdentityKey made: each is a way to act as it that nobody declares."""

from collections.abc import Mapping

from cloudrun_identity.api import ConditionStatus, KeyState, UnmanagedKey
from cloudrun_identity.gcp.errors import GoogleError
from cloudrun_identity.iam.listed_keys import ListedKey
from cloudrun_identity.ledger.keys import KeyRing
from cloudrun_identity.reconcile.conditions import Finding


def undeclared(listed: Mapping[str, ListedKey], ring: KeyRing) -> tuple[UnmanagedKey, ...]:
    """The keys that the ledger does not know for ours, the oldest first.

    What appeared while one of ours is being made may be that one.
    """
    ours = {key_id for key_id, record in ring.records.items() if record.state is not KeyState.UNCLEAR}
    if ring.attempt:
        ours |= listed.keys() - ring.attempt.known
    strangers = sorted((each for each in listed.values() if each.key_id not in ours), key=_by_age)
    return tuple(UnmanagedKey(id=each.key_id, created_time=each.created) for each in strangers)


def keys_audited(found: tuple[UnmanagedKey, ...] | GoogleError, email: str) -> Finding:
    """The condition KeysAudited, from the undeclared keys or from why they cannot be listed."""
    if isinstance(found, GoogleError):
        return Finding(ConditionStatus.UNKNOWN, "NotObserved", f"keys cannot be listed: {found.message}")
    if not found:
        return Finding(ConditionStatus.TRUE, "NoUnmanagedKeys", "every user-managed key is declared")
    oldest = found[0]
    since = f", the oldest of {oldest.created_time:%Y-%m-%d}" if oldest.created_time else ""
    return Finding(
        ConditionStatus.FALSE,
        "UnmanagedKeys",
        f"{len(found)} user-managed keys that no IdentityKey declares{since}; those that nobody uses are "
        f"deleted by: gcloud iam service-accounts keys delete {oldest.id} --iam-account={email}",
    )


def _by_age(key: ListedKey) -> tuple[float, str]:
    return key.created.timestamp(), key.key_id
