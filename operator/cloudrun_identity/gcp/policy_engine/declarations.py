"""The board on which every object's declaration hangs, for the lanes to read."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from cloudrun_identity.iam.claims import Claimant, Declaration
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.ledger import Ledger


@dataclass(slots=True)
class Standing:
    """What one object declared last, since when (in the loop's time), and drift it has not been told of.

    `drifted` are claims that were found missing, `evicted` others that were found in a binding of its own.
    """

    declaration: Declaration
    since: float
    drifted: dict[Grant, None] = field(default_factory=dict)
    evicted: dict[Grant, None] = field(default_factory=dict)


class Declarations:
    """What every object declares, by object and by target."""

    def __init__(self) -> None:
        self._seats: dict[str, Standing] = {}
        self._on: defaultdict[Target, set[str]] = defaultdict(set)
        self._expected: set[str] = set()

    def expect(self, claimants: Iterable[Claimant]) -> None:
        """Name objects that have yet to declare themselves."""
        self._expected |= {claimant.seat for claimant in claimants} - self._seats.keys()

    @property
    def complete(self) -> bool:
        """Whether every expected object has declared: only then is an unclaimed grant nobody's."""
        return not self._expected

    def declare(self, declaration: Declaration) -> None:
        """Replace what that object, or a predecessor of its name, declared before."""
        seat = declaration.claimant.seat
        self._expected.discard(seat)
        before = self._seats.get(seat)
        if before and before.declaration == declaration:
            return
        self._unindex(seat)
        now = asyncio.get_running_loop().time()
        untold = (before.drifted, before.evicted) if before else ({}, {})
        self._seats[seat] = Standing(declaration, now, *untold)
        for target in _spoken_of(declaration):
            self._on[target].add(seat)

    def has(self, claimant: Claimant) -> bool:
        """Whether the object, or a predecessor of its name, has declared anything."""
        return claimant.seat in self._seats

    def forget(self, claimant: Claimant) -> None:
        """The object is gone, and so is all it held."""
        self._expected.discard(claimant.seat)
        self._unindex(claimant.seat)
        self._seats.pop(claimant.seat, None)

    def of(self, claimant: Claimant) -> Standing:
        """What the object declared last.

        Raises:
            KeyError: it has declared nothing.

        """
        return self._seats[claimant.seat]

    def concerning(self, ledger: Ledger) -> list[Declaration]:
        """The declarations of who speaks of the ledger's target, or holds something there.

        An object that declares nothing on a target may still hold grants there, to be released.
        """
        seats = self._on.get(ledger.target, set()) | ledger.seats
        return [self._seats[seat].declaration for seat in sorted(seats) if seat in self._seats]

    def on(self, target: Target) -> list[Declaration]:
        """The declarations that speak of a target."""
        return [self._seats[seat].declaration for seat in self._on.get(target, ())]

    def targets(self) -> Iterable[Target]:
        """Every target that some declaration speaks of."""
        return self._on.keys()

    def targets_of(self, claimant: Claimant) -> frozenset[Target]:
        """Every target that the object's declaration speaks of; none if it has declared nothing."""
        standing = self._seats.get(claimant.seat)
        return _spoken_of(standing.declaration) if standing else frozenset()

    def awaits(self, target: Target) -> bool:
        """Whether some object is about to claim more on `target`."""
        return any(target in self._seats[seat].declaration.soon for seat in self._on.get(target, ()))

    def drifted(self, grants: Iterable[Grant]) -> None:
        """Remember for every claimant of these grants that they were found missing."""
        missing = set(grants)
        for target in {grant.target for grant in missing}:
            for seat in self._on.get(target, ()):
                standing = self._seats[seat]
                for claim in standing.declaration.on(target):
                    if claim.grant in missing:
                        standing.drifted[claim.grant] = None

    def evicted(self, grants: Iterable[Grant]) -> None:
        """Remember for whoever wants these bindings alone that others were found in them."""
        for grant in grants:
            for seat in self._on.get(grant.target, ()):
                if grant.slot in self._seats[seat].declaration.exclusive:
                    self._seats[seat].evicted[grant] = None

    def with_drift(self) -> frozenset[Claimant]:
        """The objects that have drift they have not been told of."""
        return frozenset(
            standing.declaration.claimant
            for standing in self._seats.values()
            if standing.drifted or standing.evicted
        )

    def _unindex(self, seat: str) -> None:
        standing = self._seats.get(seat)
        if not standing:
            return
        for target in _spoken_of(standing.declaration):
            self._on[target].discard(seat)
            if not self._on[target]:
                del self._on[target]


def _spoken_of(declaration: Declaration) -> frozenset[Target]:
    return declaration.targets | declaration.soon
