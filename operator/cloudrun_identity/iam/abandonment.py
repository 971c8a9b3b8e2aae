"""What objects leave where it stands when they go: for that nobody has to look at the policy."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from .claims import Declaration, seat_of
from .grants import Grant
from .ledger import Ledger


def without_abandoned(ledger: Ledger, declarations: Iterable[Declaration]) -> Ledger:
    """The ledger without the claimants that abandon what they hold: it is the others', or nobody's.

    All who may declare a grant must have done so: whoever is late would find it as somebody else's. Who is
    braked lets go of nothing.
    """
    declarations = tuple(declarations)
    abandoning = {each.claimant.seat: each for each in declarations if each.abandon and each.writable}
    wanted: defaultdict[Grant, set[str]] = defaultdict(set)
    for declaration in declarations:
        for claim in declaration.on(ledger.target) if declaration.writable else ():
            wanted[claim.grant].add(str(declaration.claimant))
    holdings = {}
    for grant, holding in ledger.holdings.items():
        leaving = {
            each
            for each in holding.claimants
            if (leaver := abandoning.get(seat_of(each))) and not leaver.keeps(grant)
        }
        staying = holding.claimants - leaving
        if leaving and not staying:
            staying = frozenset(sorted(wanted[grant])[:1])
        if staying or not leaving:
            holdings[grant] = replace(holding, claimants=staying)
    return replace(ledger, holdings=holdings)
