"""References of a spec: each resolves to a value, or to the reason why it does not."""

from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from cloudrun_identity.api import IdentityAttachment, LedgerAccount, Reason
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
    return Waiting(Reason.DEPENDENCY_NOT_FOUND, f"{path}: {key} does not exist")


def not_ready(what: object, path: str) -> Waiting:
    """Return that the object in the field `path` is not ready."""
    return Waiting(Reason.DEPENDENCY_NOT_READY, f"{path}: {what} is not ready; see its conditions")


def account_not_ready(record: LedgerAccount | None, key: ObjectKey, path: str) -> Waiting:
    """Return that the account of the CloudRunIdentity in the field `path` is not ready, by its record."""
    if record is None or not record.is_appearing:
        return not_ready(f"the account of {key}", path)
    message = (
        f"{path}: the account of {key} was just created or undeleted; waiting until Google Cloud knows it "
        "everywhere"
    )
    return Waiting(Reason.PROPAGATION_PENDING, message)


def declared_workload(attachment: IdentityAttachment, project_id: str) -> Workload:
    """Return the workload that the attachment names."""
    spec = attachment.spec.workload
    return Workload(spec.kind, project_id, spec.location, spec.name)
