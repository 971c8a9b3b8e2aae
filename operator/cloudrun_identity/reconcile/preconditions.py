"""Preconditions of a reconcile, checked in one place for all kinds."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cloudrun_identity.api import (
    CloudRunIdentity,
    ConditionType,
    IAMBinding,
    ManagedProject,
    ManagementPolicy,
    ProjectScopedResource,
    Reason,
    ReconciledResource,
)
from cloudrun_identity.iam.admission import Admitted, Denied, may_use_project
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.wording import some

from .cluster_state import ClusterState, ObjectKey, ledger_owner, project_key
from .guardrail_checks import denied_namespace, guardrail_facts
from .outcomes import InSync, Outcome, Paused, Refused, Waiting, ledger_invalid
from .references import missing, project_not_ready
from .refusals import refusal
from .rivals import refusal_by_rival

DELETION_WAITS = "the deletion waits until suspend is false again"

USE_RECHECK = 15.0
"""Seconds until a ManagedProject in which accounts are used is looked at again: no event reports the end."""


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
        or _blocked_by_rival(obj, project, cluster)
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


def is_halted(project: ManagedProject) -> bool:
    """Return whether nothing is written in the project, not even to remove temporary grants at their end."""
    return project.spec.suspend or observes(project, project)


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
    is_operated = cluster.operates(project)
    if not is_operated and project.status.operator is not None:
        message = f"{path}: ManagedProject {name} belongs to another operator, as its status.operator shows"
        return Waiting(Reason.DEPENDENCY_NOT_READY, message)
    if not is_operated or project.status.project_number is None:
        return project_not_ready(project, path)
    return project


def project_to_grant_in(
    name: str, home: ManagedProject, namespace: str, cluster: ClusterState, path: str
) -> ManagedProject | Outcome:
    """Return the project of a grant that an object of `home` requests.

    Another project must admit the namespace, and must not be only observed.
    """
    if name == home.metadata.name:
        return home
    found = other_project(name, namespace, cluster, path)
    if isinstance(found, ManagedProject) and observes(found, found):
        message = f"{path}: ManagedProject {name} is observed, so nothing is granted there"
        return Waiting(Reason.DEPENDENCY_NOT_READY, message)
    return found


def unresolved(outcome: Waiting, *, transient: bool = False) -> Blocked:
    """Return that an object waits for a reference to resolve."""
    return Blocked(outcome, unresolved=outcome.message, transient=transient)


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
    """Return InSync if a ManagedProject is not used any more: its objects need it to clean up.

    Identities of other projects use it while workloads in it may run as their accounts: without it, these
    workloads cannot be looked at before an account is deleted.

    An object in a namespace that is not admitted has nothing to clean up if the ledgers of the project do
    not record it. So a user without access to the project cannot hold up its deletion.
    """
    users = sorted(_users(key, cluster))
    names = [*map(str, users)]
    names += [
        f"{identity} (workloads in the project may run as its account)"
        for identity in _identities_used_in(key, cluster)
        if identity not in users
    ]
    if not names:
        return InSync()
    message = f"Still used by {some(names)}; delete these first"
    return Waiting(Reason.IN_USE, message, None if users else USE_RECHECK)


def _users(key: ObjectKey, cluster: ClusterState) -> Iterator[ObjectKey]:
    """Yield the objects that refer to the project, and are admitted to it or recorded in its ledgers."""
    referrers = frozenset(cluster.referrers(key))
    project = cluster.project(key.name)
    if project is None or not referrers:
        yield from referrers
        return
    admitted = cluster.admitted_namespaces(project)
    recorded = {
        owner_key
        for ledger in cluster.ledgers(project.project_id)
        for owner_key in (*ledger.owner_keys, *ledger.resource_owners)
    }
    for referrer in referrers:
        if referrer.namespace in admitted or "/".join(referrer) in recorded:
            yield referrer


def _identities_used_in(key: ObjectKey, cluster: ClusterState) -> Iterator[ObjectKey]:
    """Return the identities that the records of their accounts show as used in the project, if admitted."""
    project = cluster.project(key.name)
    if project is None or cluster.project_on(project.project_id) != project:
        return
    facts, prefix = guardrail_facts(project, cluster), f"{project.project_id}/"
    for identity in cluster.objects(CloudRunIdentity):
        record = cluster.account(identity)
        if record is None or not any(place.startswith(prefix) for place in record.used_in):
            continue
        if isinstance(may_use_project(project, identity.metadata.namespace, facts), Admitted):
            yield ObjectKey.of(identity)


def _blocked_by_itself(
    obj: ReconciledResource, project: ManagedProject, cluster: ClusterState
) -> Blocked | None:
    return _suspended(obj, project) or _blocked_by_rival(obj, project, cluster)


def _suspended(obj: ReconciledResource, project: ManagedProject) -> Blocked | None:
    if not is_suspended(obj, project):
        return None
    paused = "nothing is read or written"
    if isinstance(obj, CloudRunIdentity | IAMBinding) and not is_halted(project):
        paused += ", except to remove temporary grants at their end"
    message = f"{suspended_by(obj, project)}: {paused}, until you run: {_resume(obj, project)}"
    return Blocked(Paused(Reason.SUSPENDED, message))


def _resume(obj: ReconciledResource, project: ManagedProject) -> str:
    """Return the command that ends the suspension of an object, or of its project."""
    key = ObjectKey.of(obj if obj.spec.suspend else project)
    namespace = f" -n {key.namespace}" if key.namespace else ""
    patch = '{"spec":{"suspend":false}}'
    return f"kubectl patch {key.kind.lower()}{namespace} {key.name} --type=merge -p '{patch}'"


def _blocked_by_ledger(obj: ReconciledResource, cluster: ClusterState) -> Blocked | None:
    invalid = cluster.invalid_ledger_of(ledger_owner(obj).owner_key)
    return Blocked(ledger_invalid(invalid)) if invalid else None


def _blocked_by_rival(
    obj: ReconciledResource, project: ManagedProject, cluster: ClusterState
) -> Blocked | None:
    refused = refusal_by_rival(obj, project, cluster)
    return Blocked(refused) if refused else None


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
    denied = denied_namespace(obj, project, cluster)
    if denied:
        return Blocked(refusal(denied), unresolved=denied.reason)
    refused = _blocked_by_itself(project, project, cluster)
    if refused:
        message = f"spec.projectRef: ManagedProject {project.metadata.name}: {_message(refused.outcome)}"
        return unresolved(Waiting(Reason.DEPENDENCY_NOT_READY, message))
    if project.status.project_number is None:
        unseen = project.status.condition(ConditionType.READY) is None
        return unresolved(project_not_ready(project, "spec.projectRef"), transient=unseen)
    return None


def _message(outcome: Outcome) -> str:
    return "" if isinstance(outcome, InSync) else outcome.message
