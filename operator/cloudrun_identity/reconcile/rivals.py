"""Objects that declare the same resource of Google Cloud: only one of them has it."""

from cloudrun_identity.api import (
    RELEASE_ORPHANS,
    CloudRunIdentity,
    CustomRole,
    IdentityAttachment,
    ManagedProject,
    ProjectScopedResource,
    Reason,
    ReconciledResource,
)

from .cluster_state import ClusterState, ObjectKey, older_first
from .guardrail_checks import denied_account, denied_namespace, may_take_back
from .outcomes import Refused
from .references import declared_workload


def refusal_by_rival(
    obj: ReconciledResource, project: ManagedProject, cluster: ClusterState
) -> Refused | None:
    """Return why the object has no effect; None unless another object has the resource that it declares."""
    rival = _rival(obj, project, cluster)
    if rival is None:
        return None
    return Refused(Reason.CONFLICT, _conflict(ObjectKey.of(obj), ObjectKey.of(rival)))


def _rival(
    obj: ReconciledResource, project: ManagedProject, cluster: ClusterState
) -> ReconciledResource | None:
    """Return the object that declares the same resource and has it instead of `obj`.

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
        and not denied_namespace(obj, project, cluster)
        and not (isinstance(obj, CloudRunIdentity) and denied_account(obj, project, cluster))
        and not cluster.is_refused(ObjectKey.of(obj), project)
    )


def _is_recorded(obj: ReconciledResource, project: ManagedProject, cluster: ClusterState) -> bool:
    """Return whether a ledger records that the object manages what it declares, or left it."""
    match obj:
        case IdentityAttachment():
            workload = declared_workload(obj, project.project_id)
            attachment = cluster.ledger(workload.target).attachment
            return attachment is not None and attachment.owner_uid == obj.metadata.uid
        case CloudRunIdentity():
            return cluster.account(obj) is not None or may_take_back(obj, project, cluster)
        case CustomRole():
            record = cluster.role(project.project_id, obj.spec.role_id)
            return record is not None and record.is_owned_by(f"{obj.metadata.namespace}/{obj.metadata.name}")
        case _:
            return False


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
        return "managed for another namespace; ask the administrators of the project which one should have it"
    if cluster.exists(owner):
        return f"owned by {owner}; delete that object first"
    return f"owned by {owner}, which is deleted; create that object again to manage it"


def _conflict(obj: ObjectKey, rival: ObjectKey) -> str:
    if rival.namespace == obj.namespace:
        return f"{rival} declares the same resource and has it; delete one of the two"
    return (
        "An object of another namespace declares the same resource and has it; ask the administrators of the "
        "project which namespace should have it"
    )
