"""Preconditions of a reconcile, checked in one place for all kinds."""

from collections.abc import Iterable
from dataclasses import dataclass

from cloudrun_identity.api import (
    RELEASE_ORPHANS,
    Adoption,
    CloudRunIdentity,
    ConditionType,
    CustomRole,
    IdentityAttachment,
    ManagedProject,
    ManagementPolicy,
    ProjectScopedResource,
    Reason,
    ReconciledResource,
    TargetKind,
)
from cloudrun_identity.gcp.service_accounts import expected_email
from cloudrun_identity.iam.admission import (
    Admitted,
    Denied,
    GuardrailFacts,
    may_adopt,
    may_be_called,
    may_use_project,
)
from cloudrun_identity.iam.grants import Target

from .cluster_state import ClusterState, ObjectKey, ledger_owner, older_first, project_key
from .outcomes import InSync, Outcome, Paused, Refused, Waiting, ledger_invalid
from .refusals import refusal

DELETION_WAITS = "the deletion waits until suspend is false again"

_NAMED = 3  # objects that a message names before it counts the rest


@dataclass(frozen=True, slots=True)
class Allowed:
    """The object may be reconciled."""

    project: ManagedProject
    """ManagedProject of the object."""
    observe: bool
    """True if nothing may be written to Google Cloud for the object."""

    @property
    def project_id(self) -> str:
        """Id of the Google Cloud project."""
        return self.project.project_id


@dataclass(frozen=True, slots=True)
class Blocked:
    """The object may not be reconciled now."""

    outcome: Outcome
    unresolved: str = ""
    """Reference that does not resolve; empty if all do."""
    others: tuple[Outcome, ...] = ()
    """Further reasons, to be reported together with the outcome."""
    transient: bool = False
    """True if the state is about to change, so that a status write would be superseded at once."""


def check_preconditions(obj: ReconciledResource, cluster: ClusterState) -> Allowed | Blocked:
    """Return whether the object may be reconciled: suspension, competitors, project and guardrails."""
    if isinstance(obj, ManagedProject):
        return _blocked_by_itself(obj, obj, cluster) or Allowed(obj, observes(obj, obj))
    if not isinstance(obj, ProjectScopedResource):
        raise TypeError(f"{obj.kind} has no gate")
    if not cluster.has_namespace(obj.metadata.namespace):
        # The watch event of a new namespace may arrive after those of its objects.
        is_new = obj.status.condition(ConditionType.READY) is None
        message = f"Namespace {obj.metadata.namespace} does not exist, or has not been observed yet"
        return unresolved(Waiting(Reason.DEPENDENCY_NOT_READY, message), transient=is_new)
    if cluster.is_terminating(obj.metadata.namespace):
        message = (
            f"Namespace {obj.metadata.namespace} is being deleted, and this object with it; nothing is "
            "written for it until then"
        )
        return Blocked(Waiting(Reason.DELETING, message))
    project = project_of(obj, cluster)
    if project is None:
        return unresolved(missing(project_key(obj.spec.project_ref.name), cluster, "spec.projectRef"))
    return (
        _suspended(obj, project)
        or _blocked_by_project(obj, project, cluster)
        or _blocked_by_ledger(obj, cluster)
        or _contested(obj, project, cluster)
        or Allowed(project, observes(obj, project))
    )


def is_suspended(obj: ReconciledResource, project: ManagedProject | None) -> bool:
    """Return whether the object or its project is suspended: nothing is read or written for it."""
    return obj.spec.suspend or (project is not None and project.spec.suspend)


def suspended_by(obj: ReconciledResource, project: ManagedProject | None) -> str:
    """Return what suspends an object, as the beginning of a message."""
    if obj.spec.suspend or project is None:
        return "spec.suspend is true"
    return f"ManagedProject {project.metadata.name} is suspended"


def observes(obj: ReconciledResource, project: ManagedProject | None) -> bool:
    """Return whether the object or its project is only observed: nothing is written for it."""
    policies = {obj.spec.management_policy, project.spec.management_policy if project else None}
    return ManagementPolicy.OBSERVE in policies


def project_of(obj: ReconciledResource, cluster: ClusterState) -> ManagedProject | None:
    """Return the ManagedProject of an object; a ManagedProject belongs to itself."""
    if isinstance(obj, ManagedProject):
        return obj
    return cluster.project(obj.spec.project_ref.name) if isinstance(obj, ProjectScopedResource) else None


def other_project(name: str, namespace: str, cluster: ClusterState, path: str) -> ManagedProject | Outcome:
    """Return another project that an object of `namespace` names in its field `path`.

    Both projects must admit the namespace. A suspended project is waited for.
    """
    project = cluster.project(name)
    if project is None:
        return missing(project_key(name), cluster, path)
    admission = may_use_project(project, namespace, guardrail_facts(project, cluster))
    if isinstance(admission, Denied):
        return refusal(admission, path)
    stopped = _blocked_by_itself(project, project, cluster)
    if stopped:
        message = f"{path}: ManagedProject {name}: {_message(stopped.outcome)}"
        return Waiting(Reason.DEPENDENCY_NOT_READY, message)
    if project.status.project_number is None:
        return not_ready(ObjectKey.of(project), path)
    return project


def unresolved(outcome: Waiting, *, transient: bool = False) -> Blocked:
    """Return that an object waits for a reference to resolve."""
    return Blocked(outcome, unresolved=outcome.message, transient=transient)


def missing(key: ObjectKey, cluster: ClusterState, path: str) -> Waiting:
    """Return that the object in the field `path` does not exist, or does not fit its kind."""
    if cluster.is_invalid(key):
        message = f"{path}: {key} is invalid; correct it as its Ready condition says"
        return Waiting(Reason.DEPENDENCY_NOT_READY, message)
    return Waiting(Reason.DEPENDENCY_NOT_FOUND, f"{path}: {key} does not exist")


def not_ready(what: object, path: str) -> Waiting:
    """Return that the object in the field `path` is not ready."""
    return Waiting(Reason.DEPENDENCY_NOT_READY, f"{path}: {what} is not ready; see its conditions")


def halted_elsewhere(held: Iterable[Target], cluster: ClusterState) -> Outcome | None:
    """Return why the deletion of an object with grants on these targets waits for a suspended project.

    None if no target is in a suspended project.
    """
    for target in sorted(held):
        project = cluster.project_on(target.project_id)
        if project and project.spec.suspend:
            return Paused(
                Reason.SUSPENDED,
                f"The deletion waits until ManagedProject {project.metadata.name} is no longer suspended: "
                f"the object has grants on {target}",
            )
    return None


def still_used(key: ObjectKey, cluster: ClusterState) -> Outcome:
    """Return InSync if no object refers to a ManagedProject: its objects need it to clean up."""
    users = sorted(cluster.referrers(key))
    if not users:
        return InSync()
    names = ", ".join(map(str, users[:_NAMED]))
    more = f" and {len(users) - _NAMED} more" if len(users) > _NAMED else ""
    return Waiting(Reason.IN_USE, f"Still used by {names}{more}; delete these first")


def belongs_to(owner: ObjectKey, namespace: str, cluster: ClusterState) -> str:
    """Return who owns a resource and how to take it over, as the end of a message to `namespace`.

    Objects of other namespaces are not named: their owners may not want to be known, and the reader cannot
    delete them.
    """
    if owner.namespace not in ("", namespace) and not cluster.exists(owner):
        return (
            "recorded for an object of another namespace that no longer exists; ask the administrators of "
            "the project to release it: status.orphans of the ManagedProject lists it, and the annotation "
            f"{RELEASE_ORPHANS} releases it"
        )
    if owner.namespace not in ("", namespace):
        return "managed for another namespace; ask the administrators of the project which one may manage it"
    if cluster.exists(owner):
        return f"owned by {owner}; delete that object first"
    return f"owned by {owner}, which is deleted; create that object again to manage it"


def is_delegated(project: str, namespace: str, cluster: ClusterState) -> bool:
    """Return whether a project, by id or number, is delegated to `namespace`."""
    return delegated_project(project, namespace, cluster) is not None


def delegated_project(project: str, namespace: str, cluster: ClusterState) -> ManagedProject | None:
    """Return the ManagedProject of a project, by id or number, that is delegated to `namespace`."""
    return next(
        (
            each
            for each in cluster.objects(ManagedProject)
            if project in (each.project_id, each.status.project_number)
            and not each.spec.suspend
            and isinstance(may_use_project(each, namespace, guardrail_facts(each, cluster)), Admitted)
        ),
        None,
    )


def guardrail_facts(project: ManagedProject, cluster: ClusterState) -> GuardrailFacts:
    """Return the facts that the guardrails of the project are evaluated with."""
    return GuardrailFacts(
        namespaces=cluster.admitted_namespaces(project),
        identities=cluster.identities(),
        credential_accounts=cluster.credential_accounts(),
        holders_of=lambda workload: cluster.ledger(workload).namespaces,
    )


def _blocked_by_itself(
    obj: ReconciledResource, project: ManagedProject, cluster: ClusterState
) -> Blocked | None:
    return _suspended(obj, project) or _contested(obj, project, cluster)


def _suspended(obj: ReconciledResource, project: ManagedProject) -> Blocked | None:
    if not is_suspended(obj, project):
        return None
    return Blocked(Paused(Reason.SUSPENDED, f"{suspended_by(obj, project)}: nothing is read or written"))


def _blocked_by_ledger(obj: ReconciledResource, cluster: ClusterState) -> Blocked | None:
    invalid = cluster.invalid_ledger_of(ledger_owner(obj).owner_key)
    return Blocked(ledger_invalid(invalid)) if invalid else None


def _contested(obj: ReconciledResource, project: ManagedProject, cluster: ClusterState) -> Blocked | None:
    rival = _rival(obj, project, cluster)
    if rival is None:
        return None
    return Blocked(Refused(Reason.CONFLICT, _conflict(ObjectKey.of(obj), ObjectKey.of(rival))))


def _rival(
    obj: ReconciledResource, project: ManagedProject, cluster: ClusterState
) -> ReconciledResource | None:
    """Return the object that declares the same resource and manages it instead of `obj`.

    An object that a ledger records as the manager of the resource has it. Without one, it is the oldest
    object that could manage it: a suspended or refused one does not take it from others. A refused object
    has no rival either, because its refusal must not depend on the objects of others.
    """
    others = list(cluster.other_declarers(ObjectKey.of(obj)))
    if not others or _is_recorded(obj, project, cluster) or not _could_manage(obj, project, cluster):
        return None
    recorded = next((each for each in others if _is_recorded(each, project, cluster)), None)
    if recorded:
        return recorded
    older = sorted((each for each in others if older_first(each) < older_first(obj)), key=older_first)
    return next((each for each in older if _could_manage(each, project, cluster)), None)


def _could_manage(obj: ReconciledResource, project: ManagedProject, cluster: ClusterState) -> bool:
    """Return whether the object would be reconciled if no other object declared the same resource."""
    if not isinstance(obj, ProjectScopedResource):
        return True
    return (
        not obj.spec.suspend
        and not _denied(obj, project, cluster)
        and not (isinstance(obj, CloudRunIdentity) and denied_account(obj, project, cluster))
        and not cluster.is_refused(ObjectKey.of(obj), project)
    )


def _conflict(obj: ObjectKey, rival: ObjectKey) -> str:
    if rival.namespace == obj.namespace:
        return f"{rival} declares the same resource and manages it; delete one of the two"
    return (
        "An object of another namespace declares the same resource and manages it; ask the administrators of "
        "the project which namespace may manage it"
    )


def _is_recorded(obj: ReconciledResource, project: ManagedProject, cluster: ClusterState) -> bool:
    """Return whether a ledger records that the object manages what it declares, or left it."""
    match obj:
        case IdentityAttachment(spec=spec):
            workload = spec.workload
            target = Target(TargetKind(workload.kind), project.project_id, workload.location, workload.name)
            attachment = cluster.ledger(target).attachment
            return attachment is not None and attachment.owner_uid == obj.metadata.uid
        case CloudRunIdentity():
            return cluster.account(obj) is not None or _may_take_back(obj, project, cluster)
        case CustomRole():
            record = cluster.role(project.project_id, obj.spec.role_id)
            return record is not None and record.is_owned_by(f"{obj.metadata.namespace}/{obj.metadata.name}")
        case _:
            return False


def _blocked_by_project(
    obj: ProjectScopedResource, project: ManagedProject, cluster: ClusterState
) -> Blocked | None:
    pinned = obj.status.project_id
    if pinned and pinned != project.project_id:
        return Blocked(
            Refused(
                Reason.CONFLICT,
                f"spec.projectRef: {project.metadata.name} was project {pinned} and is {project.project_id} "
                "now; delete this object and create it again",
            )
        )
    denied = _denied(obj, project, cluster)
    if denied:
        return denied
    refused = _blocked_by_itself(project, project, cluster)
    if refused:
        message = f"spec.projectRef: ManagedProject {project.metadata.name}: {_message(refused.outcome)}"
        return unresolved(Waiting(Reason.DEPENDENCY_NOT_READY, message))
    if project.status.project_number is None:
        unseen = project.status.condition(ConditionType.READY) is None
        return unresolved(not_ready(ObjectKey.of(project), "spec.projectRef"), transient=unseen)
    return None


def _denied(obj: ProjectScopedResource, project: ManagedProject, cluster: ClusterState) -> Blocked | None:
    """Return why the guardrails do not admit the namespace."""
    admission = may_use_project(project, obj.metadata.namespace, guardrail_facts(project, cluster))
    if isinstance(admission, Denied):
        return Blocked(refusal(admission), unresolved=admission.reason)
    return None


def denied_account(obj: CloudRunIdentity, project: ManagedProject, cluster: ClusterState) -> Refused | None:
    """Return why the guardrails deny the account, or its adoption, before it is read.

    The plan checks the adoption again once the account is read and its e-mail is known.
    """
    name = may_be_called(project, obj)
    if isinstance(name, Denied):
        return refusal(name)
    if obj.spec.adoption is not Adoption.ADOPT or cluster.account(obj) is not None:
        return None
    if _may_take_back(obj, project, cluster):
        return None
    email = expected_email(project.project_id, obj.account_id)
    adoption = may_adopt(project, obj.metadata.namespace, email, guardrail_facts(project, cluster))
    return refusal(adoption, "spec.adoption") if isinstance(adoption, Denied) else None


def _may_take_back(obj: CloudRunIdentity, project: ManagedProject, cluster: ClusterState) -> bool:
    """Return whether an object of this namespace and name left the account that the object declares."""
    account = Target.service_account(project.project_id, expected_email(project.project_id, obj.account_id))
    left = cluster.ledger(account).account
    return left is not None and left.left_by == f"{obj.metadata.namespace}/{obj.metadata.name}"


def _message(outcome: Outcome) -> str:
    return "" if isinstance(outcome, InSync) else outcome.message
