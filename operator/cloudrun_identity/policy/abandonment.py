"""What objects leave where it stands when they go: for that nobody has to look at the policy."""

from collections import defaultdict
from collections.abc import Iterable

from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.ledger.model import Ledger, changed_entry
from cloudrun_identity.ledger.owners import owner_key_of

from .desired_grants import DesiredGrants


def without_abandoned(ledger: Ledger, all_desired: Iterable[DesiredGrants]) -> Ledger:
    """The ledger without the claimants that abandon what they hold: it is the others', or nobody's.

    All who may declare a grant must have done so: whoever is late would find it as somebody else's. Who is
    braked lets go of nothing.
    """
    all_desired = tuple(all_desired)
    abandoning = {each.owner.owner_key: each for each in all_desired if each.abandon and each.writable}
    wanted: defaultdict[Grant, set[str]] = defaultdict(set)
    for desired in all_desired:
        for desired_grant in desired.on(ledger.target) if desired.writable else ():
            wanted[desired_grant.grant].add(str(desired.owner))
    entries = {}
    for grant, entry in ledger.entries.items():
        leaving = {
            each
            for each in entry.owners
            if (leaver := abandoning.get(owner_key_of(each))) and not leaver.keeps(grant)
        }
        staying = set(entry.owners) - leaving or set(sorted(wanted[grant])[:1])
        if not leaving:
            entries[grant] = entry
        elif staying:
            entries[grant] = changed_entry(entry, owners=tuple(sorted(staying)))
    return ledger if entries == ledger.entries else ledger.with_entries(entries)
