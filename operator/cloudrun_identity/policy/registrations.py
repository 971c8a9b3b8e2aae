"""The board on which every object's declaration hangs, for the lanes to read."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.ledger.owners import Owner

from .desired_grants import DesiredGrants


@dataclass(slots=True)
class Registration:
    """What one object declared last, since when (in the loop's time), and drift it has not been told of.

    `drifted` are claims that were found missing, `evicted` others that were found in a binding of its own.
    """

    desired: DesiredGrants
    since: float
    drifted: dict[Grant, None] = field(default_factory=dict)
    removed_unmanaged: dict[Grant, None] = field(default_factory=dict)


class Registrations:
    """What every object declares, by object and by target."""

    def __init__(self) -> None:
        self._by_owner_key: dict[str, Registration] = {}
        self._on: defaultdict[Target, set[str]] = defaultdict(set)
        self._expected: set[str] = set()

    def expect(self, owners: Iterable[Owner]) -> None:
        """Name objects that have yet to declare themselves."""
        self._expected |= {owner.owner_key for owner in owners} - self._by_owner_key.keys()

    @property
    def complete(self) -> bool:
        """Whether every expected object has declared: only then is an unclaimed grant nobody's."""
        return not self._expected

    def declare(self, desired: DesiredGrants) -> None:
        """Replace what that object, or a predecessor of its name, declared before."""
        owner_key = desired.owner.owner_key
        self._expected.discard(owner_key)
        before = self._by_owner_key.get(owner_key)
        if before and before.desired == desired:
            return
        self._unindex(owner_key)
        now = asyncio.get_running_loop().time()
        unreported = (before.drifted, before.removed_unmanaged) if before else ({}, {})
        self._by_owner_key[owner_key] = Registration(desired, now, *unreported)
        for target in _spoken_of(desired):
            self._on[target].add(owner_key)

    def has(self, owner: Owner) -> bool:
        """Whether the object, or a predecessor of its name, has declared anything."""
        return owner.owner_key in self._by_owner_key

    def forget(self, owner: Owner) -> None:
        """The object is gone, and so is all it held."""
        self._expected.discard(owner.owner_key)
        self._unindex(owner.owner_key)
        self._by_owner_key.pop(owner.owner_key, None)

    def of(self, owner: Owner) -> Registration:
        """What the object declared last.

        Raises:
            KeyError: it has declared nothing.

        """
        return self._by_owner_key[owner.owner_key]

    def concerning(self, ledger: Ledger) -> list[DesiredGrants]:
        """The declarations of who speaks of the ledger's target, or holds something there.

        An object that declares nothing on a target may still hold grants there, to be released.
        """
        owner_keys = self._on.get(ledger.target, set()) | ledger.owner_keys
        return [
            self._by_owner_key[owner_key].desired
            for owner_key in sorted(owner_keys)
            if owner_key in self._by_owner_key
        ]

    def on(self, target: Target) -> list[DesiredGrants]:
        """The declarations that speak of a target."""
        return [self._by_owner_key[owner_key].desired for owner_key in self._on.get(target, ())]

    def targets(self) -> Iterable[Target]:
        """Every target that some declaration speaks of."""
        return self._on.keys()

    def targets_of(self, owner: Owner) -> frozenset[Target]:
        """Every target that the object's declaration speaks of; none if it has declared nothing."""
        present = self._by_owner_key.get(owner.owner_key)
        return _spoken_of(present.desired) if present else frozenset()

    def has_upcoming(self, target: Target) -> bool:
        """Whether some object is about to claim more on `target`."""
        return any(
            target in self._by_owner_key[owner_key].desired.upcoming for owner_key in self._on.get(target, ())
        )

    def drifted(self, grants: Iterable[Grant]) -> None:
        """Remember for every claimant of these grants that they were found missing."""
        missing = set(grants)
        for target in {grant.target for grant in missing}:
            for owner_key in self._on.get(target, ()):
                present = self._by_owner_key[owner_key]
                for desired_grant in present.desired.on(target):
                    if desired_grant.grant in missing:
                        present.drifted[desired_grant.grant] = None

    def removed_unmanaged(self, grants: Iterable[Grant]) -> None:
        """Remember for whoever wants these bindings alone that others were found in them."""
        for grant in grants:
            for owner_key in self._on.get(grant.target, ()):
                if grant.binding_key in self._by_owner_key[owner_key].desired.exclusive:
                    self._by_owner_key[owner_key].removed_unmanaged[grant] = None

    def with_drift(self) -> frozenset[Owner]:
        """The objects that have drift they have not been told of."""
        return frozenset(
            present.desired.owner
            for present in self._by_owner_key.values()
            if present.drifted or present.removed_unmanaged
        )

    def _unindex(self, owner_key: str) -> None:
        present = self._by_owner_key.get(owner_key)
        if not present:
            return
        for target in _spoken_of(present.desired):
            self._on[target].discard(owner_key)
            if not self._on[target]:
                del self._on[target]


def _spoken_of(desired: DesiredGrants) -> frozenset[Target]:
    return desired.targets | desired.upcoming
