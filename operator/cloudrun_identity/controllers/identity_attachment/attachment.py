"""An IdentityAttachment as declared, and its workload as seen.

`resolve` finds the workload and the account, and checks that the guardrails admit both.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from cloudrun_identity.api import (
    EffectiveCrossProjectUsage,
    IdentityAttachment,
    LedgerAttachment,
    ManagedProject,
    PreflightCheck,
    Reassignment,
)
from cloudrun_identity.controllers.cross_project import Account
from cloudrun_identity.gcp.run import Operation
from cloudrun_identity.gcp.service_accounts import project_id_of_email
from cloudrun_identity.gcp.workloads import Workload, WorkloadState
from cloudrun_identity.iam.admission import (
    Admitted,
    Decision,
    DeclaredIdentity,
    Denied,
    may_name_account,
    may_use_project,
    may_use_workload,
)
from cloudrun_identity.iam.audited_changes import Cause
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.principals import email as email_of
from cloudrun_identity.iam.principals import lower_email
from cloudrun_identity.reconcile.cluster_state import ClusterState
from cloudrun_identity.reconcile.grants.members import GrantMember, Members
from cloudrun_identity.reconcile.guardrail_checks import guardrail_facts
from cloudrun_identity.reconcile.outcomes import InSync
from cloudrun_identity.reconcile.preconditions import Allowed, Blocked
from cloudrun_identity.reconcile.references import Unresolved, declared_workload
from cloudrun_identity.reconcile.refusals import is_denied, refusal


@dataclass(frozen=True, slots=True)
class AttachmentWant:
    """A workload that runs as an account."""

    obj: IdentityAttachment
    """The object."""
    workload: Workload
    """The workload."""
    account: Account
    """The account."""
    cluster: ClusterState
    """All other objects."""
    drift_interval: float
    """Seconds between looks for changes by other users."""
    managed_project: str = ""
    """Name of the ManagedProject of the workload."""
    project_number: str = ""
    """Number of the workload's project."""
    operator: str = ""
    """E-mail that the operator acts as in the workload's project; empty if unknown."""

    @property
    def email(self) -> str:
        """E-mail of the account."""
        return self.account.email

    @property
    def is_cross_project(self) -> bool:
        """True if the account lives in another project than the workload."""
        return self.account.project_id not in ("", self.workload.project_id)

    @property
    def account_target(self) -> Target:
        """The account as the resource of an IAM policy."""
        return Target.service_account(self.account.project_id, self.email)

    @property
    def place(self) -> str:
        """Project and location of the workload, as the record of the account names them."""
        return f"{self.workload.project_id}/{self.workload.location}"

    def runs_in(self, state: WorkloadState) -> bool:
        """Return whether the template of the workload names the account."""
        return same_account(state.service_account, self.email)


@dataclass(frozen=True, slots=True)
class DetachmentWant:
    """The deletion of an attachment: what the workload ran as before is restored, or left."""

    obj: IdentityAttachment
    """The object."""
    cluster: ClusterState
    """All other objects."""
    home: Target | None
    """Workload that the attachment reassigned, by the ledgers; None if it reassigned none."""
    project: ManagedProject | None
    """ManagedProject of the workload; None if there is none."""
    workload: Workload | None
    """Workload to restore; None if its state does not matter."""
    abandon: bool = False
    """True to leave the workload as it is."""


Want: TypeAlias = AttachmentWant | DetachmentWant


@dataclass(frozen=True, slots=True)
class WorkloadSeen:
    """A workload as seen."""

    state: WorkloadState | None
    """State of the workload; None if it does not exist."""
    serving: Mapping[str, str] = field(default_factory=dict)
    """Account of each serving revision."""
    operation: Operation | None = None
    """Operation that the operator started."""
    last_reassignment: Reassignment | None = None
    """Last reassignment of this very workload by the operator; None if there was none."""
    preflight: tuple[PreflightCheck, ...] | None = None
    """Preflight checks that were made now; None if none were."""
    record: LedgerAttachment | None = None
    """Record of the attachment in the ledger of the workload's policy."""
    reassigned: bool = False
    """True if this reconcile has reassigned the workload: it does not do so twice."""
    use_recorded: bool = True
    """True if the record of the account has the place of the workload, or the operator has no record of the
    account."""
    cause: Cause | None = None
    """Last change of the workload by another client, as the change feed reported it."""
    forgotten: bool = False
    """True if the record was removed, so that nothing is left to undo."""

    @property
    def is_being_reassigned(self) -> bool:
        """True while the operation that the operator started is under way."""
        return self.operation is not None and not self.operation.done


def resolve(obj: IdentityAttachment, allowed: Allowed, cluster: ClusterState) -> AttachmentWant | Blocked:
    """Return the workload and the account, if the namespace may use the one and name the other."""
    workload = declared_workload(obj, allowed.project_id)
    denied = may_attach(obj, workload, allowed.project, cluster)
    account = _account(obj, allowed.project, cluster)
    if isinstance(denied, Denied):
        others = (account.outcome,) if isinstance(account, Blocked) and is_denied(account.outcome) else ()
        return Blocked(refusal(denied, "spec.workload"), others=others)
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


def may_attach(
    obj: IdentityAttachment, workload: Workload, project: ManagedProject, cluster: ClusterState
) -> Decision:
    """Return whether the attachment's namespace may use the workload."""
    return may_use_workload(
        project, obj.metadata.namespace, workload.target, guardrail_facts(project, cluster)
    )


def may_run_as(
    email: str, obj: IdentityAttachment, project: ManagedProject, cluster: ClusterState
) -> Decision:
    """Return whether the attachment may make a workload of the project run as this account."""
    record = cluster.owner_of(email)
    if record is None:
        return may_name_account(project, obj.metadata.namespace, email, guardrail_facts(project, cluster))
    declared = _declared(record.owner)
    match Members(cluster, obj.metadata.namespace).identity(declared, email):
        case Unresolved(outcome=outcome):
            return Denied("" if isinstance(outcome, InSync) else outcome.message)
        case GrantMember():
            return _may_use_home_of(declared, obj.metadata.namespace, cluster)


def same_account(one: str, other: str) -> bool:
    """Return whether two e-mails name the same account."""
    return lower_email(one) == lower_email(other)


def account_text(email: str) -> str:
    """Return the account of a template, as messages name it."""
    return email or "the default account"


def identity_text(obj: IdentityAttachment) -> str:
    """Return the identity as declared: NAME, NAMESPACE/NAME in another namespace, or an e-mail."""
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
    decision = may_name_account(project, obj.metadata.namespace, email, guardrail_facts(project, cluster))
    if isinstance(decision, Denied):
        return Blocked(refusal(decision, "spec.email"))
    return _with_project(Account(lower_email(email), project_id_of_email(email)), cluster)


def _account_of(
    declared: DeclaredIdentity, path: str, obj: IdentityAttachment, cluster: ClusterState
) -> Account | Blocked:
    namespace = obj.metadata.namespace
    decision = _may_use_home_of(declared, namespace, cluster)
    if isinstance(decision, Denied):
        refused = refusal(decision, path)
        return Blocked(refused, unresolved=refused.message)
    match Members(cluster, namespace).identity(declared, path):
        case Unresolved(outcome=outcome):
            return Blocked(outcome, unresolved="" if isinstance(outcome, InSync) else outcome.message)
        case GrantMember(member, unique_id):
            identity = cluster.identity(declared.namespace, declared.name)
            home = cluster.account_home(identity) if identity else None
            email = email_of(member)
            project_id = home.project_id if home else project_id_of_email(email)
            return _with_project(Account(email, project_id, declared, unique_id=unique_id), cluster)


def _with_project(account: Account, cluster: ClusterState) -> Account:
    """Return the account with the facts about its project."""
    project = cluster.project_on(account.project_id)
    if project is None:
        return account
    usage = project.status.cross_project_usage or EffectiveCrossProjectUsage.UNKNOWN
    return replace(account, managed_project=project.metadata.name, cross_project_usage=usage)


def _may_use_home_of(declared: DeclaredIdentity, namespace: str, cluster: ClusterState) -> Decision:
    """Return whether the identity's project admits the namespace, as the workload's project must, too."""
    identity = cluster.identity(declared.namespace, declared.name)
    home = cluster.project(identity.spec.project_ref.name) if identity else None
    return may_use_project(home, namespace, guardrail_facts(home, cluster)) if home else Admitted()


def _declared(owner: str) -> DeclaredIdentity:
    """Return the identity that a record names as its owner, `NAMESPACE/NAME`."""
    namespace, _, name = owner.partition("/")
    return DeclaredIdentity(namespace, name)
