"""One lane per IAM policy: however many objects declare grants on it, one read and at most one write a pass.

Objects `declare` what they want; `converge` answers with the outcome of the first pass that began after that.
All who ask while a pass is under way, or while it lingers for company, share the next one.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from cloudrun_identity.api import GrantState
from cloudrun_identity.gcp.errors import GoogleError
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.owners import Owner

from .desired_grants import RETAIN_ALL, DesiredGrant, DesiredGrants
from .ports import SyncerPorts
from .registrations import Registrations
from .sync import GrantResult, SyncResult
from .syncer import PolicySyncer


@dataclass(frozen=True, slots=True)
class GrantSyncResult:
    """What became of one object's declaration.

    `verdicts` has one entry a claim; `drifted` are claims that had been granted and were found missing,
    `evicted` grants of others that were found in a binding that the object wants alone,
    `releasing` grants let go that still stand, `halted` those of them in projects that are suspended, where
    nothing is looked at. `intruders` are others in a binding that the object wants alone, and `contested` a
    claim of another object there. `missing` targets that do not exist. `faults` kept a policy from being read
    or written at all; the claims there have the state they were last known in.
    """

    grant_results: tuple[GrantResult, ...] = ()
    drifted: tuple[Grant, ...] = ()
    removed_unmanaged: tuple[Grant, ...] = ()
    releasing: tuple[Grant, ...] = ()
    halted: tuple[Grant, ...] = ()
    unmanaged: tuple[Grant, ...] = ()
    contested: tuple[Grant, ...] = ()
    missing: tuple[Target, ...] = ()
    faults: Mapping[Target, GoogleError] = field(default_factory=dict)


class PolicySyncers:
    """All lanes of the process."""

    def __init__(self, ports: SyncerPorts) -> None:
        self._ports = ports
        self._registrations = Registrations()
        self._syncers: dict[Target, PolicySyncer] = {}

    def expect(self, owners: Iterable[Owner]) -> None:
        """Name objects that have yet to declare: until they have, nothing is released."""
        self._registrations.expect(owners)

    def declare(self, desired: DesiredGrants) -> None:
        """Take note of what an object wants, in place of what it declared before. Nothing is done yet."""
        self._registrations.declare(desired)

    def retain(self, owner: Owner) -> None:
        """Have an object that cannot declare now keep what it holds; what it declared before stands."""
        if not self._registrations.has(owner):
            self.retain_all(owner)

    def retain_all(self, owner: Owner) -> None:
        """Have an object keep what it holds, whatever it declared before."""
        self._registrations.declare(DesiredGrants(owner, retains=(RETAIN_ALL,), writable=False))

    def desired_grants_of(self, owner: Owner) -> frozenset[DesiredGrant]:
        """What the object claims now; nothing if it has declared nothing."""
        if not self._registrations.has(owner):
            return frozenset()
        return self._registrations.of(owner).desired.desired_grants

    def about_to_hold(self, role: str, project_id: str) -> Iterator[tuple[Grant, str]]:
        """Every grant of a role in a project that some object wants written, and that object as ledgers do.

        With what the ledgers hold that is everybody who has the role from us, or is about to.
        """
        for target in [each for each in self._registrations.targets() if each.project_id == project_id]:
            for desired in self._registrations.on(target):
                for desired_grant in desired.on(target) if desired.writable else ():
                    if desired_grant.grant.role == role:
                        yield desired_grant.grant, str(desired.owner)

    def exclusive_owner(self, grant: Grant) -> Owner:
        """Return the object that declares the binding of a grant exclusively; raises LookupError."""
        for desired in self._registrations.on(grant.target):
            if grant.binding_key in desired.exclusive:
                return desired.owner
        raise LookupError(f"no object declares the binding of {grant} exclusively")

    def forget(self, owner: Owner) -> None:
        """The object is gone; what it still holds in a ledger is kept, as that of a missing claimant."""
        targets = self._registrations.targets_of(owner)
        self._registrations.forget(owner)
        self._retire(targets)

    def held_by(self, owner: Owner) -> frozenset[Target]:
        """The targets on which the object, or a predecessor of its name, holds anything."""
        return self._ports.ledgers.held_by(owner.owner_key)

    def check_complete(self) -> None:
        """Make sure that all that anybody holds is known; raises an error of the ledgers' where one is not.

        Whoever ended before would leave behind what only that ledger knows of.
        """
        self._ports.ledgers.check_complete()

    async def sync(self, owner: Owner, *, max_age: float = 0.0) -> GrantSyncResult:
        """Bring the policies that the object has to do with to what all objects declare.

        Answers from passes that began after the declaration was made and at most `max_age` seconds ago, else
        from new ones. Google's faults are in the answer; an error of the ledger's is raised.
        """
        present = self._registrations.of(owner)
        targets = present.desired.targets | self.held_by(owner)
        working = [target for target in targets if not self._ports.is_suspended(target.project_id)]
        results = await self._results(working, since=present.since, max_age=max_age)
        releasing = tuple(self._releasing(present.desired))
        drifted = tuple(present.drifted)
        present.drifted.clear()
        removed_unmanaged = tuple(present.removed_unmanaged)
        present.removed_unmanaged.clear()
        return GrantSyncResult(
            grant_results=tuple(
                self._grant_result(desired_grant.grant, results.get(desired_grant.grant.target))
                for desired_grant in present.desired.desired_grants
            ),
            drifted=drifted,
            removed_unmanaged=removed_unmanaged,
            releasing=tuple(grant for grant in releasing if grant.target in results),
            halted=tuple(grant for grant in releasing if grant.target not in results),
            unmanaged=tuple(
                grant
                for result in results.values()
                for grant in result.unmanaged
                if grant.binding_key in present.desired.exclusive
            ),
            contested=tuple(
                result.contested[owner.owner_key]
                for result in results.values()
                if owner.owner_key in result.contested
            ),
            missing=tuple(target for target, result in results.items() if result.missing),
            faults={
                target: result.fault
                for target, result in results.items()
                if result.fault and not result.missing
            },
        )

    async def resync(self, project_id: str) -> frozenset[Owner]:
        """Run the lanes of one project; return the objects that are not, or were not, as they declare.

        A policy of which only frozen objects, such as suspended ones, hold anything is not even read.
        """
        targets = {target for target in self._registrations.targets() if target.project_id == project_id}
        held = self._ports.ledgers.targets(project_id)
        targets |= {target for target in held if not self._retains_all(target)}
        now = asyncio.get_running_loop().time()
        # A ledger that is full or unreadable is told by the objects that it concerns, and stops no sweep.
        results = await self._results(targets, since=now, max_age=0.0, tolerant=True)
        return self._registrations.with_drift() | {
            desired.owner
            for target, result in results.items()
            for desired in self._registrations.on(target)
            if not _is_met(desired, target, result)
        }

    async def close(self) -> None:
        """End every lane, in the middle of a pass if need be."""
        await asyncio.gather(*(syncer.close() for syncer in self._syncers.values()))

    async def _results(
        self, targets: Iterable[Target], *, since: float, max_age: float, tolerant: bool = False
    ) -> dict[Target, SyncResult]:
        """The result of each lane; an error is raised, or of a `tolerant` call left out."""
        syncers = {target: self._syncer(target) for target in targets}
        try:
            results = await asyncio.gather(
                *(syncer.result(since=since, max_age=max_age) for syncer in syncers.values()),
                return_exceptions=tolerant,
            )
        finally:
            self._retire(syncers)
        found = dict(zip(syncers, results, strict=True))
        return {target: result for target, result in found.items() if isinstance(result, SyncResult)}

    def _retains_all(self, target: Target) -> bool:
        holders = self._registrations.concerning(self._ports.ledgers.ledger(target))
        return bool(holders) and all(each.retains_all for each in holders)

    def _syncer(self, target: Target) -> PolicySyncer:
        if target not in self._syncers:
            self._syncers[target] = PolicySyncer(target, self._ports, self._registrations)
        return self._syncers[target]

    def _retire(self, targets: Iterable[Target]) -> None:
        """Forget the lanes of policies that no object speaks of any more, and that hold nothing of ours."""
        for target in targets:
            syncer = self._syncers.get(target)
            wanted = self._registrations.on(target) or self._ports.ledgers.ledger(target).entries
            if syncer and syncer.is_idle and not wanted:
                del self._syncers[target]

    def _grant_result(self, grant: Grant, result: SyncResult | None) -> GrantResult:
        if result and (not result.fault or result.missing):
            return result.grant_result(grant)
        entry = self._ports.ledgers.ledger(grant.target).entries.get(grant)
        return GrantResult(grant, entry.state if entry else GrantState.PENDING)

    def _releasing(self, desired: DesiredGrants) -> Iterable[Grant]:
        owner_key = desired.owner.owner_key
        for target in self._ports.ledgers.held_by(owner_key):
            for grant in self._ports.ledgers.ledger(target).held_by(owner_key):
                if not desired.keeps(grant):
                    yield grant


def _is_met(desired: DesiredGrants, target: Target, result: SyncResult) -> bool:
    """Whether a pass found on its target all that an object declares there, and nobody else it objects to."""
    return all(desired_grant.grant in result.present for desired_grant in desired.on(target)) and not any(
        grant.binding_key in desired.exclusive for grant in result.unmanaged
    )
