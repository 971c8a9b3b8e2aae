"""What runs as an identity: judged so that what cannot be read counts as in use."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from cloudrun_identity.api import (
    CloudRunIdentity,
    IAMBinding,
    IdentityAttachment,
    ManagedProject,
    WorkloadKind,
)
from cloudrun_identity.gcp.errors import GoogleError
from cloudrun_identity.gcp.inventory import Inventory
from cloudrun_identity.iam.admission import Admitted, may_use_project
from cloudrun_identity.iam.principals import lower_email
from cloudrun_identity.reconcile.cluster_state import ClusterState, ObjectKey, account_key
from cloudrun_identity.reconcile.preconditions import guardrail_facts

SHARED = 2.0
"""Seconds for which lists of workloads are shared while deletions wait: those that wait together cost one
list, not many."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where workloads are looked for."""

    project_id: str
    location: str


class Usage:
    """Looks for what runs as an account."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory

    async def users(
        self,
        obj: CloudRunIdentity,
        email: str,
        project_id: str,
        cluster: ClusterState,
        max_age: float = SHARED,
    ) -> list[str]:
        """What runs as the account of the identity, and what could not be looked at, in words.

        `max_age` is how old, in seconds, the lists may be that are looked at.
        """
        found = list(_out_of_sight(obj, email, project_id, cluster))
        for place in sorted(set(_places(obj, email, project_id, cluster))):
            for kind in WorkloadKind:
                workloads = self._workloads(kind, place, email, max_age)
                found += await self._looked_for(f"{kind}s", place, workloads)
            executions = self._executions(place, email, max_age)
            found += await self._looked_for("running executions", place, executions)
        return found

    async def _looked_for(self, what: str, place: Place, users: AsyncIterator[str]) -> list[str]:
        """What was found; what cannot be read is in use, for all anybody knows."""
        try:
            return [user async for user in users]
        except GoogleError as error:
            return [f"{what} in {place.location}, which cannot be read ({error.message})"]

    async def _workloads(
        self, kind: WorkloadKind, place: Place, email: str, max_age: float
    ) -> AsyncIterator[str]:
        """Those that would run as the account from now on, or of which a part still does."""
        states = await self._inventory.workloads(place.project_id, place.location, kind, max_age)
        for state in states.values():
            if _same(state.service_account, email):
                yield str(state.workload)
                continue
            for revision, account in (await self._inventory.serving_accounts(state)).items():
                if _same(account, email):
                    yield f"{state.workload} (revision {revision})"

    async def _executions(self, place: Place, email: str, max_age: float) -> AsyncIterator[str]:
        """Those that have not ended: they run as what their job ran as when they began."""
        running = await self._inventory.running_executions(place.project_id, place.location, max_age)
        for execution in running:
            if _same(execution.service_account, email):
                yield f"{execution.job} (execution {execution.name})"


def _places(obj: CloudRunIdentity, email: str, project_id: str, cluster: ClusterState) -> Iterable[Place]:
    """Where something could run as the identity: all over its own project, and the others that may use it."""
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
        for location in project.spec.locations if project else ():
            yield Place(home, location)
    for binding in cluster.objects(IAMBinding):
        beside = binding.metadata.namespace == obj.metadata.namespace
        target, project = binding.spec.target, cluster.project(binding.spec.project_ref.name)
        if target.location and beside and project and project.project_id in projects:
            yield Place(project.project_id, target.location)


def _out_of_sight(obj: CloudRunIdentity, email: str, project_id: str, cluster: ClusterState) -> Iterable[str]:
    """Where something could run as the identity with nobody to tell where to look, in words.

    A ManagedProject stays for as long as it is used, but not if somebody takes its finalizer away.
    """
    if cluster.project_on(project_id) is None:
        yield (
            f"whatever is in project {project_id}, of which there is no ManagedProject that can be read "
            "(declare or correct one, or set spec.deletionProtection to None to delete the account unseen)"
        )
    for usable in obj.spec.usable_from:
        if cluster.project(usable.project_ref.name) is None:
            yield (
                f"whatever is in ManagedProject {usable.project_ref.name}, {_GONE} ({_DECLARE}, or take it "
                "out of spec.usableFrom)"
            )
    for attachment in _attachments(obj, email, cluster):
        name = attachment.spec.project_ref.name
        if cluster.project(name) is None and _is_attached(attachment, email):
            workload = attachment.spec.workload
            yield (
                f"{workload.kind} {workload.location}/{workload.name} in ManagedProject {name}, {_GONE} "
                f"({_DECLARE}, or delete {ObjectKey.of(attachment)})"
            )


_GONE = "which is not there or cannot be read"
_DECLARE = "declare or correct that"


def _attachments(obj: CloudRunIdentity, email: str, cluster: ClusterState) -> Iterable[IdentityAttachment]:
    """Those that name the identity, or its account, and may, or did as long as they might."""
    referrers = {*cluster.referrers(ObjectKey.of(obj)), *cluster.referrers(account_key(email))}
    allowed = {obj.metadata.namespace, *obj.spec.allowed_namespaces}
    for each in cluster.objects(IdentityAttachment):
        if ObjectKey.of(each) in referrers and (
            each.metadata.namespace in allowed or _is_attached(each, email)
        ):
            yield each


def _is_attached(attachment: IdentityAttachment, email: str) -> bool:
    return _same(attachment.status.current_service_account or "", email)


def _admits(project: ManagedProject, namespace: str, cluster: ClusterState) -> bool:
    """Only what may be there counts, lest anybody hold up anybody's deletion."""
    return isinstance(may_use_project(project, namespace, guardrail_facts(project, cluster)), Admitted)


def _same(one: str, other: str) -> bool:
    return lower_email(one) == lower_email(other)
