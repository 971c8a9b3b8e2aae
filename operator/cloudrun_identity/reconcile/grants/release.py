"""Release every grant that an object holds."""

from cloudrun_identity.api import ProjectScopedResource, Reason
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.desired_grants import RETAIN_ALL, DesiredGrants, Retain
from cloudrun_identity.policy.syncers import PolicySyncers
from cloudrun_identity.reconcile.cluster_state import ClusterState, ledger_owner
from cloudrun_identity.reconcile.outcomes import InSync, Outcome, Waiting, outcome_of_undoing

from .claims import claimed_grants
from .resolver import claims_existing

SUSPENDED_RECHECK = 15.0
"""Seconds until a release in a suspended project is tried again."""

RELEASE_RECHECK = 1.0
"""Seconds until a release that has begun is checked."""


def waits_for_project(grant: Grant) -> str:
    """Return why a grant is not released now."""
    return f"Releasing {grant} waits: project {grant.target.project_id} is suspended"


class Releaser:
    """Release grants through the policy engine, without a worker's slot while it waits."""

    def __init__(self, syncers: PolicySyncers, cluster: ClusterState | None = None) -> None:
        """Without `cluster`, no grant that existed before its object is removed."""
        self._syncers = syncers
        self._cluster = cluster

    def claims_of(self, obj: ProjectScopedResource) -> frozenset[Grant]:
        """Return the grants that existed before the object and that it claims."""
        return self.claimed_by(ledger_owner(obj)) if claims_existing(obj) else frozenset()

    def claimed_by(self, owner: Owner) -> frozenset[Grant]:
        """Return the grants that existed before the object of this name, and that it may claim."""
        if self._cluster is None:
            return frozenset()
        return claimed_grants(owner, self._syncers.held_by(owner), self._cluster)

    async def release(
        self, obj: ProjectScopedResource, *, declared: tuple[Retain, ...], abandon: bool, ends: str = ""
    ) -> Outcome:
        """Release the grants of an object; InSync once it holds none.

        `abandon` leaves the `declared` grants in place; the object is only removed from the ledger. The
        account of the member `ends` is deleted next: its grants have no use any more.
        """
        return await self._release(
            DesiredGrants(
                ledger_owner(obj),
                abandon=abandon,
                declared=declared,
                claims=self.claims_of(obj) | self._granted_to(ends, ledger_owner(obj)),
                ending=True,
            )
        )

    def _granted_to(self, member: str, owner: Owner) -> frozenset[Grant]:
        """Return the grants to a member that the ledgers record for an owner."""
        if self._cluster is None or not member:
            return frozenset()
        return frozenset(
            grant
            for target in self._syncers.held_by(owner)
            for grant in self._cluster.ledger(target).held_by(owner.owner_key)
            if grant.member == member
        )

    async def release_all(
        self,
        owner: Owner,
        *,
        abandon: bool,
        claims: frozenset[Grant],
        retains: tuple[Retain, ...] = (),
    ) -> Outcome:
        """Release the grants of an object that is known by its name alone, except those in `retains`.

        `abandon` leaves all in place. `claims` are grants to remove although they existed before the object.
        """
        return await self._release(
            DesiredGrants(
                owner,
                retains=retains,
                abandon=abandon,
                declared=(RETAIN_ALL,) if abandon else (),
                claims=claims,
                ending=True,
            )
        )

    async def _release(self, desired: DesiredGrants) -> Outcome:
        owner = desired.owner
        self._syncers.declare(desired)
        synced = await self._syncers.sync(owner)
        if synced.halted:
            return Waiting(Reason.DELETING, waits_for_project(synced.halted[0]), after=SUSPENDED_RECHECK)
        if synced.releasing:
            what = str(synced.releasing[0])
            for fault in synced.faults.values():
                return outcome_of_undoing(fault, f"releasing {what}")
            return Waiting(Reason.DELETING, f"Releasing {what}", after=RELEASE_RECHECK)
        return InSync()
