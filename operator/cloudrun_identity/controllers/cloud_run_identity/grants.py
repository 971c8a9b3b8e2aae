"""The grants that an identity declares: its roles, and the roles on its account."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from cloudrun_identity.api import (
    TARGET_KINDS,
    CloudRunIdentity,
    CloudRunIdentitySpec,
    ExistingGrants,
    ManagedProject,
    NamedBy,
    RoleGrant,
    cloud_run_agent_of,
    target_text,
)
from cloudrun_identity.api.predefined_roles import (
    OPEN_ID_TOKEN_CREATOR,
    TOKEN_CREATOR,
    USER,
    WORKLOAD_IDENTITY_USER,
)
from cloudrun_identity.iam.admission import DeclaredIdentity
from cloudrun_identity.iam.expiry import Expiry
from cloudrun_identity.iam.grants import Target, condition_of
from cloudrun_identity.reconcile.cluster_state import ClusterState, ObjectKey, project_key
from cloudrun_identity.reconcile.grants.members import GrantMember, Members, member_keys, member_of_identity
from cloudrun_identity.reconcile.grants.resolver import RequestedGrant
from cloudrun_identity.reconcile.grants.roles import resolve_role, role_keys
from cloudrun_identity.reconcile.grants.targets import ResolvedTarget, resolve_target, target_key
from cloudrun_identity.reconcile.preconditions import project_to_grant_in
from cloudrun_identity.reconcile.references import Resolved, Unresolved


def identity_references(obj: CloudRunIdentity) -> frozenset[ObjectKey]:
    """Return every object that the identity's spec names."""
    spec, namespace = obj.spec, obj.metadata.namespace
    projects = [spec.project_ref, *(usable.project_ref for usable in spec.usable_from)]
    projects += [grant.project_ref for grant in spec.roles if grant.project_ref]
    projects += [user.kubernetes.project_ref for user in spec.workload_identity_users if user.kubernetes]
    keys = {project_key(project.name) for project in projects}
    keys |= role_keys(((grant.role, grant.custom_role_ref) for grant in spec.roles), namespace)
    for grant in spec.roles:
        keys |= target_key(grant.target, namespace) if grant.target else set()
    return frozenset(
        keys | member_keys((*spec.users, *spec.token_creators, *spec.open_id_token_creators), namespace)
    )


def identity_grants(
    obj: CloudRunIdentity, project: ManagedProject, email: str, cluster: ClusterState
) -> tuple[RequestedGrant, ...]:
    """Return the grants; `email` is that of the account in `project`, as recorded or as expected."""
    requested = (
        *(_role(obj, project, index, grant, cluster) for index, grant in enumerate(obj.spec.roles)),
        *_on_account(obj, project, email, cluster),
    )
    claim = obj.spec.existing_grants is ExistingGrants.CLAIM
    return tuple(replace(each, claim=claim) for each in requested)


def _role(
    obj: CloudRunIdentity, home: ManagedProject, index: int, grant: RoleGrant, cluster: ClusterState
) -> RequestedGrant:
    """Return a role of the identity. In another project, the guardrails of that project decide."""
    path, namespace = f"spec.roles[{index}]", obj.metadata.namespace
    member = member_of_identity(obj, cluster, "the identity")
    condition, expiry = condition_of(grant.condition), Expiry.of(grant)
    place = _place(obj, home, grant, path, cluster)
    if isinstance(place, Unresolved):
        ref = grant.custom_role_ref
        role = Unresolved(f"CustomRole {namespace}/{ref.name}", place.outcome) if ref else grant.role or ""
        return RequestedGrant(path, place, role, member, condition=condition, expiry=expiry)
    target = place.found.target
    role = resolve_role(grant.role, grant.custom_role_ref, target, namespace, cluster, path)
    return RequestedGrant(
        path, target, role, member, place.found.owner, condition, project=place.project, expiry=expiry
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """A target, and the project that it is in."""

    project: ManagedProject
    found: ResolvedTarget


def _place(
    obj: CloudRunIdentity, home: ManagedProject, grant: RoleGrant, path: str, cluster: ClusterState
) -> Resolved[_Place]:
    namespace, project = obj.metadata.namespace, home
    if grant.project_ref:
        found = project_to_grant_in(grant.project_ref.name, home, namespace, cluster, f"{path}.projectRef")
        if not isinstance(found, ManagedProject):
            return Unresolved(_text(grant), found)
        project = found
    if grant.target is None:
        return _Place(project, ResolvedTarget(Target.project(project.project_id)))
    resolved = resolve_target(grant.target, project, namespace, cluster, f"{path}.target")
    return resolved if isinstance(resolved, Unresolved) else _Place(project, resolved)


def _text(grant: RoleGrant) -> str:
    """Return a name for the target of a project that does not resolve, from the spec alone."""
    project = grant.project_ref.name if grant.project_ref else ""
    target = grant.target
    if target is None or TARGET_KINDS[target.kind].named_by is NamedBy.PROJECT:
        return f"ManagedProject {project}"
    if target.resource:
        return f"{target.kind} {target.resource}"
    name = target.email or (target.identity_ref.name if target.identity_ref else target.name)
    shown = target_text(target.kind, project_id="", location=target.location, parent=target.parent, name=name)
    return f"{shown} of ManagedProject {project}"


def _on_account(
    obj: CloudRunIdentity, project: ManagedProject, email: str, cluster: ClusterState
) -> Iterator[RequestedGrant]:
    """Return the roles on the account, whose members may act as the identity."""
    account = Target.service_account(project.project_id, email)
    owner = DeclaredIdentity(obj.metadata.namespace, obj.metadata.name)
    for path, role, member, expiry in _members(obj.spec, Members(cluster, obj.metadata.namespace)):
        yield RequestedGrant(path, account, role, member, owner, expiry=expiry)


def _members(
    spec: CloudRunIdentitySpec, members: Members
) -> Iterator[tuple[str, str, GrantMember | Unresolved, Expiry | None]]:
    for field, role, declared in (
        ("users", USER, spec.users),
        ("tokenCreators", TOKEN_CREATOR, spec.token_creators),
        ("openIDTokenCreators", OPEN_ID_TOKEN_CREATOR, spec.open_id_token_creators),
    ):
        for index, member in enumerate(declared):
            path = f"spec.{field}[{index}]"
            yield path, role, members.resolve(member, path), Expiry.of(member)
    for index, user in enumerate(spec.workload_identity_users):
        path = f"spec.workloadIdentityUsers[{index}]"
        yield path, WORKLOAD_IDENTITY_USER, members.workload_identity_user(user, path), Expiry.of(user)
    for index, usable in enumerate(spec.usable_from):
        path = f"spec.usableFrom[{index}].projectRef"
        agent = members.service_agent(cloud_run_agent_of(usable.project_ref), path)
        yield path, TOKEN_CREATOR, agent, None
