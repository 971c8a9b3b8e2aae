"""Limits of a project that its namespaces use together, for the platform team: who uses how much.

Only the ManagedProject names the namespaces, because a namespace may not see the others.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import Final

from cloudrun_identity.api import MAX_MEMBERS, ManagedProject
from cloudrun_identity.iam.listed_keys import MAX_KEYS
from cloudrun_identity.iam.shared_limits import namespaces_on
from cloudrun_identity.iam.shares import Budget
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.policy.policy_shares import policy_budget
from cloudrun_identity.reconcile.budgets import accounts_of, roles_of
from cloudrun_identity.reconcile.cluster_state import ClusterState
from cloudrun_identity.reconcile.preconditions import guardrail_facts

NEARLY: Final = 0.9
"""Part of a limit from which on its use is reported."""

_SHOWN: Final = 5  # namespaces that an issue names


def limit_issues(
    project: ManagedProject, cluster: ClusterState, emails: Collection[str], removals: Budget
) -> Iterator[str]:
    """Return the limits that are nearly reached, or of which a namespace uses its share, with who uses them.

    `emails` are those of the accounts that were listed in the project.
    """
    ledgers = sorted(cluster.ledgers(project.project_id), key=lambda ledger: ledger.target)
    budgets = (
        ("service accounts", accounts_of(project, cluster, emails)),
        ("custom roles", roles_of(project, cluster)),
        ("removals of unmanaged members in the last hour", removals),
    )
    for what, budget in budgets:
        if is_short(budget):
            yield f"{project.project_id} has {usage_text(budget, what)}"
    for ledger in ledgers:
        if len(ledger.keys) >= NEARLY * MAX_KEYS:
            yield f"{ledger.target} has {usage_text(_keys_of(ledger), 'keys')}"
    for ledger, budget in _policies(project, cluster, ledgers):
        if is_short(budget):
            yield f"{ledger.target} has {usage_text(budget, 'principals')}"


def is_short(budget: Budget) -> bool:
    """Return whether a limit is nearly reached, or a namespace waits for room because of its share."""
    if not budget.total:
        return False
    waits = len(budget.namespaces) > 1 and any(not budget.room_for(each) for each in budget.used)
    return waits or budget.total >= NEARLY * budget.limit


def usage_text(budget: Budget, what: str) -> str:
    """Return the use of a limit: `5 of 5 keys: 3 of namespace shop, 2 of namespace bank`."""
    counted = Counter(budget.used).most_common()
    parts = [f"{count} of namespace {name}" for name, count in counted[:_SHOWN] if count]
    parts += [f"{len(counted) - _SHOWN} more namespaces"] if len(counted) > _SHOWN else []
    parts += [f"{budget.others} unmanaged"] if budget.others else []
    share = f" (a share is {budget.share})" if len(budget.namespaces) > 1 else ""
    return f"{budget.total} of {budget.limit} {what}{share}: {', '.join(parts)}"


def _keys_of(ledger: Ledger) -> Budget:
    return Budget(MAX_KEYS, Counter(key.owner.partition("/")[0] for key in ledger.keys))


def _policies(
    project: ManagedProject, cluster: ClusterState, ledgers: Iterable[Ledger]
) -> Iterator[tuple[Ledger, Budget]]:
    """Yield the budget of each policy that a namespace may use its share of."""
    facts = guardrail_facts(project, cluster)
    for ledger in ledgers:
        if len(ledger.entries) * max(1, len(facts.namespaces)) < MAX_MEMBERS - ledger.unmanaged_members:
            continue
        made = [grant for grant, entry in ledger.entries.items() if entry.is_made]
        yield (
            ledger,
            policy_budget(
                ledger.entries,
                made,
                namespaces_on(project, ledger.target, facts),
                limit=MAX_MEMBERS,
                principals=len(made) + ledger.unmanaged_members,
            ),
        )
