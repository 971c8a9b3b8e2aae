"""Limits that the namespaces of a project share, with their use according to the ledgers."""

from collections import Counter
from collections.abc import Collection, Mapping
from types import MappingProxyType

from cloudrun_identity.api import LedgerAccount, ManagedProject
from cloudrun_identity.gcp.service_accounts import project_id_of_email
from cloudrun_identity.iam.principals import lower_email
from cloudrun_identity.iam.shared_limits import accounts_budget, roles_budget
from cloudrun_identity.iam.shares import Budget

from .cluster_state import ClusterState


def accounts_of(
    project: ManagedProject,
    cluster: ClusterState,
    emails: Collection[str],
    about_to_create: Mapping[str, str] = MappingProxyType({}),
) -> Budget:
    """Return the budget of the project's service accounts; `emails` are those that were listed.

    `about_to_create` are the namespaces of accounts, by e-mail, whose creation is not recorded yet.
    """
    managed = [
        ledger.account
        for ledger in cluster.ledgers(project.project_id)
        if ledger.account and _exists(ledger.account)
    ]
    used = Counter(account.owner.partition("/")[0] for account in managed)
    recorded = {lower_email(account.email) for account in managed}
    used.update(
        namespace
        for email, namespace in about_to_create.items()
        if lower_email(email) not in recorded and project_id_of_email(email) == project.project_id
    )
    others = sum(lower_email(email) not in recorded for email in emails)
    return accounts_budget(project, cluster.admitted_namespaces(project), used, others)


def roles_of(project: ManagedProject, cluster: ClusterState) -> Budget:
    """Return the budget of the project's custom roles. A deleted role counts until its ID is free."""
    used = Counter(
        role.owner.partition("/")[0]
        for ledger in cluster.ledgers(project.project_id)
        for role in ledger.roles
    )
    return roles_budget(project, cluster.admitted_namespaces(project), used)


def _exists(account: LedgerAccount) -> bool:
    return bool(account.owner) and account.lost is None
