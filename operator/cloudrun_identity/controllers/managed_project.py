"""ManagedProject: a project that is lent to namespaces. Nothing is written for it; it is looked at."""

from collections.abc import Callable
from dataclasses import dataclass

from cloudrun_identity.api import ManagedProject, MissingPermission, Reason, TargetKind
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.permissions import FEATURES
from cloudrun_identity.gcp.policies import Policies
from cloudrun_identity.gcp.projects import Project, Projects, cloud_run_service_agent
from cloudrun_identity.iam.grants import Target

from .controller import Applied, Change, Summary
from .gate import Passed, Stopped
from .grants import Wish
from .outcomes import Failing, InSync, Outcome, Waiting
from .world import Key, World

_NAMED = 3  # objects that a message names before it counts the rest


@dataclass(frozen=True, slots=True)
class ProjectSeen:
    """The project, None where Google shows none; what we seem to lack in it, and the e-mail that we are."""

    project: Project | None
    missing: tuple[MissingPermission, ...] = ()
    operator: str = ""


class ManagedProjectController:
    """The life of a ManagedProject."""

    kind = ManagedProject

    def __init__(self, projects: Projects, policies: Policies, identity: Callable[[str], str]) -> None:
        """`identity(project_id)` is the e-mail that we act as in it, empty where it is not known."""
        self._identity = identity
        self._projects = projects
        self._policies = policies

    def references(self, obj: ManagedProject) -> frozenset[Key]:  # noqa: ARG002
        """None."""
        return frozenset()

    def declares(self, obj: ManagedProject) -> str:
        """The project: two ManagedProjects on one are a conflict."""
        return obj.project_id

    def desired(self, obj: ManagedProject, gate: Passed, world: World) -> ManagedProject | Stopped:  # noqa: ARG002
        """The object itself says all."""
        return obj

    async def observe(self, want: ManagedProject, max_age: float) -> ProjectSeen:  # noqa: ARG002
        """The project and our permissions in it: two calls, of whatever age they may be."""
        try:
            project = await self._projects.get(want.project_id)
        except GoogleError as error:
            # Google answers 403 for a project that does not exist, so as not to tell which ones do.
            if error.fault in (Fault.NOT_FOUND, Fault.PERMISSION_DENIED):
                return ProjectSeen(None)
            raise
        wanted = {permission for permissions in FEATURES.values() for permission in permissions}
        held = await self._policies.test_permissions(Target(TargetKind.PROJECT, want.project_id), wanted)
        return ProjectSeen(project, _missing(held), self._identity(want.project_id))

    def diff(self, want: ManagedProject, seen: ProjectSeen) -> tuple[Change, ...]:  # noqa: ARG002
        """Nothing that we could bring about."""
        return ()

    async def apply(
        self,
        want: ManagedProject,
        seen: ProjectSeen,
        changes: tuple[Change, ...],  # noqa: ARG002
    ) -> Applied[ProjectSeen]:
        """Say whether the project can be worked in."""
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
        return Applied(InSync(), seen)

    def wishes(self, want: ManagedProject, world: World) -> tuple[Wish, ...]:  # noqa: ARG002
        """None."""
        return ()

    def summarize(self, want: ManagedProject, seen: ProjectSeen) -> Summary:
        """The project's number, its Cloud Run service agent, and what we may not do in it."""
        if seen.project is None:
            return Summary({"missing_permissions": ()})
        issues = (
            ()
            if want.spec.locations
            else ("spec.locations is unset: workloads are looked for only where attachments and targets are",)
        )
        return Summary(
            {
                "project_number": seen.project.number,
                "cloud_run_service_agent": cloud_run_service_agent(seen.project.number),
                "missing_permissions": seen.missing,
                "operator_identity": seen.operator or None,
            },
            issues=issues,
        )

    async def delete(self, obj: ManagedProject, world: World, *, abandon: bool) -> Outcome:
        """Wait until nothing refers to it: the objects of the project need it to undo what they did."""
        if abandon:
            return InSync()
        users = sorted(world.referrers(Key.of(obj)))
        if not users:
            return InSync()
        names = ", ".join(map(str, users[:_NAMED]))
        more = f" and {len(users) - _NAMED} more" if len(users) > _NAMED else ""
        return Waiting(Reason.IN_USE, f"still used by {names}{more}; delete these first")


def _missing(held: frozenset[str]) -> tuple[MissingPermission, ...]:
    return tuple(
        MissingPermission(permission=permission, feature=feature)
        for feature, permissions in FEATURES.items()
        for permission in permissions
        if permission not in held
    )
