"""Places in which workloads may run as an account: those that objects declare, and those that are recorded.

A user can delete the objects that declare a place together with the identity. The record of the account
therefore keeps each place until nothing in it runs as the account.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cloudrun_identity.api import (
    CloudRunIdentity,
    IdentityAttachment,
    LedgerAccount,
    ManagedProject,
)
from cloudrun_identity.api.ledger_records import MAX_PLACES
from cloudrun_identity.iam.admission import Admitted, may_use_project
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.principals import lower_email
from cloudrun_identity.reconcile.cluster_state import ClusterState, ObjectKey, account_key
from cloudrun_identity.reconcile.guardrail_checks import guardrail_facts
from cloudrun_identity.reconcile.preconditions import is_suspended


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A location in which workloads are listed."""

    project_id: str
    location: str

    def __str__(self) -> str:
        """Return the place as records have it: `PROJECT/LOCATION`."""
        return f"{self.project_id}/{self.location}"

    @classmethod
    def parse(cls, text: str) -> "Place":
        """Return the place that a record names."""
        project_id, _, location = text.partition("/")
        return cls(project_id, location)


def declared_places(
    obj: CloudRunIdentity, email: str, project_id: str, cluster: ClusterState
) -> frozenset[Place]:
    """Return where workloads could run as the identity: its own project, and those that may use it."""
    return frozenset(_declared(obj, email, project_id, cluster))


def recorded_places(record: LedgerAccount | None) -> frozenset[Place]:
    """Return the places that the record of an account names."""
    return frozenset(map(Place.parse, record.used_in)) if record else frozenset()


def readable_places(obj: CloudRunIdentity, account: Target, cluster: ClusterState) -> frozenset[Place]:
    """Return the declared and recorded places of use, in projects that may be read now.

    The operator reads nothing in a suspended project, or in one of another operator.
    """
    declared = declared_places(obj, account.name, account.project_id, cluster)
    places = declared | recorded_places(cluster.account(obj))
    readable = {home: _may_read(home, cluster) for home in {place.project_id for place in places}}
    return frozenset(place for place in places if readable[place.project_id])


def undeclared_places(obj: CloudRunIdentity, account: Target, cluster: ClusterState) -> frozenset[Place]:
    """Return the recorded places of use that no object declares any more."""
    recorded = recorded_places(cluster.account(obj))
    return recorded and recorded - declared_places(obj, account.name, account.project_id, cluster)


def _may_read(project_id: str, cluster: ClusterState) -> bool:
    project = cluster.project_on(project_id)
    return project is not None and cluster.operates(project) and not is_suspended(project, project)


def unreachable(
    obj: CloudRunIdentity, email: str, project_id: str, record: LedgerAccount | None, cluster: ClusterState
) -> Iterator[str]:
    """Return the projects in which workloads may run as the identity and that cannot be listed, in words.

    A ManagedProject exists as long as it is used, unless a user removes its finalizer.
    """
    for home in sorted({project_id, *(place.project_id for place in recorded_places(record))}):
        if cluster.project_on(home) is None:
            yield (
                f"workloads of project {home}, which has no valid ManagedProject ({_DECLARE_ONE}, or "
                f"{_UNCHECKED})"
            )
    if record and record.used_elsewhere:
        yield f"workloads in more places than the {MAX_PLACES} that the ledger records ({_UNCHECKED})"
    for usable in obj.spec.usable_from:
        if cluster.project(usable.project_ref.name) is None:
            yield (
                f"workloads of ManagedProject {usable.project_ref.name}, {_MISSING} ({_DECLARE}, or remove "
                "it from spec.usableFrom)"
            )
    for attachment in _attachments(obj, email, cluster):
        name = attachment.spec.project_ref.name
        if cluster.project(name) is None and _is_attached(attachment, email):
            workload = attachment.spec.workload
            yield (
                f"{workload.kind} {workload.location}/{workload.name} in ManagedProject {name}, {_MISSING} "
                f"({_DECLARE}, or delete {ObjectKey.of(attachment)})"
            )


_MISSING = "which does not exist or is invalid"
_DECLARE = "declare or correct it"
_DECLARE_ONE = "declare or correct one"
_UNCHECKED = "set spec.deletionProtection to None to delete the account unchecked"


def _declared(obj: CloudRunIdentity, email: str, project_id: str, cluster: ClusterState) -> Iterable[Place]:
    projects = {project_id: cluster.project_on(project_id)}
    for usable in obj.spec.usable_from:
        project = cluster.project(usable.project_ref.name)
        if project and _admits(project, obj.metadata.namespace, cluster):
            projects[project.project_id] = project
    for attachment in _attachments(obj, email, cluster):
        project = cluster.project(attachment.spec.project_ref.name)
        if project and _admits(project, attachment.metadata.namespace, cluster):
            projects[project.project_id] = project
            yield Place(project.project_id, attachment.spec.workload.location)
    for home, project in projects.items():
        if project:
            named = cluster.locations(obj.metadata.namespace, project.metadata.name)
            for location in named.union(project.spec.locations):
                yield Place(home, location)


def _attachments(obj: CloudRunIdentity, email: str, cluster: ClusterState) -> Iterable[IdentityAttachment]:
    """Return the attachments that reference this identity and are, or were, allowed to."""
    referrers = {*cluster.referrers(ObjectKey.of(obj)), *cluster.referrers(account_key(email))}
    allowed = {obj.metadata.namespace, *obj.spec.allowed_namespaces}
    for key in sorted(referrers):
        if key.kind != IdentityAttachment.__name__:
            continue
        found = cluster.attachment(key.namespace, key.name)
        if found and (key.namespace in allowed or _is_attached(found, email)):
            yield found


def _is_attached(attachment: IdentityAttachment, email: str) -> bool:
    return lower_email(attachment.status.current_service_account or "") == lower_email(email)


def _admits(project: ManagedProject, namespace: str, cluster: ClusterState) -> bool:
    """Return whether the project admits the namespace: others cannot block a deletion."""
    return isinstance(may_use_project(project, namespace, guardrail_facts(project, cluster)), Admitted)
