"""Who wants which grants: what an object declares, and what of it must for now stay as it is."""

from collections.abc import Iterable
from dataclasses import dataclass

from cloudrun_identity.iam.grants import BindingKey, Grant, Target
from cloudrun_identity.ledger.owners import Owner


@dataclass(frozen=True, slots=True)
class DesiredGrant:
    """One grant that an object declares.

    `unique_id` is that of the account which the member means, empty for members that are no declared account.
    `former_ids` are accounts that it was granted to before, whose tombstones it replaces: objects know of
    none, the ledger does.
    """

    grant: Grant
    unique_id: str = ""
    former_ids: tuple[str, ...] = ()

    @property
    def tombstones(self) -> frozenset[Grant]:
        """What the policy shows of the accounts that were deleted."""
        return frozenset(map(self.grant.deleted_form, self.former_ids))


@dataclass(frozen=True, slots=True)
class Retain:
    """Freezes what a claimant already holds, where its claim cannot be worked out or is no longer admitted.

    An unset field matches anything: an unresolved reference leaves the member unknown, a missing project the
    target too; `prefix` is what the member would begin with. A held grant is neither claimed anew nor
    released.
    """

    target: Target | None = None
    role: str | None = None
    member: str | None = None
    prefix: str = ""

    def covers(self, grant: Grant) -> bool:
        """Whether `grant` may be the one that this hold speaks of."""
        return (
            self.target in (None, grant.target)
            and self.role in (None, grant.role)
            and self.member in (None, grant.member)
            and grant.member.startswith(self.prefix)
        )


RETAIN_ALL = Retain()


@dataclass(frozen=True, slots=True)
class DesiredGrants:
    """All that one object wants of any policy, now.

    `writable` is false for suspended and observed objects: their claims protect what stands, and are not
    repaired. `abandon` leaves a grant in place when this was its last claimant; `claims_existing` takes it
    away then even if it stood there before any of ours. `ending`: the object is being deleted. `exclusive`
    are bindings in which nobody else is to remain.
    `soon` names targets on which more claims are about to come, so that a pass may wait a moment for them.
    """

    owner: Owner
    desired_grants: frozenset[DesiredGrant] = frozenset()
    retains: tuple[Retain, ...] = ()
    writable: bool = True
    abandon: bool = False
    owns_existing: bool = False
    ending: bool = False
    exclusive: frozenset[BindingKey] = frozenset()
    upcoming: frozenset[Target] = frozenset()

    def keeps(self, grant: Grant) -> bool:
        """Whether a grant held for this claimant must stay."""
        return any(desired_grant.grant == grant for desired_grant in self.desired_grants) or any(
            retain.covers(grant) for retain in self.retains
        )

    @property
    def retains_all(self) -> bool:
        """Whether it wants nothing, and everything that it holds stays as it is."""
        return not self.desired_grants and RETAIN_ALL in self.retains

    def on(self, target: Target) -> Iterable[DesiredGrant]:
        """The claims on one target."""
        return (
            desired_grant for desired_grant in self.desired_grants if desired_grant.grant.target == target
        )

    @property
    def targets(self) -> frozenset[Target]:
        """Every target that it has claims on, or bindings to itself."""
        return frozenset(desired_grant.grant.target for desired_grant in self.desired_grants) | {
            binding_key.target for binding_key in self.exclusive
        }
