"""What an IdentityAttachment comes to: which workload is to run as which account, if guardrails admit it."""

from dataclasses import dataclass, replace

from cloudrun_identity.api import EffectiveCrossProjectUsage, IdentityAttachment, ManagedProject, Reason
from cloudrun_identity.gcp.service_accounts import project_id_of_email
from cloudrun_identity.gcp.workloads import Workload
from cloudrun_identity.iam.admission import (
    Admitted,
    Decision,
    DeclaredIdentity,
    Denied,
    may_name_account,
    may_use_project,
    may_use_workload,
)
from cloudrun_identity.iam.principals import email as email_of
from cloudrun_identity.iam.principals import lower_email
from cloudrun_identity.reconcile.cluster_state import ClusterState
from cloudrun_identity.reconcile.grants.members import Holder, Members, Nobody
from cloudrun_identity.reconcile.outcomes import InSync, Refused
from cloudrun_identity.reconcile.preconditions import Allowed, Blocked, guardrail_facts


@dataclass(frozen=True, slots=True)
class Account:
    """A service account to run as.

    `project_id` is where it lives, empty where nothing tells. `identity` and `managed_project` name the
    objects that declare it and that lend its project, empty where there are none. `cross_project_usage` says
    whether its project lets other projects run as its accounts.
    """

    email: str
    project_id: str
    identity: DeclaredIdentity | None = None
    managed_project: str = ""
    cross_project_usage: EffectiveCrossProjectUsage = EffectiveCrossProjectUsage.UNKNOWN


@dataclass(frozen=True, slots=True)
class AttachmentWant:
    """The workload and the account, among everything else there is.

    `operator` is the e-mail that we act as, empty where it is not known, and `drift_interval` in seconds.
    """

    obj: IdentityAttachment
    workload: Workload
    account: Account
    cluster: ClusterState
    drift_interval: float
    managed_project: str = ""
    project_number: str = ""
    operator: str = ""

    @property
    def email(self) -> str:
        """The e-mail of the account."""
        return self.account.email

    @property
    def is_cross_project(self) -> bool:
        """Whether the account lives in another project than the workload."""
        return self.account.project_id not in ("", self.workload.project_id)


def resolved(obj: IdentityAttachment, allowed: Allowed, cluster: ClusterState) -> AttachmentWant | Blocked:
    """The workload and the account, if the namespace may use the one and name the other."""
    workload = workload_of(obj, allowed.project_id)
    denied = may_attach(obj, workload, allowed.project, cluster)
    if isinstance(denied, Denied):
        return Blocked(Refused(Reason.DENIED_BY_GUARDRAIL, f"spec.workload: {denied.reason}"))
    account = _account(obj, allowed.project, cluster)
    if isinstance(account, Blocked):
        return account
    status = allowed.project.status
    return AttachmentWant(
        obj=obj,
        workload=workload,
        account=account,
        cluster=cluster,
        drift_interval=allowed.project.spec.drift_interval.timedelta.total_seconds(),
        managed_project=allowed.project.metadata.name,
        project_number=status.project_number or "",
        operator=status.operator_identity or "",
    )


def workload_of(obj: IdentityAttachment, project_id: str) -> Workload:
    """The workload that an attachment is about."""
    spec = obj.spec.workload
    return Workload(spec.kind, project_id, spec.location, spec.name)


def may_attach(
    obj: IdentityAttachment, workload: Workload, project: ManagedProject, cluster: ClusterState
) -> Decision:
    """Whether the attachment's namespace may use the workload."""
    return may_use_workload(
        project, obj.metadata.namespace, workload.target, guardrail_facts(project, cluster)
    )


def may_run_as(
    email: str, obj: IdentityAttachment, project: ManagedProject, cluster: ClusterState
) -> Decision:
    """Whether the attachment may have a workload of the project run as the account of this e-mail."""
    record = cluster.owner_of(email)
    if record is None:
        return may_name_account(project, email, guardrail_facts(project, cluster))
    declared = _declared(record.owner)
    match Members(cluster, obj.metadata.namespace).identity(declared, email):
        case Nobody(outcome=outcome):
            return Denied("" if isinstance(outcome, InSync) else outcome.message)
        case Holder():
            return _may_enter_home_of(declared, obj.metadata.namespace, cluster)


def same_account(one: str, other: str) -> bool:
    """Whether two e-mails are those of one account."""
    return lower_email(one) == lower_email(other)


def account_text(email: str) -> str:
    """How messages name the account of a template, which may name nobody."""
    return email or "the default account"


def identity_text(obj: IdentityAttachment) -> str:
    """The identity as declared: NAME, NAMESPACE/NAME of another namespace, or an e-mail."""
    reference = obj.spec.identity_ref
    if reference is None:
        return obj.spec.email or ""
    return f"{reference.namespace}/{reference.name}" if reference.namespace else reference.name


def _account(obj: IdentityAttachment, project: ManagedProject, cluster: ClusterState) -> Account | Blocked:
    if obj.spec.identity_ref:
        reference = obj.spec.identity_ref
        declared = DeclaredIdentity(reference.namespace or obj.metadata.namespace, reference.name)
        return _account_of(declared, "spec.identityRef", obj, cluster)
    email = obj.spec.email or ""
    record = cluster.owner_of(email)
    if record is not None:  # an e-mail that an identity declares is a reference to that identity
        return _account_of(_declared(record.owner), "spec.email", obj, cluster)
    decision = may_name_account(project, email, guardrail_facts(project, cluster))
    if isinstance(decision, Denied):
        return Blocked(Refused(Reason.DENIED_BY_GUARDRAIL, f"spec.email: {decision.reason}"))
    return _at_home(Account(lower_email(email), project_id_of_email(email)), cluster)


def _account_of(
    declared: DeclaredIdentity, path: str, obj: IdentityAttachment, cluster: ClusterState
) -> Account | Blocked:
    namespace = obj.metadata.namespace
    entrance = _may_enter_home_of(declared, namespace, cluster)
    if isinstance(entrance, Denied):
        message = f"{path}: {entrance.reason}"
        return Blocked(Refused(Reason.DENIED_BY_GUARDRAIL, message), unresolved=message)
    match Members(cluster, namespace).identity(declared, path):
        case Nobody(outcome=outcome):
            return Blocked(outcome, unresolved="" if isinstance(outcome, InSync) else outcome.message)
        case Holder(member):
            identity = cluster.identity(declared.namespace, declared.name)
            home = cluster.account_home(identity) if identity else None
            email = email_of(member)
            project_id = home.project_id if home else project_id_of_email(email)
            return _at_home(Account(email, project_id, declared), cluster)


def _at_home(account: Account, cluster: ClusterState) -> Account:
    """The account with what is known of the project that it lives in."""
    project = cluster.project_on(account.project_id)
    if project is None:
        return account
    usage = project.status.cross_project_usage or EffectiveCrossProjectUsage.UNKNOWN
    return replace(account, managed_project=project.metadata.name, cross_project_usage=usage)


def _may_enter_home_of(declared: DeclaredIdentity, namespace: str, cluster: ClusterState) -> Decision:
    """Whether the identity's project admits the attachment's namespace, as the workload's has to."""
    identity = cluster.identity(declared.namespace, declared.name)
    home = cluster.project(identity.spec.project_ref.name) if identity else None
    return may_use_project(home, namespace, guardrail_facts(home, cluster)) if home else Admitted()


def _declared(owner: str) -> DeclaredIdentity:
    """The identity that a record names as its owner, `NAMESPACE/NAME`."""
    namespace, _, name = owner.partition("/")
    return DeclaredIdentity(namespace, name)
