"""Who is meant by the members that a spec names: people and groups, declared identities, service agents."""

from dataclasses import dataclass

from cloudrun_identity.api import (
    CloudRunIdentity,
    KubernetesServiceAccount,
    ManagedProject,
    Member,
    Reason,
    WorkloadIdentityUser,
)
from cloudrun_identity.gcp.projects import SERVICE_AGENT_DOMAIN, cloud_run_service_agent
from cloudrun_identity.iam.admission import DeclaredIdentity
from cloudrun_identity.iam.principals import email, lower_email, normalise, service_account_member
from cloudrun_identity.reconcile.cluster_state import ClusterState, ObjectKey, identity_key
from cloudrun_identity.reconcile.outcomes import Outcome, Refused
from cloudrun_identity.reconcile.preconditions import missing, not_ready, other_project


@dataclass(frozen=True, slots=True)
class Holder:
    """Who is to hold a role: a member of a policy, and the account it means if it is a declared identity."""

    member: str
    unique_id: str = ""
    identity: DeclaredIdentity | None = None


@dataclass(frozen=True, slots=True)
class Nobody:
    """A member that does not resolve, with the outcome that says why; `text` stands for it in statuses."""

    text: str
    outcome: Outcome


class Members:
    """Resolves the members that one object names."""

    def __init__(self, cluster: ClusterState, namespace: str) -> None:
        """`namespace` is the object's: other namespaces' identities must allow it."""
        self._world = cluster
        self._namespace = namespace

    def resolve(self, member: Member, path: str) -> Holder | Nobody:
        """Who a member is; `path` is where it is named."""
        if member.identity_ref:
            reference = member.identity_ref
            return self.identity(
                DeclaredIdentity(reference.namespace or self._namespace, reference.name), path
            )
        if member.cloud_run_service_agent_of:
            return self.service_agent(member.cloud_run_service_agent_of.project_ref.name, path)
        principal = normalise(member.principal or "")
        if served := _served_by(principal, self._world):
            return self.service_agent(served, path)
        record = self._world.owner_of(email(principal))
        if record:
            namespace, _, name = record.owner.partition("/")
            return self.identity(DeclaredIdentity(namespace, name), path)
        return Holder(principal)

    def identity(self, declared: DeclaredIdentity, path: str) -> Holder | Nobody:
        """A declared identity, if it exists and lets this namespace name it."""
        identity = self._world.identity(declared.namespace, declared.name)
        key = identity_key(declared.namespace, declared.name)
        if identity is None:
            return Nobody(str(declared), missing(key, self._world, path))
        if declared.namespace != self._namespace and self._namespace not in identity.spec.allowed_namespaces:
            message = f"{path}: {key} does not list namespace {self._namespace} in allowedNamespaces"
            return Nobody(str(declared), Refused(Reason.DENIED_BY_GUARDRAIL, message))
        return identity_holder(identity, self._world, path)

    def workload_identity_user(self, user: WorkloadIdentityUser, path: str) -> Holder | Nobody:
        """Who a user from outside of Cloud Run is."""
        if user.kubernetes:
            return self._kubernetes(user.kubernetes, f"{path}.kubernetes.projectRef")
        return self.resolve(Member(principal=user.principal), path)

    def service_agent(self, name: str, path: str) -> Holder | Nobody:
        """The Cloud Run service agent of a ManagedProject that lets this namespace in."""
        project = other_project(name, self._namespace, self._world, path)
        if not isinstance(project, ManagedProject):
            return Nobody(f"cloudRunServiceAgentOf:{name}", project)
        return Holder(service_account_member(cloud_run_service_agent(project.status.project_number or "")))

    def _kubernetes(self, account: KubernetesServiceAccount, path: str) -> Holder | Nobody:
        project = other_project(account.project_ref.name, self._namespace, self._world, path)
        who = f"[{account.namespace}/{account.service_account}]"
        if not isinstance(project, ManagedProject):
            return Nobody(f"{account.project_ref.name}{who}", project)
        return Holder(normalise(service_account_member(f"{project.project_id}.svc.id.goog{who}")))


def identity_holder(identity: CloudRunIdentity, cluster: ClusterState, path: str) -> Holder | Nobody:
    """The account of an identity as a member; an identity resolves once reads of its account are steady."""
    declared = DeclaredIdentity(identity.metadata.namespace, identity.metadata.name)
    record = cluster.account(identity)
    if record is None or not record.is_steady:
        return Nobody(str(declared), not_ready(f"the account of {ObjectKey.of(identity)}", path))
    return Holder(service_account_member(lower_email(record.email)), record.unique_id, declared)


def _served_by(principal: str, cluster: ClusterState) -> str:
    """The ManagedProject whose Cloud Run service agent the member is: by its e-mail it is no less that."""
    if not principal.endswith(SERVICE_AGENT_DOMAIN):
        return ""
    return next(
        (
            each.metadata.name
            for each in cluster.objects(ManagedProject)
            if each.status.project_number
            and email(principal) == cloud_run_service_agent(each.status.project_number)
        ),
        "",
    )
