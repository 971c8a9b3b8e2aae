"""What one pass over a policy has to do: from the ledger and the declarations, before and after the write.

`plan` says which grants to write, which to release, and the ledger to write ahead of it; `settle` says what
the ledger becomes once the policy is known to stand as the reply has it. Both are pure, so a crash between
any two steps is just another start.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from cloudrun_identity.api import GrantState
from cloudrun_identity.api.policy_ledger import MAX_MEMBERS

from .claims import Claim, Declaration, seat_of
from .exclusive import contested, intruders
from .grants import Grant, order
from .ledger import Holding, Ledger
from .merge import Release
from .principals import email
from .room import Room


@dataclass(frozen=True, slots=True)
class Plan:
    """What a pass is to bring about.

    `ledger` is to be persisted before the policy is written. `drifted` are grants that stood when we last
    looked and are missing now. `fresh` are holdings that this plan began; `unmade` are these and the ones
    that Google had refused: if such a grant stands without our adding it now, somebody else made it.
    `claims` are what is to stand; those whose account is deleted wait, because their member would be refused,
    or mean whoever has its e-mail now. `withheld` are claims that the ledger does not say may be written in
    this pass.
    `unrecorded` are claims that a full ledger has no room for.

    `stale` are grants that stand under a name whose account is another one than we granted to: to the old
    one, for all Google says, so they are taken away before they are given anew. `intruders` stand in a
    binding that an object has to itself, and `evictable` are those of them that we may remove; `contested`
    are claims of others in such a binding, by the seat of who wanted it alone.
    """

    ledger: Ledger
    claims: tuple[Claim, ...]
    released: tuple[Release, ...]
    drifted: frozenset[Grant]
    fresh: frozenset[Grant]
    unmade: frozenset[Grant]
    withheld: frozenset[Grant] = frozenset()
    unrecorded: tuple[Grant, ...] = ()
    stale: tuple[Release, ...] = ()
    intruders: tuple[Grant, ...] = ()
    evictable: tuple[Grant, ...] = ()
    contested: Mapping[str, Grant] = field(default_factory=dict)


def plan(
    ledger: Ledger,
    declarations: Iterable[Declaration],
    standing: Collection[Grant],
    *,
    may_release: bool,
    observed: bool = False,
    withheld: Collection[Grant] = (),
    spared: Callable[[str], bool] = lambda _: False,
    may_return: Callable[[str, str], bool] = lambda *_: True,
) -> Plan:
    """Plan a pass over `ledger.target`, in whose policy the grants of `standing` stand.

    `may_release` is false while some object may still be about to declare what another one lets go, or
    wants out of its binding. In a project that is `observed` nothing is released: what an edit lets go is
    kept for as long as that is so, and what an object leaves behind on its end is left.
    `withheld` are claims that this pass will not try to write. `spared(member)` names those who are never
    removed from a binding that an object has to itself. `may_return(email, unique_id)`: an object of ours has
    that account, and might undelete it.
    """
    declarations = tuple(declarations)
    seats = {declaration.claimant.seat: declaration for declaration in declarations}
    claims, wanted_by = _wanted(ledger, seats.values())
    entombed = {grant for grant, claim in claims.items() if _is_entombed(claim, standing)}
    holdings: dict[Grant, Holding] = {}
    released: list[Release] = []
    stale: list[Release] = []
    for grant, known in ledger.holdings.items():
        holding = known.seen(stands=grant in standing)
        dangles = grant not in claims and _dangles(grant, holding, standing, may_return)
        staying, leaving = _part(grant, holding, seats, dangles=dangles)
        if staying or wanted_by[grant]:
            held = replace(holding, claimants=frozenset(staying or {min(wanted_by[grant])}))
            if claim := claims.get(grant):
                if grant not in standing:
                    held = held.missing(withheld=grant in withheld)
                held = held.meaning(claim.unique_id)
                claims[grant] = replace(claim, former_ids=held.former_ids)
                if held.former_ids and grant in standing:
                    stale.append(Release(grant, held.former_ids))
            holdings[grant] = held
        elif not may_release or (observed and not all(each.ending for each in leaving)):
            holdings[grant] = holding
        elif not observed and not _is_left(holding, leaving):
            holdings[grant] = holding
            released.append(Release(grant, holding.unique_ids))
    begun = [grant for grant in claims if grant not in ledger.holdings and grant not in entombed]
    named = _named(holdings, begun, wanted_by)
    holdings = {grant: replace(holding, claimants=named[grant]) for grant, holding in holdings.items()}
    fresh = [grant for grant in begun if grant in named]
    unrecorded = tuple(grant for grant in begun if grant not in named)
    for grant in unrecorded:
        del claims[grant]  # only what the ledger holds is ever written
    for grant in fresh:
        holdings[grant] = Holding(
            claimants=named[grant],
            state=GrantState.GRANTED if grant in standing else GrantState.PENDING,
            foreign_before=grant in standing,
            unique_id=claims[grant].unique_id,
        )
    drifted = (
        grant
        for grant in claims
        if grant not in standing
        and grant in ledger.holdings
        and ledger.holdings[grant].state is GrantState.GRANTED
    )
    disputed = contested(ledger.target, declarations, holdings)
    strangers = tuple(intruders(ledger.target, declarations, standing, holdings, spared))
    return Plan(
        ledger=replace(ledger, holdings=holdings),
        claims=tuple(claim for grant, claim in claims.items() if grant not in entombed),
        released=tuple(released),
        drifted=frozenset(drifted),
        fresh=frozenset(fresh),
        unmade=frozenset(fresh)
        | {grant for grant, held in ledger.holdings.items() if held.is_refused and grant in claims},
        withheld=frozenset(withheld),
        unrecorded=unrecorded,
        stale=tuple(stale),
        intruders=strangers,
        evictable=tuple(
            grant
            for grant in strangers
            if may_release
            and any(
                each.writable and grant.slot in each.exclusive and each.claimant.seat not in disputed
                for each in declarations
            )
        ),
        contested=disputed,
    )


def settle(
    plan: Plan,
    standing: Collection[Grant],
    *,
    added: Collection[Grant],
    rejected: Collection[Grant],
    written_at: datetime | None,
    given_up: bool = False,
) -> Ledger:
    """The ledger after the pass, given what stands in the policy now.

    `added` are the grants that our own writes put there, or may have put there; `rejected` those that Google
    refused. A grant that this pass was the first to write, and that stands without our adding it, was
    somebody else's a moment before us. `written_at` is the time of our write, None if there was none.

    A pass that is `given_up` leaves no trace of what it began and certainly did not write: a ledger that went
    on to claim it would take it for ours if somebody else made it later.
    """
    released = {release.grant: release for release in plan.released}
    claimed = {claim.grant for claim in plan.claims}
    holdings: dict[Grant, Holding] = {}
    for grant, holding in plan.ledger.holdings.items():
        if grant in released:
            if any(form in standing for form in released[grant].forms):
                holdings[grant] = replace(holding, state=GrantState.RELEASING)
        elif grant in claimed and grant in standing:
            foreign = holding.foreign_before or (grant in plan.unmade and grant not in added)
            holdings[grant] = replace(
                holding,
                state=GrantState.GRANTED,
                foreign_before=foreign,
                former_ids=holding.former_ids if given_up else (),
            )
        elif grant in claimed:
            if given_up and grant in plan.fresh and grant not in added:
                continue
            refused = grant in rejected or (given_up and grant in plan.unmade)
            state = GrantState.REJECTED if refused and grant not in added else GrantState.PENDING
            holdings[grant] = replace(holding, state=state)
        else:
            holdings[grant] = holding
    if holdings == plan.ledger.holdings and written_at is None:
        return plan.ledger
    return replace(
        plan.ledger,
        holdings=holdings,
        foreign_members=len(standing) - sum(grant in holdings for grant in standing),
        last_write_time=written_at or plan.ledger.last_write_time,
    )


def _wanted(
    ledger: Ledger, declarations: Iterable[Declaration]
) -> tuple[dict[Grant, Claim], defaultdict[Grant, set[str]]]:
    """The claims to bring about, and for whom; those of suspended and observed objects are not among them."""
    claims: dict[Grant, Claim] = {}
    claimants: defaultdict[Grant, set[str]] = defaultdict(set)
    for declaration in sorted(declarations, key=lambda declaration: declaration.claimant.seat):
        if not declaration.writable:
            continue
        for claim in declaration.on(ledger.target):
            claims.setdefault(claim.grant, claim)
            claimants[claim.grant].add(str(declaration.claimant))
    return dict(sorted(claims.items(), key=lambda item: order(item[0]))), claimants


def _named(
    held: Mapping[Grant, Holding], begun: Iterable[Grant], wanted_by: Mapping[Grant, Collection[str]]
) -> dict[Grant, frozenset[str]]:
    """Whom the ledger names for each grant: what it holds stays, and the rest comes in as far as it fits."""
    room = Room(held.items())
    named = {
        grant: room.joining(holding.claimants, wanted_by.get(grant, ())) for grant, holding in held.items()
    }
    for grant in begun:
        first = min(wanted_by[grant])
        if len(named) < MAX_MEMBERS and room.takes(grant, first):
            named[grant] = room.joining((first,), wanted_by[grant])
    return named


def _part(
    grant: Grant, holding: Holding, seats: Mapping[str, Declaration], *, dangles: bool
) -> tuple[set[str], list[Declaration]]:
    """The claimants of a holding that stay, and the declarations of those that leave.

    A claimant that has not declared itself stays: it may be late, its kind may be gone, its cache half full.
    Who keeps a grant without claiming it has nothing from one that `dangles`.
    """
    staying: set[str] = set()
    leaving: list[Declaration] = []
    for text in holding.claimants:
        declaration = seats.get(seat_of(text))
        if declaration is None:
            staying.add(text)
        elif not declaration.writable or (declaration.keeps(grant) and not dangles):
            staying.add(str(declaration.claimant))  # who may not write cannot let go either
        else:
            leaving.append(declaration)
    return staying, leaving


def _is_entombed(claim: Claim, standing: Collection[Grant]) -> bool:
    """Whether the policy shows the very account that the claim means as deleted."""
    return (
        bool(claim.unique_id)
        and claim.grant not in standing
        and claim.grant.entombed(claim.unique_id) in standing
    )


def _dangles(
    grant: Grant,
    holding: Holding,
    standing: Collection[Grant],
    may_return: Callable[[str, str], bool],
) -> bool:
    """Whether the account that was granted is deleted for good, and its tombstone all that is left.

    Nobody loses by the end of such a grant: to an account of that e-mail that comes later it has to be given
    anew all the same.
    """
    return (
        bool(holding.unique_id)
        and grant not in standing
        and grant.entombed(holding.unique_id) in standing
        and not may_return(email(grant.member), holding.unique_id)
    )


def _is_left(holding: Holding, leaving: Iterable[Declaration]) -> bool:
    """Whether a grant that nobody claims any more is left where it stands: the last claimants decide."""
    leaving = tuple(leaving)
    if any(declaration.abandon for declaration in leaving):
        return True
    return holding.foreign_before and not any(declaration.claims_existing for declaration in leaving)
