"""Resolve the role that a spec names: a role in full, or the role of a CustomRole."""

from collections.abc import Iterable

from cloudrun_identity.api import CustomRoleRef, Reason, RoleState
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.role_permissions import home_of
from cloudrun_identity.reconcile.cluster_state import ClusterState, ObjectKey, custom_role_key, role_key
from cloudrun_identity.reconcile.outcomes import Refused, Waiting
from cloudrun_identity.reconcile.references import Resolved, Unresolved, missing, not_ready


def resolve_role(
    role: str | None,
    ref: CustomRoleRef | None,
    target: Target,
    namespace: str,
    cluster: ClusterState,
    path: str,
) -> Resolved[str]:
    """Return the full name of a role to be granted on a target: as written, or of a CustomRole.

    `path` is the field of the object of `namespace` that names the role.
    """
    if ref is None:
        return _named_role(role or "", cluster, path)
    custom = cluster.custom_role(namespace, ref.name)
    text = f"CustomRole {namespace}/{ref.name}"
    if custom is None:
        key = custom_role_key(namespace, ref.name)
        return Unresolved(text, missing(key, cluster, f"{path}.customRoleRef"))
    project = cluster.project(custom.spec.project_ref.name)
    if project and project.project_id != target.project_id:
        message = (
            f"{path}.customRoleRef: {text} is a role of project {project.project_id} and cannot be granted "
            f"in {target.project_id}; declare a CustomRole there"
        )
        return Unresolved(text, Refused(Reason.INVALID_SPEC, message))
    name = custom.name_in(target.project_id)
    record = cluster.role(target.project_id, custom.spec.role_id)
    owned = record is not None and record.owner == f"{namespace}/{ref.name}"
    if record is None or not owned or record.state is not RoleState.PRESENT:
        return Unresolved(text, not_ready(text, f"{path}.customRoleRef", ObjectKey.of(custom)), name)
    return name


def _named_role(role: str, cluster: ClusterState, path: str) -> Resolved[str]:
    """Return a role that is written in full, unless the operator has deleted it."""
    home = home_of(role)
    record = cluster.role(*home) if home else None
    if record is None or record.state is not RoleState.DELETED:
        return role
    message = f"{path}.role: {role} is deleted, and its grants have no effect; name another role"
    return Unresolved(role, Waiting(Reason.DEPENDENCY_NOT_FOUND, message), role)


def declared_permissions(role: str, cluster: ClusterState) -> frozenset[str]:
    """Return the permissions that the CustomRole with this full name declares; none if there is none."""
    home = home_of(role)
    record = cluster.role(*home) if home else None
    if record is None or not record.is_managed:
        return frozenset()
    namespace, _, name = record.owner.partition("/")
    owner = cluster.custom_role(namespace, name)
    if owner is None or owner.spec.role_id != record.role_id:
        return frozenset()
    return frozenset(owner.spec.permissions)


def role_keys(
    roles: Iterable[tuple[str | None, CustomRoleRef | None]], namespace: str
) -> frozenset[ObjectKey]:
    """Return the custom roles that an object of `namespace` names, in full or by their objects."""
    keys = set()
    for role, ref in roles:
        if ref:
            keys.add(custom_role_key(namespace, ref.name))
        elif role and home_of(role):
            keys.add(role_key(role))
    return frozenset(keys)
