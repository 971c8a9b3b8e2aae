"""References of a spec: each resolves to a value, or to the reason why it does not."""

from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from cloudrun_identity.api import (
    ConditionStatus,
    ConditionType,
    IdentityAttachment,
    LedgerAccount,
    ManagedProject,
    Reason,
)
from cloudrun_identity.gcp.workloads import Workload

from .cluster_state import ClusterState, ObjectKey
from .outcomes import Outcome, Waiting


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A reference that does not resolve."""

    text: str
    """The reference as statuses show it."""
    outcome: Outcome
    """Outcome for the object: the reason why the reference does not resolve."""
    name: str = ""
    """Full name of what it refers to, where that is known although it does not resolve."""

    def __str__(self) -> str:
        return self.text


T = TypeVar("T")

Resolved: TypeAlias = T | Unresolved
"""Value that a reference resolves to (a target, a role or a member), or `Unresolved`."""


def missing(key: ObjectKey, cluster: ClusterState, path: str) -> Waiting:
    """Return that the object in the field `path` does not exist, or does not fit its kind."""
    if cluster.is_invalid(key):
        message = f"{path}: {key} is invalid; correct it as its Ready condition says"
        return Waiting(Reason.DEPENDENCY_NOT_READY, message)
    return Waiting(
        Reason.DEPENDENCY_NOT_FOUND, f"{path}: {key} does not exist; create it, or correct the reference"
    )


def not_ready(what: object, path: str, key: ObjectKey) -> Waiting:
    """Return that `what` the field `path` refers to is not ready. It belongs to the object of this key."""
    namespace = f" -n {key.namespace}" if key.namespace else ""
    described = f"kubectl describe {key.kind.lower()}{namespace} {key.name}"
    return Waiting(Reason.DEPENDENCY_NOT_READY, f"{path}: {what} is not ready; see: {described}")


def project_not_ready(project: ManagedProject, path: str) -> Waiting:
    """Return that the operator cannot use the ManagedProject in the field `path`, and why.

    Users of a namespace may often not read the ManagedProject, so the message contains its own.
    """
    ready = project.status.condition(ConditionType.READY)
    if ready is None or ready.status is ConditionStatus.TRUE:
        key = ObjectKey.of(project)
        return not_ready(key, path, key)
    message = f"{path}: ManagedProject {project.metadata.name} is not ready: {ready.message}"
    return Waiting(Reason.DEPENDENCY_NOT_READY, message)


def account_not_ready(record: LedgerAccount | None, key: ObjectKey, path: str) -> Waiting:
    """Return that the account of the CloudRunIdentity in the field `path` is not ready, by its record."""
    if record is None or not record.is_appearing:
        return not_ready(f"the account of {key}", path, key)
    message = (
        f"{path}: the account of {key} was just created or undeleted; waiting until Google Cloud knows it "
        "everywhere"
    )
    return Waiting(Reason.PROPAGATION_PENDING, message)


def declared_workload(attachment: IdentityAttachment, project_id: str) -> Workload:
    """Return the workload that the attachment names."""
    spec = attachment.spec.workload
    return Workload(spec.kind, project_id, spec.location, spec.name)
