"""Limits of a project that its namespaces use together, for the platform team: who uses how much.

Only the ManagedProject names the namespaces, because a namespace may not see the others.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from typing import Final

from cloudrun_identity.api import MAX_GROUPS, MAX_PRINCIPALS, NEARLY, LedgerUsage, ManagedProject
from cloudrun_identity.iam.listed_keys import MAX_KEYS
from cloudrun_identity.iam.shared_limits import namespaces_on
from cloudrun_identity.iam.shares import Budget
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.policy.policy_shares import policy_budget
from cloudrun_identity.reconcile.budgets import accounts_of, roles_of
from cloudrun_identity.reconcile.cluster_state import ClusterState
from cloudrun_identity.reconcile.guardrail_checks import guardrail_facts

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
    for ledger in ledgers:
        if ledger.usage:
            yield from _policy_issues(ledger, ledger.usage, project, cluster)


def is_short(budget: Budget) -> bool:
    """Return whether a limit is nearly reached, or a namespace waits for room because of its share."""
    if not budget.total:
        return False
    waits = len(budget.namespaces) > 1 and any(not budget.room_for(each) for each in budget.used)
    return waits or budget.total >= NEARLY * budget.limit


def usage_text(budget: Budget, what: str, *, exempted: int = 0) -> str:
    """Return the use of a limit: `5 of 5 keys: 3 of namespace shop, 2 of namespace bank`.

    `exempted` of the use that belongs to no namespace are principals that are exempted from audit logging.
    """
    counted = Counter(budget.used).most_common()
    unmanaged = max(0, budget.others - exempted)
    parts = [f"{count} of namespace {name}" for name, count in counted[:_SHOWN] if count]
    parts += [f"{len(counted) - _SHOWN} more namespaces"] if len(counted) > _SHOWN else []
    parts += [f"{unmanaged} unmanaged"] if unmanaged else []
    parts += [f"{exempted} exempted from audit logging"] if exempted else []
    share = f" (a share is {budget.share})" if len(budget.namespaces) > 1 else ""
    return f"{budget.total} of {budget.limit} {what}{share}: {', '.join(parts)}"


def _keys_of(ledger: Ledger) -> Budget:
    return Budget(MAX_KEYS, Counter(key.owner.partition("/")[0] for key in ledger.keys))


def _policy_issues(
    ledger: Ledger, usage: LedgerUsage, project: ManagedProject, cluster: ClusterState
) -> Iterator[str]:
    """Return the limits of one policy that are nearly reached, or of which a namespace uses its share."""
    if usage.groups >= NEARLY * MAX_GROUPS:
        yield f"{ledger.target} has {usage.groups} of {MAX_GROUPS} groups and domains"
    facts = guardrail_facts(project, cluster)
    made = [grant for grant, entry in ledger.entries.items() if entry.is_made]
    others = usage.principals - len(made)
    may_be_shared = len(made) * max(1, len(facts.namespaces)) >= MAX_PRINCIPALS - others
    if usage.principals < NEARLY * MAX_PRINCIPALS and not may_be_shared:
        return
    namespaces = namespaces_on(project, ledger.target, facts)
    limits = {"limit": MAX_PRINCIPALS, "principals": usage.principals}
    budget = policy_budget(ledger.entries, made, namespaces, **limits)
    if is_short(budget):
        yield f"{ledger.target} has {usage_text(budget, 'principals', exempted=usage.exempted)}"
