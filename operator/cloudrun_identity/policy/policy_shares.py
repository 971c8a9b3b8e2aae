"""Shares of namespaces in the principals that one policy may have."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from cloudrun_identity.api import MAX_PRINCIPALS, LedgerEntry
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.iam.shares import Budget
from cloudrun_identity.ledger.owners import Owner

from .desired_grants import DesiredGrant
from .merge import Removal


def policy_budget(
    entries: Mapping[Grant, LedgerEntry],
    present: Collection[Grant],
    namespaces: frozenset[str],
    *,
    limit: int,
    principals: int,
) -> Budget:
    """Return the budget of a policy.

    Args:
        entries: The entries of its ledger.
        present: The grants in the policy, without those that are removed.
        namespaces: The namespaces with a share.
        limit: The principals that the policy may have.
        principals: The principals that it has, without those that are removed.

    """
    managed = [entry for grant, entry in entries.items() if grant in present and entry.owners]
    used = Counter(namespace_of(entry) for entry in managed)
    return Budget(limit, used, max(0, principals - len(managed)), namespaces)


def share_refusals(
    desired_grants: Sequence[DesiredGrant],
    entries: Mapping[Grant, LedgerEntry],
    present: frozenset[Grant],
    removals: Iterable[Removal],
    *,
    namespaces: Callable[[], frozenset[str]],
    principals: int,
) -> dict[Grant, GoogleError]:
    """Return the refusals of desired grants that would take the shares of other namespaces in a policy.

    Args:
        desired_grants: The desired grants that the sync may write.
        entries: The entries of the ledger.
        present: The grants in the policy.
        removals: The grants that the sync removes.
        namespaces: Returns the namespaces with a share. Not called if every desired grant is present.
        principals: The principals of the policy without the removed ones.

    """
    if all(desired.grant in present for desired in desired_grants):
        return {}
    remaining = present - {removal.grant for removal in removals}
    budget = policy_budget(entries, remaining, namespaces(), limit=MAX_PRINCIPALS, principals=principals)
    return over_share(desired_grants, remaining, entries, budget)


def over_share(
    desired_grants: Iterable[DesiredGrant],
    present: Collection[Grant],
    entries: Mapping[Grant, LedgerEntry],
    budget: Budget,
) -> dict[Grant, GoogleError]:
    """Return the refusal of each desired grant that would take what is set aside for other namespaces.

    A grant that replaces a tombstone needs no further place.
    """
    refused = {}
    for desired in desired_grants:
        if not (desired.tombstones | {desired.grant}).isdisjoint(present):
            continue
        namespace = namespace_of(entries[desired.grant])
        if budget.total < budget.limit and not budget.room_for(namespace):
            refused[desired.grant] = _share_used(namespace)
        else:
            budget = budget.with_use(namespace)
    return refused


def namespace_of(entry: LedgerEntry) -> str:
    """Return the namespace that a managed grant counts for: that of its first owner."""
    return Owner.parse(min(entry.owners)).namespace


def _share_used(namespace: str) -> GoogleError:
    return GoogleError(
        Fault.INVALID_ARGUMENT,
        "",
        f"namespace {namespace} has used its share of the principals of this policy, and the rest is set "
        "aside for other namespaces; remove some, grant the role to a group instead of its members, or ask "
        "the administrators of the project (guardrails.sharing)",
    )
