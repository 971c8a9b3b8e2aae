"""Resolve the target that a spec names to a resource of a project."""

from dataclasses import dataclass

from cloudrun_identity.api import TARGET_KINDS, ManagedProject, NamedBy, Reason, TargetKind, TargetRef
from cloudrun_identity.iam.admission import DeclaredIdentity
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.principals import lower_email
from cloudrun_identity.iam.resource_names import generic_target
from cloudrun_identity.reconcile.cluster_state import (
    ClusterState,
    ObjectKey,
    account_key,
    identity_key,
)
from cloudrun_identity.reconcile.outcomes import Refused
from cloudrun_identity.reconcile.references import Resolved, Unresolved, missing, not_ready


@dataclass(frozen=True, slots=True)
class ResolvedTarget:
    """A resource, and the identity that declares it."""

    target: Target
    owner: DeclaredIdentity | None = None
    """The CloudRunIdentity that declares the account, if the target is an account."""


def resolve_target(
    spec: TargetRef, project: ManagedProject, namespace: str, cluster: ClusterState, path: str
) -> Resolved[ResolvedTarget]:
    """Return the resource of `project` that an object of `namespace` names in its field `path`."""
    if spec.resource:
        return _resource(spec.resource, project, path)
    if TARGET_KINDS[spec.kind].named_by is not NamedBy.IDENTITY:
        return ResolvedTarget(
            Target(spec.kind, project.project_id, spec.location or "", spec.name or "", spec.parent)
        )
    if spec.identity_ref:
        return _account_of(DeclaredIdentity(namespace, spec.identity_ref.name), project, cluster, path)
    record = cluster.owner_of(spec.email or "")
    if record is None:
        return ResolvedTarget(Target.service_account(project.project_id, lower_email(spec.email or "")))
    return _account_of(DeclaredIdentity(*record.owner.split("/", 1)), project, cluster, path)


def _resource(resource: str, project: ManagedProject, path: str) -> Resolved[ResolvedTarget]:
    found = generic_target(resource, project.project_id)
    if isinstance(found, Target):
        return ResolvedTarget(found)
    message = f"{path}.resource: {resource} {found.problem}"
    return Unresolved(f"{TargetKind.RESOURCE} {resource}", Refused(Reason.INVALID_SPEC, message))


def target_key(target: TargetRef, namespace: str) -> frozenset[ObjectKey]:
    """Return the identity that declares the target account, by name or by e-mail."""
    if target.identity_ref:
        return frozenset({identity_key(namespace, target.identity_ref.name)})
    return frozenset({account_key(target.email)} if target.email else ())


def _account_of(
    owner: DeclaredIdentity, project: ManagedProject, cluster: ClusterState, path: str
) -> Resolved[ResolvedTarget]:
    identity = cluster.identity(owner.namespace, owner.name)
    name = f"CloudRunIdentity {owner.namespace}/{owner.name}"
    text = f"ServiceAccount of {owner.namespace}/{owner.name}"
    if identity is None:
        key = identity_key(owner.namespace, owner.name)
        return Unresolved(text, missing(key, cluster, f"{path}.identityRef"))
    if identity.spec.project_ref.name != project.metadata.name:
        message = (
            f"{path}: {name} belongs to ManagedProject {identity.spec.project_ref.name}; "
            f"projectRef must name that one, not {project.metadata.name}"
        )
        return Unresolved(text, Refused(Reason.INVALID_SPEC, message))
    record = cluster.account(identity)
    if record is None or not record.is_steady:
        key = identity_key(owner.namespace, owner.name)
        return Unresolved(text, not_ready(f"the account of {name}", f"{path}.identityRef", key))
    return ResolvedTarget(Target.service_account(project.project_id, record.email), owner)
