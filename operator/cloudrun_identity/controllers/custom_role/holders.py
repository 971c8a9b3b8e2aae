"""Members that hold a custom role, as the policies of its project show them.

The ledgers record only what the operator made. A role is also held by members that were granted it by hand,
that an object left with `deletionPolicy: Abandon`, or that a restored ledger has forgotten.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.merge import grants_in
from cloudrun_identity.policy.ports import PolicyReader
from cloudrun_identity.reconcile.outcomes import Outcome, outcome_of

_AT_ONCE = 16  # reads in flight for one role


@dataclass(frozen=True, slots=True)
class RoleHolders:
    """Grants of a role in the policies of its project, whether or not the operator manages them."""

    grants: frozenset[Grant] = frozenset()
    left_before: frozenset[Grant] = frozenset()
    """Grants that the ledgers recorded as left before the policies were read."""
    unreadable: Outcome | None = None
    """Outcome of reading a policy that cannot be read, and may contain further grants; None if all were."""


async def read_holders(policies: PolicyReader, ledgers: Iterable[Ledger], role: str) -> RoleHolders:
    """Return the grants of the role (its full name) in the policies of these ledgers."""
    ledgers = tuple(ledgers)
    left = left_grants(ledgers, role)
    slots = asyncio.Semaphore(_AT_ONCE)

    async def read(target: Target) -> frozenset[Grant] | Outcome:
        async with slots:
            try:
                policy = await policies.get(target)
            except GoogleError as error:
                if error.fault is Fault.NOT_FOUND:  # a deleted resource has no policy
                    return frozenset()
                return outcome_of(error, f"reading the holders of {role} on {target}")
        return frozenset(grant for grant in grants_in(policy, target) if grant.role == role)

    grants: set[Grant] = set()
    unreadable: Outcome | None = None
    for found in await asyncio.gather(*map(read, sorted(ledger.target for ledger in ledgers))):
        if isinstance(found, frozenset):
            grants |= found
        else:
            unreadable = unreadable or found
    return RoleHolders(frozenset(grants), left, unreadable)


def left_grants(ledgers: Iterable[Ledger], role: str) -> frozenset[Grant]:
    """Return the grants of the role that these ledgers record as left."""
    return frozenset(grant for ledger in ledgers for grant in ledger.left if grant.role == role)


def grants_left_in(ledgers: Iterable[Ledger], role: str, namespace: str) -> frozenset[Grant]:
    """Return the grants of the role that objects of a namespace left."""
    return frozenset(
        grant
        for ledger in ledgers
        for grant, owner in ledger.left.items()
        if grant.role == role and Owner.parse(owner).namespace == namespace
    )
