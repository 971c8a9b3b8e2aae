"""Who wants which grants: what an object declares, and what of it must for now stay as it is."""

from collections.abc import Iterable
from dataclasses import dataclass

from .grants import Grant, Slot, Target


@dataclass(frozen=True, slots=True)
class Claim:
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
        return frozenset(map(self.grant.entombed, self.former_ids))


@dataclass(frozen=True, slots=True)
class Hold:
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


HOLD_EVERYTHING = Hold()


@dataclass(frozen=True, slots=True)
class Claimant:
    """An object as the ledger names it. Another UID under the same name is its successor."""

    kind: str
    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        """`IAMBinding/payments/web/UID`, as it stands in the ledger."""
        return f"{self.kind}/{self.namespace}/{self.name}/{self.uid}"

    @classmethod
    def parse(cls, text: str) -> "Claimant":
        """The inverse of `str`."""
        kind, namespace, name, uid = text.split("/", 3)
        return cls(kind, namespace, name, uid)

    @property
    def seat(self) -> str:
        """The claimant without its UID: what an object and its successor of the same name share."""
        return f"{self.kind}/{self.namespace}/{self.name}"


def seat_of(claimant: str) -> str:
    """The seat of a claimant as the ledger names it."""
    return claimant.rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class Declaration:
    """All that one object wants of any policy, now.

    `writable` is false for suspended and observed objects: their claims protect what stands, and are not
    repaired. `abandon` leaves a grant in place when this was its last claimant; `claims_existing` takes it
    away then even if it stood there before any of ours. `ending`: the object is being deleted. `exclusive`
    are bindings in which nobody else is to remain.
    `soon` names targets on which more claims are about to come, so that a pass may wait a moment for them.
    """

    claimant: Claimant
    claims: frozenset[Claim] = frozenset()
    holds: tuple[Hold, ...] = ()
    writable: bool = True
    abandon: bool = False
    claims_existing: bool = False
    ending: bool = False
    exclusive: frozenset[Slot] = frozenset()
    soon: frozenset[Target] = frozenset()

    def keeps(self, grant: Grant) -> bool:
        """Whether a grant held for this claimant must stay."""
        return any(claim.grant == grant for claim in self.claims) or any(
            hold.covers(grant) for hold in self.holds
        )

    @property
    def is_frozen(self) -> bool:
        """Whether it wants nothing, and everything that it holds stays as it is."""
        return not self.claims and HOLD_EVERYTHING in self.holds

    def on(self, target: Target) -> Iterable[Claim]:
        """The claims on one target."""
        return (claim for claim in self.claims if claim.grant.target == target)

    @property
    def targets(self) -> frozenset[Target]:
        """Every target that it has claims on, or bindings to itself."""
        return frozenset(claim.grant.target for claim in self.claims) | {
            slot.target for slot in self.exclusive
        }
