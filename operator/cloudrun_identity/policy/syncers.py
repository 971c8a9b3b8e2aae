"""The entry point of the policy engine: objects declare grants and wait for the sync of their policies."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from cloudrun_identity.api import GrantState, TargetKind
from cloudrun_identity.gcp.ratelimit import without_slot
from cloudrun_identity.iam.grants import Grant, Target, order
from cloudrun_identity.ledger.owners import Owner

from .desired_grants import RETAIN_ALL, DesiredGrant, DesiredGrants
from .in_sync import are_grants_in_sync, needs_write
from .ports import SyncerPorts
from .registrations import Registration, Registrations
from .results import GrantResult, GrantSyncResult, ResyncResult, SyncResult
from .syncer import PolicySyncer
from .temporary_grants import is_due, recorded_end


class PolicySyncers:
    """The syncers of all policies.

    An object declares its grants with `declare` and waits for the next sync with `sync`. However many objects
    have grants on a policy, a sync reads it once and writes it at most once.
    """

    def __init__(self, ports: SyncerPorts) -> None:
        self._ports = ports
        self._registrations = Registrations()
        self._syncers: dict[Target, PolicySyncer] = {}

    @property
    def is_complete(self) -> bool:
        """Return whether every expected object has declared its grants, so that grants may be released."""
        return self._registrations.is_complete

    def expect(self, owners: Iterable[Owner]) -> None:
        """Add existing objects. No grant is released before all of them have declared their grants."""
        self._registrations.expect(owners)

    def expect_release(self, owner: Owner) -> None:
        """Note that an object was deleted: the next syncs wait a moment for its release, to include it."""
        self._registrations.expect_release(owner)

    def end_upcoming_release(self, owner: Owner) -> None:
        """Note that a deleted object has released its grants, or cannot do so now."""
        self._registrations.end_upcoming_release(owner)

    def declare(self, desired: DesiredGrants) -> None:
        """Register the desired grants of an object, in place of its former ones. This starts no sync."""
        self._registrations.declare(desired)

    def retain(self, owner: Owner) -> None:
        """Retain all grants of an object that cannot declare them now; keep an earlier declaration."""
        if not self._registrations.has(owner):
            self.retain_all(owner)

    def retain_all(self, owner: Owner) -> None:
        """Retain all grants of an object, whatever it declared before."""
        self._registrations.declare(DesiredGrants(owner, retains=(RETAIN_ALL,), writable=False))

    def desired_grants_of(self, owner: Owner) -> frozenset[DesiredGrant]:
        """Return the desired grants of an object; none if it has declared nothing."""
        if not self._registrations.has(owner):
            return frozenset()
        return self._registrations.of(owner).desired.desired_grants

    def about_to_hold(self, role: str, project_id: str) -> Iterator[tuple[Grant, str]]:
        """Return every desired grant of a role in a project, with its owner as ledgers name it.

        Together with the ledgers, these are all managed grants of the role, present or upcoming.
        """
        for target in [each for each in self._registrations.targets() if each.project_id == project_id]:
            for declared in self._registrations.on(target):
                for desired in declared.on(target) if declared.writable else ():
                    if desired.grant.role == role:
                        yield desired.grant, str(declared.owner)

    def exclusive_owner(self, grant: Grant) -> Owner:
        """Return the object that declares the binding of a grant exclusively; raises LookupError."""
        for desired in self._registrations.on(grant.target):
            if grant.binding_key in desired.exclusive:
                return desired.owner
        raise LookupError(f"no object declares the binding of {grant} exclusively")

    def forget(self, owner: Owner) -> None:
        """Drop the registration of a deleted object. Its remaining ledger entries are kept as orphans."""
        targets = self._registrations.targets_of(owner)
        self._registrations.forget(owner)
        self._retire(targets)

    def held_by(self, owner: Owner) -> frozenset[Target]:
        """Return the targets with ledger entries of an object, or of a predecessor of its name."""
        return self._ports.ledgers.held_by(owner.owner_key)

    def check_complete(self) -> None:
        """Raise an error while a stored ledger is unknown.

        An object that is deleted meanwhile could leave grants that only this ledger records.
        """
        self._ports.ledgers.check_complete()

    async def sync(self, owner: Owner, *, max_age: float = 0.0) -> GrantSyncResult:
        """Sync the policies of an object: those with a desired grant, and those with a ledger entry.

        The result is that of syncs that began after the declaration and at most `max_age` seconds ago. Errors
        of Google Cloud are part of the result; errors of the ledger are raised. The slot of the worker is
        released while the syncs are waited for.
        """
        registration = self._registrations.of(owner)
        targets = registration.desired.targets | self.held_by(owner)
        active = [target for target in targets if not self._ports.is_suspended(target.project_id)]
        results = await self._results(
            active,
            since=registration.since,
            max_age=max_age,
            desired=registration.desired,
        )
        return self._result_of(registration, results)

    async def resync(self, project_id: str) -> ResyncResult:
        """Sync all policies of a project. Return the objects with drift or without a desired grant.

        A policy on which all objects only retain grants, such as suspended ones, is not read.
        """
        targets = {target for target in self._registrations.targets() if target.project_id == project_id}
        recorded = self._ports.ledgers.targets(project_id)
        targets |= {target for target in recorded if not self._retains_all(target)}
        now = asyncio.get_running_loop().time()
        # The objects of a full or invalid ledger report it; the resync continues.
        results = await self._results(targets, since=now, max_age=0.0, tolerant=True)
        return ResyncResult(
            self._registrations.with_drift() | self._differing(results),
            any(result.fault is not None and not result.missing for result in results.values()),
        )

    def _differing(self, results: Mapping[Target, SyncResult]) -> frozenset[Owner]:
        """Return the objects that desire a grant that a sync did not find or make."""
        return frozenset(
            declared.owner
            for target, result in results.items()
            if not result.all_in_sync
            for declared in self._registrations.on(target)
            if not _is_in_sync(declared, target, result)
        )

    def concerns(self, target: Target) -> bool:
        """Return whether an object desires or holds a grant on a target, or its ledger has any entry."""
        return bool(self._registrations.mentions(target) or self._ports.ledgers.ledger(target).entries)

    def declared_on(self, kind: TargetKind, name: str) -> frozenset[Target]:
        """Return the targets of a kind and a name, in whichever project objects declare them."""
        return frozenset(
            target for target in self._registrations.targets() if (target.kind, target.name) == (kind, name)
        )

    async def resync_target(self, target: Target) -> frozenset[Owner]:
        """Sync the policy of one target. Return the objects on it with drift or unmet grants."""
        if self._ports.is_suspended(target.project_id) or self._retains_all(target):
            return frozenset()
        now = asyncio.get_running_loop().time()
        results = await self._results((target,), since=now, max_age=0.0, tolerant=True)
        drifted = self._registrations.with_drift()
        concerned = {each.owner for each in self._registrations.on(target)}
        return (drifted & concerned) | self._differing(results)

    async def close(self) -> None:
        """Stop all syncers, even during a sync."""
        await asyncio.gather(*(syncer.close() for syncer in self._syncers.values()))

    async def _results(
        self,
        targets: Iterable[Target],
        *,
        since: float,
        max_age: float,
        desired: DesiredGrants | None = None,
        tolerant: bool = False,
    ) -> dict[Target, SyncResult]:
        """Return the result of each syncer. An error is raised, or left out by a `tolerant` call.

        `desired` are the grants for which the syncs are requested; None if all objects are concerned.
        """
        syncers = {target: self._syncer(target) for target in sorted(targets)}
        try:
            requests = [
                syncer.request(
                    since=since,
                    max_age=max_age,
                    in_sync_after=partial(self._in_sync_after, desired, target) if desired else None,
                    writes=desired is not None and needs_write(desired, self._ports.ledgers.ledger(target)),
                )
                for target, syncer in syncers.items()
            ]
            if all(request.done() for request in requests):
                results = await _all(requests, tolerant=tolerant)
            else:
                async with without_slot():
                    results = await _all(requests, tolerant=tolerant)
        finally:
            self._retire(syncers)
        found = dict(zip(syncers, results, strict=True))
        return {target: result for target, result in found.items() if isinstance(result, SyncResult)}

    def _in_sync_after(self, desired: DesiredGrants, target: Target, result: SyncResult) -> bool:
        """Return whether a sync would change nothing for these grants on a target."""
        return are_grants_in_sync(desired, self._ports.ledgers.ledger(target), result)

    def _result_of(self, registration: Registration, results: Mapping[Target, SyncResult]) -> GrantSyncResult:
        """Return the result for one object, and mark its drift as reported."""
        desired = registration.desired
        owner_key = desired.owner.owner_key
        released, drifted, removed_unmanaged, made_by_others = (
            tuple(sorted(grants, key=_position))
            for grants in (
                self._released(desired),
                registration.drifted,
                registration.removed_unmanaged,
                registration.made_by_others,
            )
        )
        registration.drifted.clear()
        registration.removed_unmanaged.clear()
        registration.made_by_others.clear()
        registration.is_renamed = False
        return GrantSyncResult(
            grant_results=tuple(
                self._grant_result(each, owner_key, results.get(each.grant.target))
                for each in sorted(desired.desired_grants, key=lambda each: _position(each.grant))
            ),
            drifted=drifted,
            removed_unmanaged=removed_unmanaged,
            made_by_others=made_by_others,
            releasing=tuple(grant for grant in released if grant.target in results),
            halted=tuple(grant for grant in released if grant.target not in results),
            unmanaged=tuple(
                grant
                for result in results.values()
                for grant in result.unmanaged
                if grant.binding_key in desired.exclusive
            ),
            conflicting=tuple(
                result.conflicting[owner_key]
                for result in results.values()
                if owner_key in result.conflicting
            ),
            missing=tuple(target for target, result in results.items() if result.missing),
            replaced=tuple(target for target, result in results.items() if result.replaced),
            faults={
                target: result.fault
                for target, result in results.items()
                if result.fault and not result.missing
            },
        )

    def _retains_all(self, target: Target) -> bool:
        """Return whether all objects only retain grants on a target, and none of these grants is over."""
        ledger = self._ports.ledgers.ledger(target)
        declared = self._registrations.concerning(ledger)
        return (
            bool(declared)
            and all(each.retains_all for each in declared)
            and not any(is_due(ledger, each.owner.owner_key, self._ports.wall_clock()) for each in declared)
        )

    def _syncer(self, target: Target) -> PolicySyncer:
        if target not in self._syncers:
            self._syncers[target] = PolicySyncer(target, self._ports, self._registrations)
        return self._syncers[target]

    def _retire(self, targets: Iterable[Target]) -> None:
        """Drop idle syncers of policies that no object mentions and no ledger entry exists for."""
        for target in targets:
            syncer = self._syncers.get(target)
            needed = self._registrations.mentions(target) or self._ports.ledgers.ledger(target).entries
            if syncer and syncer.is_idle and not needed:
                del self._syncers[target]

    def _grant_result(self, desired: DesiredGrant, owner_key: str, result: SyncResult | None) -> GrantResult:
        grant, ledger = desired.grant, self._ports.ledgers.ledger(desired.grant.target)
        term = recorded_end(ledger, owner_key, desired)
        if term and term.is_over(self._ports.wall_clock()):
            return GrantResult(grant, GrantState.EXPIRED, expires_at=term.end)
        found = self._present_or_not(grant, result)
        return replace(found, expires_at=term.end) if term else found

    def _present_or_not(self, grant: Grant, result: SyncResult | None) -> GrantResult:
        entry = self._ports.ledgers.ledger(grant.target).entries.get(grant)
        if result and (not result.fault or result.missing):
            found = result.grant_result(grant)
        else:
            found = GrantResult(grant, entry.state if entry else GrantState.PENDING)
        if not entry or entry.registered_together or len(entry.registered_members) != 1:
            return found
        return replace(found, registered_member=entry.registered_members[0])

    def _released(self, desired: DesiredGrants) -> Iterable[Grant]:
        """Return the ledger entries of an object that it no longer keeps."""
        owner_key = desired.owner.owner_key
        for target in self._ports.ledgers.held_by(owner_key):
            for grant in self._ports.ledgers.ledger(target).held_by(owner_key):
                if not desired.keeps(grant):
                    yield grant


def _position(grant: Grant) -> tuple[Target, tuple[str, str, str]]:
    """Return the sort key of a grant among those of several policies."""
    return grant.target, order(grant)


async def _all(
    requests: Sequence[asyncio.Future[SyncResult]], *, tolerant: bool
) -> Sequence[SyncResult | BaseException]:
    """Wait for all results. An error is raised, or returned to a `tolerant` caller."""
    if len(requests) == 1 and not tolerant:
        return [await requests[0]]  # `gather` takes a KiB for each of thousands of objects that wait
    return await asyncio.gather(*requests, return_exceptions=tolerant)


def _is_in_sync(declared: DesiredGrants, target: Target, result: SyncResult) -> bool:
    """Return whether all desired grants are present, and no unmanaged one is in an exclusive binding."""
    return all(desired.grant in result.present for desired in declared.on(target)) and not any(
        grant.binding_key in declared.exclusive for grant in result.unmanaged
    )
