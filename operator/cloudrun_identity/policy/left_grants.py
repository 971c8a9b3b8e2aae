"""Grants of custom roles that objects leave in a policy: with `deletionPolicy: Abandon`, for example.

The ledger keeps a record of them. The members gain every permission that the role gains later, so the
operator reads the policies with such grants then, even if no object declares a grant on them any more.
"""

from collections.abc import Collection

from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.iam.role_permissions import home_of
from cloudrun_identity.ledger.model import Ledger


def with_left_grants(ledger: Ledger, before: Ledger, present: Collection[Grant] | None) -> Ledger:
    """Return a planned ledger with the grants that its entries drop and the policy keeps.

    `before` is the ledger on which it was planned. `present` are the grants in the policy; None if it was not
    read, so that a dropped grant may be present.
    """
    if not before.left_grants and before.entries.keys() <= ledger.entries.keys():
        return ledger
    dropped = {
        grant.of(member): entry.owners[0]
        for grant, entry in before.entries.items()
        if entry.owners and home_of(grant.role) and grant not in ledger.entries
        for member in entry.registered_members or (grant.member,)
    }
    left = {
        grant: owner
        for grant, owner in (dropped | dict(before.left)).items()
        if grant not in ledger.entries and (present is None or grant in present)
    }
    return ledger if left == before.left == ledger.left else ledger.with_left(left)
