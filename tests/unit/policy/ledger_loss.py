"""Whose every grant in a policy is, as an onlooker must judge it who sees all edits but no thoughts."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from cloudrun_identity.iam.grants import Grant


@dataclass
class Custody:
    """`theirs` are grants of others, with their spellings: these must stand, exactly so.

    `either` are those that may stand or go, because nobody can tell whose they are (we died between a write
    and its record while somebody made the same grant), or because both are right (an intruder in a binding
    that an object is about to have alone). What is neither is ours.
    """

    theirs: dict[Grant, Counter[str]] = field(default_factory=dict)
    either: set[Grant] = field(default_factory=set)

    def take(self, grant: Grant, spellings: Counter[str]) -> None:
        """It is somebody else's for certain, unless it was in doubt before."""
        if grant not in self.either:
            self.theirs[grant] = spellings

    def doubt(self, grants: Iterable[Grant]) -> None:
        """From now on these may stand or go."""
        for grant in list(grants):
            self.theirs.pop(grant, None)
            self.either.add(grant)

    def settle(self, present: Collection[Grant], held: Collection[Grant]) -> frozenset[Grant]:
        """At rest most doubts are over; returns what stands and is nobody's but somebody else's now."""
        self.either &= {*present, *held}
        settled = frozenset(self.either & {*present} - {*held})
        self.either -= settled
        return settled

    @property
    def known(self) -> set[Grant]:
        """All that is not simply ours."""
        return self.theirs.keys() | self.either
