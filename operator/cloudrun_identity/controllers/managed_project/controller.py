"""ManagedProject: a project that is lent to namespaces.

One thing is ever written for it, and by its own spec alone: the organization policy that `crossProjectUsage:
Allow` asks for. The rest is looked at.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from cloudrun_identity.api import (
    ConditionType,
    CrossProjectUsage,
    EffectiveCrossProjectUsage,
    ManagedProject,
    MissingPermission,
    Reason,
)
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.inventory import Inventory
from cloudrun_identity.gcp.mutations import log_mutation
from cloudrun_identity.gcp.org_policies import CROSS_PROJECT_USAGE, OrgPolicies
from cloudrun_identity.gcp.permissions import FEATURES
from cloudrun_identity.gcp.policies import Policies
from cloudrun_identity.gcp.projects import Project, Projects, cloud_run_service_agent
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.guardrails import incomplete_entries
from cloudrun_identity.reconcile.cluster_state import ClusterState, ObjectKey
from cloudrun_identity.reconcile.grants.resolver import RequestedGrant
from cloudrun_identity.reconcile.interfaces import Applied, Change, Summary
from cloudrun_identity.reconcile.outcomes import Failing, InSync, Outcome, Refused, Waiting
from cloudrun_identity.reconcile.preconditions import Allowed, Blocked, still_used

from .audit import (
    NOT_LOOKED,
    WorkloadAudit,
    audit_workloads,
    crowding,
    locations_of,
    on_default_identity,
    orphans,
    service_agent_ready,
)

LOOK_AGAIN = 5.0
"""Seconds between looks whether a lifted organization policy is in effect; Google takes up to minutes."""


@dataclass(frozen=True, slots=True)
class ProjectWant:
    """The project as declared, among everything else there is."""

    obj: ManagedProject
    cluster: ClusterState

    @property
    def project_id(self) -> str:
        """The Google Cloud project's id."""
        return self.obj.project_id


@dataclass(frozen=True, slots=True)
class ProjectSeen:
    """The project, None where Google shows none, and what there is to know of it.

    `missing` is what we seem to lack in it, `operator` the e-mail that we are, `usage` whether its accounts
    may run other projects' workloads.
    """

    project: Project | None
    missing: tuple[MissingPermission, ...] = ()
    operator: str = ""
    usage: EffectiveCrossProjectUsage = EffectiveCrossProjectUsage.UNKNOWN
    audit: WorkloadAudit = NOT_LOOKED


class ManagedProjectController:
    """The life of a ManagedProject."""

    kind = ManagedProject

    def __init__(
        self,
        projects: Projects,
        policies: Policies,
        org_policies: OrgPolicies,
        inventory: Inventory,
        identity: Callable[[str], str],
        wall_clock: Callable[[], datetime],
    ) -> None:
        """`identity(project_id)` is the e-mail that we act as in it, empty where it is not known."""
        self._projects = projects
        self._policies = policies
        self._org_policies = org_policies
        self._inventory = inventory
        self._identity = identity
        self._wall_clock = wall_clock

    def references(self, obj: ManagedProject) -> frozenset[ObjectKey]:
        """None."""
        return frozenset()

    def declares(self, obj: ManagedProject) -> str:
        """The project: two ManagedProjects on one are a conflict."""
        return obj.project_id

    def resolve(self, obj: ManagedProject, allowed: Allowed, cluster: ClusterState) -> ProjectWant | Blocked:
        """Return the object, or why its guardrails are invalid."""
        incomplete = incomplete_entries(obj)
        if incomplete:
            message = (
                f"{', '.join(incomplete)}: targetKinds is not set, and without it an entry admits nothing; "
                "apply the manifest with targetKinds, such as [Project]"
            )
            return Blocked(Refused(Reason.INVALID_SPEC, message))
        return ProjectWant(obj, cluster)

    async def observe(self, want: ProjectWant, max_age: float) -> ProjectSeen:
        """The project, our permissions in it and its policy, read now; its workloads may be aged."""
        try:
            project = await self._projects.get(want.project_id)
        except GoogleError as error:
            # Google answers 403 for a project that does not exist, so as not to tell which ones do.
            if error.fault in (Fault.NOT_FOUND, Fault.PERMISSION_DENIED):
                return ProjectSeen(None)
            raise
        if not project.active:
            return ProjectSeen(project)
        wanted = {permission for permissions in FEATURES.values() for permission in permissions}
        held = await self._policies.test_permissions(Target.project(want.project_id), wanted)
        return ProjectSeen(
            project,
            _missing(held),
            self._identity(want.project_id),
            await self._usage(want.project_id),
            await audit_workloads(
                self._inventory, want.project_id, locations_of(want.obj, want.cluster), max_age
            ),
        )

    def diff(self, want: ProjectWant, seen: ProjectSeen) -> tuple[Change, ...]:
        """The organization policy, where it is to be lifted and is in force, or may be."""
        allow = want.obj.spec.cross_project_usage is CrossProjectUsage.ALLOW
        if not allow or seen.usage is EffectiveCrossProjectUsage.ALLOWED or not _is_active(seen):
            return ()
        return (Change("crossProjectUsage", seen.usage, EffectiveCrossProjectUsage.ALLOWED),)

    async def apply(
        self, want: ProjectWant, seen: ProjectSeen, changes: tuple[Change, ...]
    ) -> Applied[ProjectSeen]:
        """Lift the policy, and say whether the project can be worked in."""
        if seen.project is None:
            return Applied(
                Failing(
                    Reason.PERMISSION_DENIED,
                    f"spec.projectID: there is no project {want.project_id}, or the operator may not see it; "
                    "check the id and grant the operator resourcemanager.projects.get there",
                ),
                seen,
            )
        if not seen.project.active:
            return Applied(
                Failing(
                    Reason.DEPENDENCY_NOT_FOUND, f"spec.projectID: project {want.project_id} is being deleted"
                ),
                seen,
            )
        return await self._allow_usage(want.project_id, seen) if changes else Applied(InSync(), seen)

    def requested_grants(self, want: ProjectWant, cluster: ClusterState) -> tuple[RequestedGrant, ...]:
        """None."""
        return ()

    def summarize(self, want: ProjectWant, seen: ProjectSeen) -> Summary:
        """The project's number and agent, what we may not do in it, and what somebody should look after."""
        project = seen.project
        if project is None:
            return Summary({"missing_permissions": ()})
        fields = {
            "project_number": project.number,
            "cloud_run_service_agent": cloud_run_service_agent(project.number),
            "missing_permissions": seen.missing,
            "operator_identity": seen.operator or None,
            "cross_project_usage": seen.usage,
            "workloads_on_default_identity": on_default_identity(seen.audit),
            "orphans": orphans(want.obj, want.cluster, self._wall_clock()),
        }
        agent = service_agent_ready(want.project_id, project.number, seen.audit)
        return Summary(
            fields, conditions={ConditionType.SERVICE_AGENT_READY: agent}, issues=tuple(_issues(want, seen))
        )

    async def delete(self, obj: ManagedProject, cluster: ClusterState, *, abandon: bool) -> Outcome:
        """Wait until nothing refers to it: the objects of the project need it to undo what they did."""
        return InSync() if abandon else still_used(ObjectKey.of(obj), cluster)

    async def _usage(self, project_id: str) -> EffectiveCrossProjectUsage:
        """What the organization policy comes to; unknown where it is not ours to read."""
        try:
            allowed = await self._org_policies.allows_cross_project_usage(project_id)
        except GoogleError as error:
            if error.fault in _NOT_TO_BE_KNOWN:
                return EffectiveCrossProjectUsage.UNKNOWN
            raise
        return EffectiveCrossProjectUsage.ALLOWED if allowed else EffectiveCrossProjectUsage.DENIED

    async def _allow_usage(self, project_id: str, seen: ProjectSeen) -> Applied[ProjectSeen]:
        try:
            written = await self._org_policies.allow_cross_project_usage(project_id)
        except GoogleError as error:
            if error.fault is not Fault.PERMISSION_DENIED:
                raise
            message = (
                f"spec.crossProjectUsage: {CROSS_PROJECT_USAGE} is not the operator's to lift; grant it "
                f"roles/orgpolicy.policyAdmin on the organization, or have whoever holds that run: "
                f"gcloud resource-manager org-policies disable-enforce {CROSS_PROJECT_USAGE} "
                f"--project {project_id}"
            )
            return Applied(Failing(Reason.PERMISSION_DENIED, message), seen)
        if written:
            name = f"//orgpolicy.googleapis.com/projects/{project_id}/policies/{CROSS_PROJECT_USAGE}"
            log_mutation("set", name, before=seen.usage, after="not enforced")
        message = f"{CROSS_PROJECT_USAGE} is lifted in {project_id}; waiting until Google goes by it"
        return Applied(Waiting(Reason.UPDATING, message, after=LOOK_AGAIN), seen)


def _is_active(seen: ProjectSeen) -> bool:
    return seen.project is not None and seen.project.active


def _issues(want: ProjectWant, seen: ProjectSeen) -> list[str]:
    """What the status warns of."""
    issues = [
        f"{place} cannot be read, so nothing is known of their identity: {error.message}"
        for place, error in seen.audit.unreadable
    ]
    if not want.obj.spec.locations:
        issues.append(
            "spec.locations is unset: workloads are looked for only where attachments and targets are"
        )
    return [*issues, *crowding(want.cluster.ledgers(want.project_id))]


def _missing(held: frozenset[str]) -> tuple[MissingPermission, ...]:
    return tuple(
        MissingPermission(permission=permission, feature=feature)
        for feature, permissions in FEATURES.items()
        for permission in permissions
        if permission not in held
    )


_NOT_TO_BE_KNOWN = frozenset({Fault.PERMISSION_DENIED, Fault.API_DISABLED, Fault.NOT_FOUND})
