"""The desired grants of one object, and the grants that it retains without declaring them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from cloudrun_identity.iam.expiry import Expiry
from cloudrun_identity.iam.grants import BindingKey, Grant, IAMCondition, Target
from cloudrun_identity.ledger.owners import Owner


@dataclass(frozen=True, slots=True)
class Temporary:
    """The end of a desired grant."""

    base: Grant
    """The grant under its declared condition. The desired grant may have a condition that ends it, too."""
    expiry: Expiry
    """The end as it was declared."""
    start: datetime | None = None
    """The start on which the condition of the grant depends; None if it has none."""


@dataclass(frozen=True, slots=True)
class DesiredGrant:
    """One grant that an object declares."""

    grant: Grant
    """The grant as it was declared."""
    unique_id: str = ""
    """The unique ID of the account that is the member; empty for a member that no identity declares."""
    former_unique_ids: tuple[str, ...] = ()
    """Former accounts of the same e-mail with this grant. Planning adds them from the ledger."""
    former_members: tuple[str, ...] = ()
    """Deleted forms of a member that no identity declares. Planning adds them from the ledger."""
    temporary: Temporary | None = None
    """The end of the grant; None for a permanent grant."""

    @property
    def tombstones(self) -> frozenset[Grant]:
        """The `deleted:` forms of the grant for the former principals, which the grant replaces."""
        former = (self.grant.of(member) for member in self.former_members)
        return frozenset({*map(self.grant.deleted_form, self.former_unique_ids), *former})


@dataclass(frozen=True, slots=True)
class Retain:
    """A pattern of grants that an object keeps, but neither declares nor releases.

    An object retains a grant whose reference is unresolved, or that a guardrail no longer admits. An unset
    field matches every grant.
    """

    target: Target | None = None
    """The resource with the policy; unset while the project of the grant is unknown."""
    role: str | None = None
    """The full name of the role."""
    member: str | None = None
    """The member; unset while a reference to it is unresolved."""
    prefix: str = ""
    """The beginning of the member."""
    any_condition: bool = True
    """False if the condition of a grant matters."""
    condition: IAMCondition | None = None
    """The condition, if it matters; None for unconditional grants."""

    def covers(self, grant: Grant) -> bool:
        """Return whether the grant matches the pattern."""
        return (
            self.target in (None, grant.target)
            and self.role in (None, grant.role)
            and self.member in (None, grant.member)
            and grant.member.startswith(self.prefix)
            and (self.any_condition or self.condition == grant.condition)
        )


RETAIN_ALL = Retain()
"""The pattern that matches every grant."""


_NONE: frozenset[object] = frozenset()

_FEW = 4
"""Desired grants that are compared one by one. Most objects have one, and a set for it takes 216 bytes."""


@dataclass(frozen=True, slots=True)
class DesiredGrants:
    """The desired grants of one object on all policies."""

    owner: Owner
    """The object."""
    desired_grants: frozenset[DesiredGrant] = frozenset()
    """The grants that it declares."""
    retains: tuple[Retain, ...] = ()
    """The grants that it keeps without declaring them."""
    ended: frozenset[Grant] = frozenset()
    """The temporary grants that it declares and that are over, under their declared conditions. They are not
    made, and the ledger keeps their records."""
    writable: bool = True
    """False for suspended and observed objects: their grants are neither repaired nor released."""
    abandon: bool = False
    """Leave a grant in the policy when this object releases it as its last owner."""
    declared: tuple[Retain, ...] = (RETAIN_ALL,)
    """The grants that the spec of an ending object declares, in contrast to one that an edit of it revoked.
    `abandon` leaves only these."""
    claims: frozenset[Grant] = frozenset()
    """The grants that are removed when the last owner releases them, even if they were present before."""
    ending: bool = False
    """True while the object is being deleted."""
    exclusive: frozenset[BindingKey] = frozenset()
    """The bindings in which unmanaged members are not allowed."""
    upcoming: frozenset[Target] = frozenset()
    """Targets on which the object is about to declare more grants; a sync waits for them up to `max_wait`."""
    _grants: frozenset[Grant] = field(init=False, repr=False, compare=False)
    """The grants of `desired_grants` if these are many. A binding may declare 1,500 of them, and a sync looks
    each up."""

    def __post_init__(self) -> None:
        """Index the grants, and share empty sets: each new one takes 216 bytes."""
        is_long = len(self.desired_grants) > _FEW
        grants = frozenset(desired.grant for desired in self.desired_grants) if is_long else _NONE
        object.__setattr__(self, "_grants", grants)
        for name in ("desired_grants", "ended", "claims", "exclusive", "upcoming", "_grants"):
            if not getattr(self, name):
                object.__setattr__(self, name, _NONE)

    def keeps(self, grant: Grant) -> bool:
        """Return whether the object declares or retains a grant that the ledger records for it."""
        is_desired = (
            grant in self._grants
            if self._grants
            else any(desired.grant == grant for desired in self.desired_grants)
        )
        return is_desired or any(retain.covers(grant) for retain in self.retains)

    def leaves(self, grant: Grant) -> bool:
        """Return whether the object leaves a grant in the policy when it releases it as its last owner."""
        return self.abandon and any(pattern.covers(grant) for pattern in self.declared)

    def ends(self, grant: Grant) -> bool:
        """Return whether the object declared the grant until its deletion."""
        return self.ending and any(pattern.covers(grant) for pattern in self.declared)

    @property
    def retains_all(self) -> bool:
        """Return whether the object declares no grant and retains every grant."""
        return not self.desired_grants and RETAIN_ALL in self.retains

    def on(self, target: Target) -> Iterable[DesiredGrant]:
        """Return the desired grants on one target."""
        return (desired for desired in self.desired_grants if desired.grant.target == target)

    @property
    def targets(self) -> frozenset[Target]:
        """Every target with a desired grant, an exclusive binding, or a temporary grant that is over."""
        return (
            frozenset(desired.grant.target for desired in self.desired_grants)
            | {binding_key.target for binding_key in self.exclusive}
            | {grant.target for grant in self.ended}
        )
