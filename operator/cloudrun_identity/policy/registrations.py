"""Registrations: the desired grants of every object, indexed by owner and by target."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.ledger.owners import Owner

from .desired_grants import DesiredGrants


@dataclass(slots=True)
class Registration:
    """The desired grants of one object, and the drift that was not reported to it yet."""

    desired: DesiredGrants
    """The grants that the object declared last."""
    since: float
    """The event loop time of the declaration."""
    drifted: dict[Grant, None] = field(default_factory=dict)
    """Desired grants that were found missing."""
    removed_unmanaged: dict[Grant, None] = field(default_factory=dict)
    """Unmanaged grants that were removed from an exclusive binding of the object."""
    made_by_others: dict[Grant, None] = field(default_factory=dict)
    """Desired grants that another writer made while the operator was about to."""
    is_renamed: bool = False
    """True if the policy shows a grant under a new address, which the status of the object does not show."""


class Registrations:
    """The registrations of all objects."""

    def __init__(self) -> None:
        self._by_owner_key: dict[str, Registration] = {}
        self._on: defaultdict[Target, dict[str, None]] = defaultdict(dict)
        """The owner keys of the objects that mention a target, in the order of their declarations."""
        self._expected: set[str] = set()
        self._upcoming_releases: defaultdict[Target, dict[str, float]] = defaultdict(dict)
        """By target and owner key, the event loop time of the deletion."""
        self._with_drift: set[str] = set()

    def expect(self, owners: Iterable[Owner]) -> None:
        """Add objects that exist and have not declared their grants yet."""
        self._expected |= {owner.owner_key for owner in owners} - self._by_owner_key.keys()

    @property
    def is_complete(self) -> bool:
        """Return whether every expected object has declared its grants, so that grants may be released."""
        return not self._expected

    def declare(self, desired: DesiredGrants) -> None:
        """Register the desired grants of an object, in place of former ones of the same owner key."""
        owner_key = desired.owner.owner_key
        self._expected.discard(owner_key)
        self.end_upcoming_release(desired.owner)
        before = self._by_owner_key.get(owner_key)
        if before and before.desired == desired:
            return
        self._unindex(owner_key)
        now = asyncio.get_running_loop().time()
        unreported = (before.drifted, before.removed_unmanaged, before.made_by_others) if before else ()
        self._by_owner_key[owner_key] = Registration(desired, now, *unreported)
        for target in _mentioned_targets(desired):
            self._on[target][owner_key] = None

    def has(self, owner: Owner) -> bool:
        """Return whether the object, or a predecessor of its name, is registered."""
        return owner.owner_key in self._by_owner_key

    def forget(self, owner: Owner) -> None:
        """Drop the registration of a deleted object."""
        self._expected.discard(owner.owner_key)
        self.end_upcoming_release(owner)
        self._unindex(owner.owner_key)
        self._by_owner_key.pop(owner.owner_key, None)

    def of(self, owner: Owner) -> Registration:
        """Return the registration of an object.

        Raises:
            KeyError: the object has declared nothing.

        """
        return self._by_owner_key[owner.owner_key]

    def concerning(self, ledger: Ledger) -> list[DesiredGrants]:
        """Return the desired grants of every object that mentions the target or has an entry in the ledger.

        An object that desires no grant on a target may still have entries to release.
        """
        owner_keys = self._on.get(ledger.target, {}).keys() | ledger.owner_keys
        return [
            self._by_owner_key[owner_key].desired
            for owner_key in sorted(owner_keys)
            if owner_key in self._by_owner_key
        ]

    def on(self, target: Target) -> list[DesiredGrants]:
        """Return the desired grants of every object that mentions a target."""
        return [self._by_owner_key[owner_key].desired for owner_key in self._on.get(target, ())]

    def mentions(self, target: Target) -> bool:
        """Return whether any object mentions a target."""
        return target in self._on

    def targets(self) -> Iterable[Target]:
        """Return every target that an object mentions."""
        return self._on.keys()

    def targets_of(self, owner: Owner) -> frozenset[Target]:
        """Return every target that an object mentions; none if it is not registered."""
        registration = self._by_owner_key.get(owner.owner_key)
        return _mentioned_targets(registration.desired) if registration else frozenset()

    def has_upcoming(self, target: Target) -> bool:
        """Return whether an object is about to declare more grants on a target."""
        return any(target in each.upcoming for each in self.on(target))

    def expect_release(self, owner: Owner) -> None:
        """Note that an object was deleted and is about to release its grants."""
        for target in self.targets_of(owner):
            self._upcoming_releases[target][owner.owner_key] = asyncio.get_running_loop().time()

    def end_upcoming_release(self, owner: Owner) -> None:
        """Note that an object has released its grants, or cannot do so now."""
        for target in self.targets_of(owner) & self._upcoming_releases.keys():
            self._upcoming_releases[target].pop(owner.owner_key, None)
            if not self._upcoming_releases[target]:
                del self._upcoming_releases[target]

    def has_upcoming_release(self, target: Target, since: float) -> bool:
        """Return whether an object that was deleted after `since` is about to release grants on a target."""
        return any(at > since for at in self._upcoming_releases.get(target, {}).values())

    def note_drift(self, grants: Iterable[Grant]) -> None:
        """Record missing grants as drift of every object that desires them."""
        for registration, grant in self._desiring(grants):
            registration.drifted[grant] = None
            self._with_drift.add(registration.desired.owner.owner_key)

    def note_made_by_others(self, grants: Iterable[Grant]) -> None:
        """Record grants that another writer made, for every object that desires them."""
        for registration, grant in self._desiring(grants):
            registration.made_by_others[grant] = None

    def note_removed_unmanaged(self, grants: Iterable[Grant]) -> None:
        """Record removed unmanaged grants as drift of every object with the exclusive binding."""
        for grant in grants:
            for owner_key in self._on.get(grant.target, ()):
                registration = self._by_owner_key[owner_key]
                if grant.binding_key in registration.desired.exclusive:
                    registration.removed_unmanaged[grant] = None
                    self._with_drift.add(owner_key)

    def note_renamed(self, owner_keys: Iterable[str]) -> None:
        """Record that the policy shows grants of these objects under new addresses."""
        for owner_key in owner_keys:
            if registration := self._by_owner_key.get(owner_key):
                registration.is_renamed = True
                self._with_drift.add(owner_key)

    def with_drift(self) -> frozenset[Owner]:
        """Return the objects with drift, or a new address of a member, that was not reported to them."""
        found = {
            owner_key: registration.desired.owner
            for owner_key in self._with_drift
            if (registration := self._by_owner_key.get(owner_key))
            and (registration.drifted or registration.removed_unmanaged or registration.is_renamed)
        }
        self._with_drift = set(found)
        return frozenset(found.values())

    def _desiring(self, grants: Iterable[Grant]) -> Iterator[tuple[Registration, Grant]]:
        """Iterate over the objects that desire these grants."""
        wanted = set(grants)
        for target in {grant.target for grant in wanted}:
            for owner_key in self._on.get(target, ()):
                registration = self._by_owner_key[owner_key]
                for desired in registration.desired.on(target):
                    if desired.grant in wanted:
                        yield registration, desired.grant

    def _unindex(self, owner_key: str) -> None:
        registration = self._by_owner_key.get(owner_key)
        if not registration:
            return
        for target in _mentioned_targets(registration.desired):
            self._on[target].pop(owner_key, None)
            if not self._on[target]:
                del self._on[target]


def _mentioned_targets(desired: DesiredGrants) -> frozenset[Target]:
    return desired.targets | desired.upcoming
