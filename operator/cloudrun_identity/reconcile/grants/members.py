"""Resolve the members that a spec names: principals, declared identities and service agents."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from cloudrun_identity.api import (
    CloudRunIdentity,
    KubernetesServiceAccount,
    ManagedProject,
    Member,
    Reason,
    ServiceAgentOf,
    WorkloadIdentityUser,
)
from cloudrun_identity.iam.admission import DeclaredIdentity
from cloudrun_identity.iam.principals import (
    email,
    is_service_account,
    lower_email,
    normalise,
    service_account_member,
)
from cloudrun_identity.iam.service_agents import NoServiceAgent, project_number_of, service_agents
from cloudrun_identity.reconcile.cluster_state import (
    ClusterState,
    ObjectKey,
    account_key,
    identity_key,
    project_key,
)
from cloudrun_identity.reconcile.outcomes import Refused
from cloudrun_identity.reconcile.preconditions import other_project
from cloudrun_identity.reconcile.references import Resolved, Unresolved, account_not_ready, missing


@dataclass(frozen=True, slots=True)
class GrantMember:
    """A member of a grant."""

    principal: str
    """The member as policies hold it: `serviceAccount:checkout@…`."""
    unique_id: str = ""
    """Unique id of the account; empty for a member that no CloudRunIdentity declares."""
    identity: DeclaredIdentity | None = None
    """The CloudRunIdentity that declares the account."""


class Members:
    """Resolve the members that one object names."""

    def __init__(self, cluster: ClusterState, namespace: str) -> None:
        """`namespace` is the object's. Identities of other namespaces must allow it."""
        self._cluster = cluster
        self._namespace = namespace

    def resolve(self, member: Member, path: str) -> Resolved[GrantMember]:
        """Return the member that the field `path` names."""
        if member.identity_ref:
            reference = member.identity_ref
            return self.identity(
                DeclaredIdentity(reference.namespace or self._namespace, reference.name), path
            )
        if member.service_agent:
            return self.service_agent(member.service_agent, path)
        principal = normalise(member.principal or "")
        if project := _project_of(principal, self._cluster):
            admitted = other_project(project, self._namespace, self._cluster, path)
            if not isinstance(admitted, ManagedProject):
                return Unresolved(principal, admitted)
        record = self._cluster.owner_of(email(principal))
        if record:
            namespace, _, name = record.owner.partition("/")
            return self.identity(DeclaredIdentity(namespace, name), path)
        return GrantMember(principal)

    def identity(self, declared: DeclaredIdentity, path: str) -> Resolved[GrantMember]:
        """Return a declared identity, if it exists and allows this namespace to name it."""
        identity = self._cluster.identity(declared.namespace, declared.name)
        key = identity_key(declared.namespace, declared.name)
        if identity is None:
            return Unresolved(str(declared), missing(key, self._cluster, path))
        if declared.namespace != self._namespace and self._namespace not in identity.spec.allowed_namespaces:
            message = f"{path}: {key} does not list namespace {self._namespace} in allowedNamespaces"
            return Unresolved(str(declared), Refused(Reason.DENIED_BY_GUARDRAIL, message))
        return member_of_identity(identity, self._cluster, path)

    def workload_identity_user(self, user: WorkloadIdentityUser, path: str) -> Resolved[GrantMember]:
        """Return a user outside Cloud Run that acts as an identity through workload identity."""
        if user.kubernetes:
            return self._kubernetes(user.kubernetes, f"{path}.kubernetes.projectRef")
        return self.resolve(Member(principal=user.principal), path)

    def service_agent(self, agent_of: ServiceAgentOf, path: str) -> Resolved[GrantMember]:
        """Return the service agent of a service in a ManagedProject that admits this namespace."""
        name = agent_of.project_ref.name
        text = f"service agent of {agent_of.service} in ManagedProject {name}"
        agent = service_agents().find(agent_of.service, agent_of.agent or "")
        if isinstance(agent, NoServiceAgent):
            return Unresolved(text, Refused(Reason.INVALID_SPEC, f"{path}: {agent.reason}"))
        project = other_project(name, self._namespace, self._cluster, path)
        if not isinstance(project, ManagedProject):
            return Unresolved(text, project)
        return GrantMember(service_account_member(agent.email(project.status.project_number or "")))

    def _kubernetes(self, account: KubernetesServiceAccount, path: str) -> Resolved[GrantMember]:
        project = other_project(account.project_ref.name, self._namespace, self._cluster, path)
        subject = f"[{account.namespace}/{account.service_account}]"
        if not isinstance(project, ManagedProject):
            return Unresolved(f"{account.project_ref.name}{subject}", project)
        pool_member = service_account_member(f"{project.project_id}.svc.id.goog{subject}")
        return GrantMember(normalise(pool_member))


def member_of_identity(identity: CloudRunIdentity, cluster: ClusterState, path: str) -> Resolved[GrantMember]:
    """Return the account of an identity as a member, once reads of the account are steady."""
    declared = DeclaredIdentity(identity.metadata.namespace, identity.metadata.name)
    record = cluster.account(identity)
    if record is None or not record.is_steady:
        outcome = account_not_ready(record, ObjectKey.of(identity), path)
        return Unresolved(str(declared), outcome, name=str(declared))
    return GrantMember(service_account_member(lower_email(record.email)), record.unique_id, declared)


def expected_member(member: Resolved[GrantMember]) -> Resolved[GrantMember]:
    """Return the member for a check of the guardrails. The account of an identity need not be ready.

    Guardrails match an identity by its name. Its e-mail and unique id need not be known.
    """
    if isinstance(member, GrantMember) or not member.name:
        return member
    namespace, _, name = member.name.removeprefix(_IDENTITY).partition("/")
    return GrantMember(member.name, identity=DeclaredIdentity(namespace, name))


def member_keys(members: Iterable[Member], namespace: str) -> frozenset[ObjectKey]:
    """Return the identities and projects among the members that an object of `namespace` names."""
    keys = set()
    for member in members:
        if member.identity_ref:
            keys.add(identity_key(member.identity_ref.namespace or namespace, member.identity_ref.name))
        if member.principal and is_service_account(member.principal):
            keys.add(account_key(email(member.principal)))
        if member.service_agent:
            keys.add(project_key(member.service_agent.project_ref.name))
    return frozenset(keys)


_IDENTITY = "identity:"


def _project_of(principal: str, cluster: ClusterState) -> str:
    """Return the ManagedProject that a service agent or a Kubernetes workload belongs to; empty if none."""
    return _project_of_service_agent(principal, cluster) or _project_of_workload(principal, cluster)


def _project_of_service_agent(principal: str, cluster: ClusterState) -> str:
    number = project_number_of(email(principal))
    projects = cluster.objects(ManagedProject) if number else ()
    return next((each.metadata.name for each in projects if each.status.project_number == number), "")


def _project_of_workload(principal: str, cluster: ClusterState) -> str:
    """Return the ManagedProject of the workload identity pool of clusters; empty if there is none.

    A workload has several forms: https://cloud.google.com/iam/docs/principal-identifiers (GKE workloads).
    """
    found = _POOL.search(principal)
    project = cluster.project_on(found["project"]) if found else None
    return project.metadata.name if project else ""


_POOL = re.compile(
    r"^(?:serviceAccount:|group:|principal(?:Set)?://.*/workloadIdentityPools/)"
    r"(?P<project>[^/\[@]+)\.(?:svc|hub)\.id\.goog\b"
)
