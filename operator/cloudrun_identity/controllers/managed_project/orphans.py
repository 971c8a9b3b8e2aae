"""Orphans: records in ledgers for objects that no longer exist, and their release.

Orphans result if a user removes the finalizer of an object. The operator keeps their records, so that a new
object with the same name takes them over. An annotation of the ManagedProject releases them.
"""

from collections.abc import Callable, Iterable, Iterator

from cloudrun_identity.api import (
    RELEASE_ORPHANS,
    CloudRunIdentity,
    CustomRole,
    IdentityAttachment,
    IdentityKey,
    ManagedProject,
    RoleState,
)
from cloudrun_identity.iam.patterns import matches_any
from cloudrun_identity.ledger.interface import LedgerStore
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.desired_grants import Retain
from cloudrun_identity.policy.syncers import PolicySyncers
from cloudrun_identity.reconcile.cluster_state import ClusterState, ObjectKey
from cloudrun_identity.reconcile.grants.release import Releaser
from cloudrun_identity.reconcile.outcomes import InSync, Outcome

ABANDONED = "ServiceAccount"
"""First part of the key of an account that was abandoned; the rest is its e-mail."""


def orphans_of(ledger: Ledger, cluster: ClusterState) -> Iterator[str]:
    """Yield the owners in a ledger that no longer exist, as KIND/NAMESPACE/NAME, and an abandoned account."""
    for owner_key in ledger.owner_keys | ledger.resource_owners:
        if not cluster.exists(ObjectKey(*owner_key.split("/", 2))):
            yield owner_key
    if ledger.account and ledger.account.abandoned:
        yield f"{ABANDONED}/{ledger.account.email}"


def orphans_to_release(project: ManagedProject, cluster: ClusterState) -> tuple[str, ...]:
    """Return the orphans of the project that the annotation of the ManagedProject selects."""
    annotation = project.metadata.annotations.get(RELEASE_ORPHANS, "")
    patterns = [pattern for each in annotation.split(",") if (pattern := each.strip())]
    if not patterns:
        return ()
    found = {each for ledger in cluster.ledgers(project.project_id) for each in orphans_of(ledger, cluster)}
    return tuple(sorted(each for each in found if matches_any(each, patterns)))


class OrphanReleaser:
    """Release orphans: revoke their grants, and remove the records of accounts, roles, keys and workloads."""

    def __init__(self, ledgers: LedgerStore, syncers: PolicySyncers) -> None:
        self._ledgers = ledgers
        self._syncers = syncers
        self._releaser = Releaser(syncers)

    async def release(self, orphans: Iterable[str], ledgers: Iterable[Ledger]) -> Outcome:
        """Release the orphans in the ledgers of one project; InSync once nothing is recorded for them.

        Raises LedgerFull, LedgerInvalid, LedgerPruned and KubeError.
        """
        listed = tuple(ledgers)
        for orphan in orphans:
            outcome = await self._release_grants(orphan, listed)
            if not isinstance(outcome, InSync):
                return outcome
            for ledger in listed:
                await self._ledgers.update(ledger.target, _forgetting(orphan))
        return InSync()

    async def _release_grants(self, orphan: str, ledgers: Iterable[Ledger]) -> Outcome:
        """Revoke the grants in these ledgers; those in other projects stay."""
        owner = next(filter(None, (_owner_in(ledger, orphan) for ledger in ledgers)), None)
        if owner is None:
            return InSync()
        own = {ledger.target for ledger in ledgers}
        elsewhere = tuple(Retain(target=target) for target in self._syncers.held_by(owner) - own)
        outcome = await self._releaser.release_all(
            owner, abandon=False, claims=frozenset(), retains=elsewhere
        )
        if isinstance(outcome, InSync):
            self._syncers.forget(owner)
        return outcome


def _owner_in(ledger: Ledger, owner_key: str) -> Owner | None:
    """Return the owner with its UID, if the ledger has grants of it."""
    owners = (
        Owner.parse(text) for grant in ledger.held_by(owner_key) for text in ledger.entries[grant].owners
    )
    return next((owner for owner in owners if owner.owner_key == owner_key), None)


def _forgetting(orphan: str) -> Callable[[Ledger], Ledger]:
    return lambda ledger: without_records(_without_temporary(ledger, orphan), orphan)


def _without_temporary(ledger: Ledger, orphan: str) -> Ledger:
    """Return the ledger without the records of temporary grants of an orphan."""
    temporary = {key: record for key, record in ledger.temporary.items() if key[0] != orphan}
    return ledger if len(temporary) == len(ledger.temporary) else ledger.with_temporary(temporary)


def without_records(ledger: Ledger, orphan: str) -> Ledger:
    """Return the ledger without the account, roles, keys and attachment that are recorded for an orphan."""
    kind, _, owner = orphan.partition("/")
    account, attachment = ledger.account, ledger.attachment
    if kind == CloudRunIdentity.__name__ and account and account.owner == owner:
        return ledger.with_account(None)
    if kind == ABANDONED and account and account.abandoned and account.email == owner:
        return ledger.with_account(None)
    if kind == IdentityAttachment.__name__ and attachment and attachment.owner == owner:
        return ledger.with_attachment(None)
    if kind == IdentityKey.__name__:
        return ledger.with_key_ring(ledger.key_ring.without_owner(owner))
    if kind == CustomRole.__name__:
        for role in ledger.roles:
            if role.owner == owner and role.state is not RoleState.DELETED:
                ledger = ledger.without_role(role.role_id)
    return ledger
