"""Which resource a spec means by a target, in the project that it names."""

from dataclasses import dataclass

from cloudrun_identity.api import TARGET_KINDS, ManagedProject, NamedBy, Reason, TargetRef
from cloudrun_identity.iam.admission import DeclaredIdentity
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.principals import lower_email
from cloudrun_identity.reconcile.cluster_state import ClusterState, identity_key
from cloudrun_identity.reconcile.outcomes import Outcome, Refused
from cloudrun_identity.reconcile.preconditions import missing, not_ready


@dataclass(frozen=True, slots=True)
class NoTarget:
    """A target that does not resolve, with the outcome that says why; `text` stands for it in statuses."""

    text: str
    outcome: Outcome

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Resolved:
    """A resource, and the identity whose account it is, if it is that."""

    target: Target
    owner: DeclaredIdentity | None = None


def resolve_target(
    spec: TargetRef, project: ManagedProject, namespace: str, cluster: ClusterState, path: str
) -> Resolved | NoTarget:
    """What an object of `namespace` means by the target in its field `path`, a resource of `project`."""
    if TARGET_KINDS[spec.kind].named_by is not NamedBy.IDENTITY:
        return Resolved(Target(spec.kind, project.project_id, spec.location or "", spec.name or ""))
    if spec.identity_ref:
        return _account_of(DeclaredIdentity(namespace, spec.identity_ref.name), project, cluster, path)
    record = cluster.owner_of(spec.email or "")
    if record is None:
        return Resolved(Target.service_account(project.project_id, lower_email(spec.email or "")))
    return _account_of(DeclaredIdentity(*record.owner.split("/", 1)), project, cluster, path)


def _account_of(
    owner: DeclaredIdentity, project: ManagedProject, cluster: ClusterState, path: str
) -> Resolved | NoTarget:
    identity = cluster.identity(owner.namespace, owner.name)
    name = f"CloudRunIdentity {owner.namespace}/{owner.name}"
    text = f"ServiceAccount of {owner.namespace}/{owner.name}"
    if identity is None:
        key = identity_key(owner.namespace, owner.name)
        return NoTarget(text, missing(key, cluster, f"{path}.identityRef"))
    if identity.spec.project_ref.name != project.metadata.name:
        message = (
            f"{path}: {name} belongs to ManagedProject {identity.spec.project_ref.name}; "
            f"projectRef must name that one, not {project.metadata.name}"
        )
        return NoTarget(text, Refused(Reason.INVALID_SPEC, message))
    record = cluster.account(identity)
    if record is None or not record.is_steady:
        return NoTarget(text, not_ready(f"the account of {name}", f"{path}.identityRef"))
    return Resolved(Target.service_account(project.project_id, record.email), owner)
