"""One lane per IAM policy: however many objects declare grants on it, one read and at most one write a pass.

Objects `declare` what they want; `converge` answers with the outcome of the first pass that began after that.
All who ask while a pass is under way, or while it lingers for company, share the next one.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from cloudrun_identity.api import GrantState
from cloudrun_identity.gcp.errors import GoogleError
from cloudrun_identity.iam.claims import HOLD_EVERYTHING, Claim, Claimant, Declaration
from cloudrun_identity.iam.grants import Grant, Target

from .declarations import Declarations
from .lane import Lane
from .passes import PassResult, Verdict
from .ports import LanePorts


@dataclass(frozen=True, slots=True)
class Convergence:
    """What became of one object's declaration.

    `verdicts` has one entry a claim; `drifted` are claims that had been granted and were found missing,
    `evicted` grants of others that were found in a binding that the object wants alone,
    `releasing` grants let go that still stand, `halted` those of them in projects that are suspended, where
    nothing is looked at. `intruders` are others in a binding that the object wants alone, and `contested` a
    claim of another object there. `missing` targets that do not exist. `faults` kept a policy from being read
    or written at all; the claims there have the state they were last known in.
    """

    verdicts: tuple[Verdict, ...] = ()
    drifted: tuple[Grant, ...] = ()
    evicted: tuple[Grant, ...] = ()
    releasing: tuple[Grant, ...] = ()
    halted: tuple[Grant, ...] = ()
    intruders: tuple[Grant, ...] = ()
    contested: tuple[Grant, ...] = ()
    missing: tuple[Target, ...] = ()
    faults: Mapping[Target, GoogleError] = field(default_factory=dict)


class Lanes:
    """All lanes of the process."""

    def __init__(self, ports: LanePorts) -> None:
        self._ports = ports
        self._declarations = Declarations()
        self._lanes: dict[Target, Lane] = {}

    def expect(self, claimants: Iterable[Claimant]) -> None:
        """Name objects that have yet to declare: until they have, nothing is released."""
        self._declarations.expect(claimants)

    def declare(self, declaration: Declaration) -> None:
        """Take note of what an object wants, in place of what it declared before. Nothing is done yet."""
        self._declarations.declare(declaration)

    def hold(self, claimant: Claimant) -> None:
        """Have an object that cannot declare now keep what it holds; what it declared before stands."""
        if not self._declarations.has(claimant):
            self.freeze(claimant)

    def freeze(self, claimant: Claimant) -> None:
        """Have an object keep what it holds, whatever it declared before."""
        self._declarations.declare(Declaration(claimant, holds=(HOLD_EVERYTHING,), writable=False))

    def claims_of(self, claimant: Claimant) -> frozenset[Claim]:
        """What the object claims now; nothing if it has declared nothing."""
        if not self._declarations.has(claimant):
            return frozenset()
        return self._declarations.of(claimant).declaration.claims

    def about_to_hold(self, role: str, project_id: str) -> Iterator[tuple[Grant, str]]:
        """Every grant of a role in a project that some object wants written, and that object as ledgers do.

        With what the ledgers hold that is everybody who has the role from us, or is about to.
        """
        for target in [each for each in self._declarations.targets() if each.project_id == project_id]:
            for declaration in self._declarations.on(target):
                for claim in declaration.on(target) if declaration.writable else ():
                    if claim.grant.role == role:
                        yield claim.grant, str(declaration.claimant)

    def forget(self, claimant: Claimant) -> None:
        """The object is gone; what it still holds in a ledger is kept, as that of a missing claimant."""
        targets = self._declarations.targets_of(claimant)
        self._declarations.forget(claimant)
        self._retire(targets)

    def held_by(self, claimant: Claimant) -> frozenset[Target]:
        """The targets on which the object, or a predecessor of its name, holds anything."""
        return self._ports.ledgers.held_by(claimant.seat)

    def check_complete(self) -> None:
        """Make sure that all that anybody holds is known; raises an error of the ledgers' where one is not.

        Whoever ended before would leave behind what only that ledger knows of.
        """
        self._ports.ledgers.check_complete()

    async def converge(self, claimant: Claimant, *, max_age: float = 0.0) -> Convergence:
        """Bring the policies that the object has to do with to what all objects declare.

        Answers from passes that began after the declaration was made and at most `max_age` seconds ago, else
        from new ones. Google's faults are in the answer; an error of the ledger's is raised.
        """
        standing = self._declarations.of(claimant)
        targets = standing.declaration.targets | self.held_by(claimant)
        working = [target for target in targets if not self._ports.is_suspended(target.project_id)]
        results = await self._results(working, since=standing.since, max_age=max_age)
        releasing = tuple(self._releasing(standing.declaration))
        drifted = tuple(standing.drifted)
        standing.drifted.clear()
        evicted = tuple(standing.evicted)
        standing.evicted.clear()
        return Convergence(
            verdicts=tuple(
                self._verdict(claim.grant, results.get(claim.grant.target))
                for claim in standing.declaration.claims
            ),
            drifted=drifted,
            evicted=evicted,
            releasing=tuple(grant for grant in releasing if grant.target in results),
            halted=tuple(grant for grant in releasing if grant.target not in results),
            intruders=tuple(
                grant
                for result in results.values()
                for grant in result.intruders
                if grant.slot in standing.declaration.exclusive
            ),
            contested=tuple(
                result.contested[claimant.seat]
                for result in results.values()
                if claimant.seat in result.contested
            ),
            missing=tuple(target for target, result in results.items() if result.missing),
            faults={
                target: result.fault
                for target, result in results.items()
                if result.fault and not result.missing
            },
        )

    async def sweep(self, project_id: str) -> frozenset[Claimant]:
        """Run the lanes of one project; return the objects that are not, or were not, as they declare.

        A policy of which only frozen objects, such as suspended ones, hold anything is not even read.
        """
        targets = {target for target in self._declarations.targets() if target.project_id == project_id}
        held = self._ports.ledgers.targets(project_id)
        targets |= {target for target in held if not self._is_frozen(target)}
        now = asyncio.get_running_loop().time()
        # A ledger that is full or unreadable is told by the objects that it concerns, and stops no sweep.
        results = await self._results(targets, since=now, max_age=0.0, tolerant=True)
        return self._declarations.with_drift() | {
            declaration.claimant
            for target, result in results.items()
            for declaration in self._declarations.on(target)
            if not _is_met(declaration, target, result)
        }

    async def close(self) -> None:
        """End every lane, in the middle of a pass if need be."""
        await asyncio.gather(*(lane.close() for lane in self._lanes.values()))

    async def _results(
        self, targets: Iterable[Target], *, since: float, max_age: float, tolerant: bool = False
    ) -> dict[Target, PassResult]:
        """The result of each lane; an error is raised, or of a `tolerant` call left out."""
        lanes = {target: self._lane(target) for target in targets}
        try:
            results = await asyncio.gather(
                *(lane.result(since=since, max_age=max_age) for lane in lanes.values()),
                return_exceptions=tolerant,
            )
        finally:
            self._retire(lanes)
        found = dict(zip(lanes, results, strict=True))
        return {target: result for target, result in found.items() if isinstance(result, PassResult)}

    def _is_frozen(self, target: Target) -> bool:
        holders = self._declarations.concerning(self._ports.ledgers.ledger(target))
        return bool(holders) and all(each.is_frozen for each in holders)

    def _lane(self, target: Target) -> Lane:
        if target not in self._lanes:
            self._lanes[target] = Lane(target, self._ports, self._declarations)
        return self._lanes[target]

    def _retire(self, targets: Iterable[Target]) -> None:
        """Forget the lanes of policies that no object speaks of any more, and that hold nothing of ours."""
        for target in targets:
            lane = self._lanes.get(target)
            wanted = self._declarations.on(target) or self._ports.ledgers.ledger(target).holdings
            if lane and lane.is_idle and not wanted:
                del self._lanes[target]

    def _verdict(self, grant: Grant, result: PassResult | None) -> Verdict:
        if result and (not result.fault or result.missing):
            return result.verdict(grant)
        holding = self._ports.ledgers.ledger(grant.target).holdings.get(grant)
        return Verdict(grant, holding.state if holding else GrantState.PENDING)

    def _releasing(self, declaration: Declaration) -> Iterable[Grant]:
        seat = declaration.claimant.seat
        for target in self._ports.ledgers.held_by(seat):
            for grant in self._ports.ledgers.ledger(target).held_by(seat):
                if not declaration.keeps(grant):
                    yield grant


def _is_met(declaration: Declaration, target: Target, result: PassResult) -> bool:
    """Whether a pass found on its target all that an object declares there, and nobody else it objects to."""
    return all(claim.grant in result.standing for claim in declaration.on(target)) and not any(
        grant.slot in declaration.exclusive for grant in result.intruders
    )
