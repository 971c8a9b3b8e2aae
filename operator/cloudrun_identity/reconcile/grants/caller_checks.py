"""Advice on callers of Cloud Run: what a product lacks to call as an identity, and the remedy.

The operator makes the grants that Google's set-up asks for. The checks are about the rest: the role that
Google grants a service agent, and the permission to act as the account. The result is advice for the status.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cloudrun_identity.api import IAMBinding, ManagedProject, TargetKind
from cloudrun_identity.api.predefined_roles import USER
from cloudrun_identity.gcp.permission_checks import AccessState, PermissionChecks
from cloudrun_identity.iam.admission import Admitted, DeclaredIdentity, may_use_workload
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.principals import email
from cloudrun_identity.reconcile.cluster_state import ClusterState
from cloudrun_identity.reconcile.guardrail_checks import guardrail_facts
from cloudrun_identity.reconcile.references import Unresolved

from .callers import Product, caller_of, calling_account, token_agent
from .members import Members


@dataclass(frozen=True, slots=True)
class CallerSeen:
    """A caller, and what its product has."""

    product: Product
    """The product."""
    identity: DeclaredIdentity
    """The identity that it calls as."""
    account: Target
    """The account of the identity."""
    agent: str
    """E-mail of the service agent that creates the tokens."""
    agent_access: AccessState
    """Permission of the agent to create tokens of the account."""
    has_users: bool
    """True if an object declares that a principal may act as the account."""


async def observe_callers(
    obj: IAMBinding, target: Target, project: ManagedProject, cluster: ClusterState, access: PermissionChecks
) -> tuple[CallerSeen, ...]:
    """Return the callers of a workload that the guardrails admit for the namespace of the binding."""
    namespace = obj.metadata.namespace
    if not target.is_workload:
        return ()
    if not isinstance(
        may_use_workload(project, namespace, target, guardrail_facts(project, cluster)), Admitted
    ):
        return ()
    # Cloud Run services check ID tokens. A job is run by a call of the Cloud Run API, with an access token.
    token = "getAccessToken" if target.kind is TargetKind.JOB else "getOpenIdToken"
    found = []
    for index, member in enumerate(obj.spec.members):
        caller, path = caller_of(member), f"spec.members[{index}]"
        if caller is None:
            continue
        account = calling_account(caller, project, namespace, cluster, path)
        if isinstance(account, Unresolved):
            continue
        agent = token_agent(caller.product, account.project, Members(cluster, namespace), path)
        if isinstance(agent, Unresolved):
            continue
        agent_access = AccessState.GRANTED
        if not caller.product.grants_tokens:
            home = Target.project(account.project.project_id)
            permission = f"iam.serviceAccounts.{token}"
            agent_access = await access.member_access(agent.principal, permission, account.target, home)
        found.append(
            CallerSeen(
                caller.product,
                DeclaredIdentity(namespace, caller.identity.name),
                account.target,
                email(agent.principal),
                agent_access,
                _has_users(DeclaredIdentity(namespace, caller.identity.name), account.target, cluster),
            )
        )
    return tuple(found)


def _has_users(declared: DeclaredIdentity, account: Target, cluster: ClusterState) -> bool:
    """Return whether the identity declares users, or another object has made a principal one."""
    identity = cluster.identity(declared.namespace, declared.name)
    if identity and identity.spec.users:
        return True
    return any(grant.role == USER for grant in cluster.ledger(account).entries)


def caller_issues(callers: Iterable[CallerSeen]) -> tuple[str, ...]:
    """Return one issue for each requirement that a caller lacks."""
    return tuple(dict.fromkeys(issue for caller in callers for issue in _issues(caller)))


def _issues(caller: CallerSeen) -> Iterator[str]:
    product, account = caller.product, caller.account.name
    if caller.agent_access is AccessState.NOT_GRANTED:
        yield (
            f"{product.title} cannot call as {account}: no policy of the account and its project lets "
            f"{caller.agent} create tokens; gcloud projects add-iam-policy-binding "
            f"{caller.account.project_id} --member=serviceAccount:{caller.agent} --role={product.agent_role}"
        )
    if product.enqueued and not caller.has_users:
        yield (
            f"no object declares who may act as {account}: the principals that enqueue calls in "
            f"{product.title} need {USER} on it; add them to spec.users of CloudRunIdentity "
            f"{caller.identity.namespace}/{caller.identity.name}"
        )
