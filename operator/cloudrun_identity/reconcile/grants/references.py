"""Which objects a spec names, so that they wake the object that names them; and what a role's name is."""

from collections.abc import Iterable
from dataclasses import dataclass

from cloudrun_identity.api import CustomRoleRef, Member, Reason, RoleState, TargetRef
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.principals import email, is_service_account
from cloudrun_identity.iam.role_permissions import home_of
from cloudrun_identity.reconcile.cluster_state import (
    ClusterState,
    ObjectKey,
    account_key,
    custom_role_key,
    identity_key,
    project_key,
    role_key,
)
from cloudrun_identity.reconcile.outcomes import Outcome, Refused
from cloudrun_identity.reconcile.preconditions import missing, not_ready


def member_keys(members: Iterable[Member], namespace: str) -> frozenset[ObjectKey]:
    """The identities and projects among members that an object of `namespace` names."""
    keys = set()
    for member in members:
        if member.identity_ref:
            keys.add(identity_key(member.identity_ref.namespace or namespace, member.identity_ref.name))
        if member.principal and is_service_account(member.principal):
            keys.add(account_key(email(member.principal)))
        if member.cloud_run_service_agent_of:
            keys.add(project_key(member.cloud_run_service_agent_of.project_ref.name))
    return frozenset(keys)


def target_key(target: TargetRef, namespace: str) -> frozenset[ObjectKey]:
    """The identity whose account the target is, by name or by e-mail."""
    if target.identity_ref:
        return frozenset({identity_key(namespace, target.identity_ref.name)})
    return frozenset({account_key(target.email)} if target.email else ())


@dataclass(frozen=True, slots=True)
class NoRole:
    """A custom role that is not there; `name` is its full name where that is known, `text` for statuses."""

    text: str
    outcome: Outcome
    name: str = ""


def role_name(
    role: str | None,
    ref: CustomRoleRef | None,
    target: Target,
    namespace: str,
    cluster: ClusterState,
    path: str,
) -> str | NoRole:
    """The full name of a role to be granted on a target: as written, or of the CustomRole that is named.

    `path` is the field of the object of `namespace` that names it.
    """
    if ref is None:
        return role or ""
    custom = cluster.custom_role(namespace, ref.name)
    text = f"CustomRole {namespace}/{ref.name}"
    if custom is None:
        return NoRole(text, missing(custom_role_key(namespace, ref.name), cluster, f"{path}.customRoleRef"))
    project = cluster.project(custom.spec.project_ref.name)
    if project and project.project_id != target.project_id:
        message = (
            f"{path}.customRoleRef: {text} is a role of project {project.project_id} and cannot be granted "
            f"in {target.project_id}; declare a CustomRole there"
        )
        return NoRole(text, Refused(Reason.INVALID_SPEC, message))
    name, record = custom.name_in(target.project_id), cluster.role(target.project_id, custom.spec.role_id)
    owned = record is not None and record.owner == f"{namespace}/{ref.name}"
    if record is None or not owned or record.state is not RoleState.PRESENT:
        return NoRole(text, not_ready(text, f"{path}.customRoleRef"), name)
    return name


def declared_permissions(role: str, cluster: ClusterState) -> frozenset[str]:
    """What the CustomRole that has the role of this full name declares; nothing if it is nobody's."""
    home = home_of(role)
    record = cluster.role(*home) if home else None
    if record is None or record.state is RoleState.DELETED:
        return frozenset()
    namespace, _, name = record.owner.partition("/")
    owner = cluster.custom_role(namespace, name)
    if owner is None or owner.spec.role_id != record.role_id:
        return frozenset()
    return frozenset(owner.spec.permissions)


def role_keys(
    roles: Iterable[tuple[str | None, CustomRoleRef | None]], namespace: str
) -> frozenset[ObjectKey]:
    """The custom roles among those that an object of `namespace` names, in full or by their objects."""
    keys = set()
    for role, ref in roles:
        if ref:
            keys.add(custom_role_key(namespace, ref.name))
        elif role and home_of(role):
            keys.add(role_key(role))
    return frozenset(keys)
