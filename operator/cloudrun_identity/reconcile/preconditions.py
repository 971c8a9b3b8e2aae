"""What every object must pass before anything is done for it, in one place for all kinds."""

from collections.abc import Iterable
from dataclasses import dataclass

from cloudrun_identity.api import (
    Adoption,
    CloudRunIdentity,
    ConditionType,
    CustomRole,
    ManagedProject,
    ManagementPolicy,
    ProjectScopedResource,
    Reason,
    ReconciledResource,
    Resource,
)
from cloudrun_identity.gcp.service_accounts import expected_email
from cloudrun_identity.iam.admission import (
    Admitted,
    Decision,
    Denied,
    GuardrailFacts,
    may_adopt,
    may_be_called,
    may_use_project,
)
from cloudrun_identity.iam.grants import Target

from .cluster_state import ClusterState, ObjectKey, older_first, project_key
from .outcomes import InSync, Outcome, Paused, Refused, Waiting

DELETION_WAITS = "deletion waits until suspend is false again"

_NAMED = 3  # objects that a message names before it counts the rest


@dataclass(frozen=True, slots=True)
class Allowed:
    """The object may be worked on, in this project; `observe` forbids writing to Google Cloud."""

    project: ManagedProject
    observe: bool

    @property
    def project_id(self) -> str:
        """The id of the Google Cloud project that the object is about."""
        return self.project.project_id


@dataclass(frozen=True, slots=True)
class Blocked:
    """Nothing may be done for the object now; `unresolved` names a reference that does not resolve.

    `fleeting`: it is about to be over, or to be worse, so that to tell of it would be a write for nothing.
    """

    outcome: Outcome
    unresolved: str = ""
    transient: bool = False


def check_preconditions(obj: ReconciledResource, cluster: ClusterState) -> Allowed | Blocked:
    """Whether the object may be worked on, by its spec, brakes, rivals and project."""
    if isinstance(obj, ManagedProject):
        return _stopped_by_itself(obj, obj, cluster) or Allowed(obj, observes(obj, obj))
    if not isinstance(obj, ProjectScopedResource):
        raise TypeError(f"{obj.kind} has no gate")
    if not cluster.has_namespace(obj.metadata.namespace):  # it is there: what tells of it has not come as yet
        message = f"namespace {obj.metadata.namespace} has not been observed yet"
        return unresolved(Waiting(Reason.DEPENDENCY_NOT_READY, message), transient=True)
    project = project_of(obj, cluster)
    if project is None:
        return unresolved(missing(project_key(obj.spec.project_ref.name), cluster, "spec.projectRef"))
    return (
        _stopped_by_itself(obj, project, cluster)
        or _stopped_by_project(obj, project, cluster)
        or Allowed(project, observes(obj, project))
    )


def is_suspended(obj: ReconciledResource, project: ManagedProject | None) -> bool:
    """Whether nothing is to be read or written for the object, by its own word or its project's."""
    return obj.spec.suspend or (project is not None and project.spec.suspend)


def suspended_by(obj: ReconciledResource, project: ManagedProject | None) -> str:
    """Whose word it is that nothing is read or written for an object, as the beginning of a message."""
    if obj.spec.suspend or project is None:
        return "spec.suspend is true"
    return f"ManagedProject {project.metadata.name} is suspended"


def observes(obj: ReconciledResource, project: ManagedProject | None) -> bool:
    """Whether nothing is to be written for the object, by its own word or its project's."""
    policies = {obj.spec.management_policy, project.spec.management_policy if project else None}
    return ManagementPolicy.OBSERVE in policies


def project_of(obj: ReconciledResource, cluster: ClusterState) -> ManagedProject | None:
    """The ManagedProject that an object belongs to, which is itself for a ManagedProject."""
    if isinstance(obj, ManagedProject):
        return obj
    return cluster.project(obj.spec.project_ref.name) if isinstance(obj, ProjectScopedResource) else None


def other_project(name: str, namespace: str, cluster: ClusterState, path: str) -> ManagedProject | Outcome:
    """Another project that an object of `namespace` names in the field `path`, if it lets the namespace in.

    Where two projects meet both must admit the namespace. One that is suspended is not worked in.
    """
    project = cluster.project(name)
    if project is None:
        return missing(project_key(name), cluster, path)
    entrance = may_use_project(project, namespace, guardrail_facts(project, cluster))
    if isinstance(entrance, Denied):
        return Refused(Reason.DENIED_BY_GUARDRAIL, f"{path}: {entrance.reason}")
    stopped = _stopped_by_itself(project, project, cluster)
    if stopped:
        message = f"{path}: ManagedProject {name}: {_message(stopped.outcome)}"
        return Waiting(Reason.DEPENDENCY_NOT_READY, message)
    if project.status.project_number is None:
        return not_ready(ObjectKey.of(project), path)
    return project


def unresolved(outcome: Waiting, *, transient: bool = False) -> Blocked:
    """Nothing may be done before what a reference names is there, and ready."""
    return Blocked(outcome, unresolved=outcome.message, transient=transient)


def missing(key: ObjectKey, cluster: ClusterState, path: str) -> Waiting:
    """Why nothing is done with an object that the field `path` names and that nobody can go by."""
    if cluster.is_invalid(key):
        message = f"{path}: {key} cannot be read; correct it as its Ready condition says"
        return Waiting(Reason.DEPENDENCY_NOT_READY, message)
    return Waiting(Reason.DEPENDENCY_NOT_FOUND, f"{path}: there is no {key}")


def not_ready(what: object, path: str) -> Waiting:
    """Why nothing is done yet with something that the field `path` names and that is there."""
    return Waiting(Reason.DEPENDENCY_NOT_READY, f"{path}: {what} is not ready; its conditions say why")


def halted_elsewhere(held: Iterable[Target], cluster: ClusterState) -> Outcome | None:
    """Why the deletion of an object waits that holds something on these targets.

    None if none of them is in a project that is suspended.
    """
    for target in sorted(held):
        project = cluster.project_on(target.project_id)
        if project and project.spec.suspend:
            return Paused(
                Reason.SUSPENDED,
                f"deletion waits until ManagedProject {project.metadata.name} is not suspended any more: "
                f"what the object holds on {target} is there",
            )
    return None


def still_used(key: ObjectKey, cluster: ClusterState) -> Outcome:
    """InSync once nothing refers to a ManagedProject: its objects need it to undo what they did."""
    users = sorted(cluster.referrers(key))
    if not users:
        return InSync()
    names = ", ".join(map(str, users[:_NAMED]))
    more = f" and {len(users) - _NAMED} more" if len(users) > _NAMED else ""
    return Waiting(Reason.IN_USE, f"still used by {names}{more}; delete these first")


def belongs_to(owner: ObjectKey, cluster: ClusterState) -> str:
    """Whose something is that another object has, and how to have it, as the end of a message."""
    if cluster.is_there(owner):
        return f"{owner}'s; delete that one first"
    return f"{owner}'s, which is gone; declare that one anew to have it"


def is_delegated(project: str, namespace: str, cluster: ClusterState) -> bool:
    """Whether objects of `namespace` may know of a project, named by its id or its number."""
    return any(
        project in (each.project_id, each.status.project_number)
        and not each.spec.suspend
        and isinstance(may_use_project(each, namespace, guardrail_facts(each, cluster)), Admitted)
        for each in cluster.objects(ManagedProject)
    )


def guardrail_facts(project: ManagedProject, cluster: ClusterState) -> GuardrailFacts:
    """The facts that the project's guardrails are asked with."""
    return GuardrailFacts(
        namespaces=cluster.admitted_namespaces(project),
        identities=cluster.identities(),
        credential_accounts=cluster.credential_accounts(),
    )


def _stopped_by_itself(
    obj: ReconciledResource, project: ManagedProject, cluster: ClusterState
) -> Blocked | None:
    if is_suspended(obj, project):
        return Blocked(Paused(Reason.SUSPENDED, f"{suspended_by(obj, project)}: nothing is read or written"))
    elder = min(_rivals(obj, project, cluster), key=older_first, default=obj)
    if older_first(elder) < older_first(obj):
        return Blocked(
            Refused(
                Reason.CONFLICT,
                f"{ObjectKey.of(elder)}, which is older, declares the same; delete one of the two",
            )
        )
    return None


def _rivals(obj: ReconciledResource, project: ManagedProject, cluster: ClusterState) -> Iterable[Resource]:
    """Who else declares the same, and may: a namespace that is not admitted takes nothing from anybody."""
    if _has_it(obj, project, cluster):
        return  # whose it is has been decided
    facts = guardrail_facts(project, cluster)
    for rival in cluster.rivals(ObjectKey.of(obj)):
        namespace = rival.metadata.namespace
        if not namespace or isinstance(may_use_project(project, namespace, facts), Admitted):
            yield rival


def _has_it(obj: ReconciledResource, project: ManagedProject, cluster: ClusterState) -> bool:
    """Whether a ledger records that what the object declares is its own."""
    match obj:
        case CloudRunIdentity():
            return cluster.account(obj) is not None
        case CustomRole():
            record = cluster.role(project.project_id, obj.spec.role_id)
            return record is not None and record.is_owned_by(f"{obj.metadata.namespace}/{obj.metadata.name}")
        case _:
            return False


def _stopped_by_project(
    obj: ProjectScopedResource, project: ManagedProject, cluster: ClusterState
) -> Blocked | None:
    pinned = obj.status.project_id
    if pinned and pinned != project.project_id:
        return Blocked(
            Refused(
                Reason.CONFLICT,
                f"spec.projectRef: {project.metadata.name} was project {pinned} and is {project.project_id} "
                "now; delete this object and create it anew",
            )
        )
    entrance = may_use_project(project, obj.metadata.namespace, guardrail_facts(project, cluster))
    if isinstance(entrance, Denied):
        return Blocked(Refused(Reason.DENIED_BY_GUARDRAIL, entrance.reason), unresolved=entrance.reason)
    if isinstance(obj, CloudRunIdentity):
        decision = _may_be_looked_for(obj, project, cluster)
        if isinstance(decision, Denied):
            return Blocked(Refused(Reason.DENIED_BY_GUARDRAIL, decision.reason))
    refused = _stopped_by_itself(project, project, cluster)
    if refused:
        message = f"spec.projectRef: ManagedProject {project.metadata.name}: {_message(refused.outcome)}"
        return unresolved(Waiting(Reason.DEPENDENCY_NOT_READY, message))
    if project.status.project_number is None:
        unseen = project.status.condition(ConditionType.READY) is None
        return unresolved(not_ready(ObjectKey.of(project), "spec.projectRef"), transient=unseen)
    return None


def _may_be_looked_for(obj: CloudRunIdentity, project: ManagedProject, cluster: ClusterState) -> Decision:
    """Whether the project allows such an account, and to take it over where that is asked for.

    The account's true e-mail is known only once it is read, and the question is then put again.
    """
    decision = may_be_called(project, obj)
    adopts = obj.spec.adoption is Adoption.ADOPT and cluster.account(obj) is None
    if isinstance(decision, Denied) or not adopts:
        return decision
    email = expected_email(project.project_id, obj.account_id)
    decision = may_adopt(project, email, guardrail_facts(project, cluster))
    return Denied(f"spec.adoption: {decision.reason}") if isinstance(decision, Denied) else decision


def _message(outcome: Outcome) -> str:
    return "" if isinstance(outcome, InSync) else outcome.message
