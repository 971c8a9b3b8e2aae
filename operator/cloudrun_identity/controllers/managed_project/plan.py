"""The plan for a managed project: pure, from the declared project and the project as read."""

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from cloudrun_identity.api import (
    CrossProjectUsage,
    EffectiveCrossProjectUsage,
    ManagedProject,
    MissingPermission,
    Reason,
)
from cloudrun_identity.gcp.org_policies import CROSS_PROJECT_USAGE
from cloudrun_identity.gcp.projects import Project
from cloudrun_identity.reconcile.advice import CHECK, operator_name
from cloudrun_identity.reconcile.cluster_state import ClusterState, ObjectKey
from cloudrun_identity.reconcile.outcomes import Failing, InSync
from cloudrun_identity.reconcile.preconditions import still_used
from cloudrun_identity.reconcile.steps import Action, Change, Fail, Plan, StepEvent, Wait

from .audit import NOT_LOOKED, WorkloadAudit
from .orphans import orphans_to_release
from .powerful_accounts import PowerfulAccount

EFFECT_RECHECK = 5.0
"""Seconds between looks whether a lifted organization policy is in effect; Google takes up to minutes."""


@dataclass(frozen=True, slots=True)
class ProjectWant:
    """A project as declared, or its deletion."""

    obj: ManagedProject
    cluster: ClusterState
    deletes: bool = False
    """True if the object is being deleted."""

    @property
    def project_id(self) -> str:
        """Id of the Google Cloud project."""
        return self.obj.project_id


@dataclass(frozen=True, slots=True)
class ProjectSeen:
    """A project as read."""

    project: Project | None
    """The project; None if Google shows none."""
    missing: tuple[MissingPermission, ...] = ()
    """Permissions that the operator seems to lack in it."""
    operator: str = ""
    """E-mail that the operator acts as in it; empty if unknown."""
    usage: EffectiveCrossProjectUsage = EffectiveCrossProjectUsage.UNKNOWN
    """Effective setting for workloads of other projects that run as its accounts."""
    audit: WorkloadAudit = NOT_LOOKED
    """Workloads that run as a default account."""
    powerful: tuple[PowerfulAccount, ...] = ()
    """Accounts with escalating roles in the project that the operator may act as."""
    accounts: frozenset[str] = frozenset()
    """E-mails of its service accounts."""
    lifted: bool = False
    """True if this reconcile has lifted the organization policy."""
    released: bool = False
    """True if this reconcile has released the orphans."""


@dataclass(frozen=True, slots=True)
class AllowCrossProjectUsage(Action):
    """Stop enforcing the organization policy that forbids cross-project usage of service accounts."""

    verb: ClassVar[str] = "set"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseOrphans(Action):
    """Release what ledgers record for objects that no longer exist."""

    orphans: tuple[str, ...]
    """The objects, as KIND/NAMESPACE/NAME, and abandoned accounts."""

    @property
    def event(self) -> StepEvent | None:
        """Event about the released objects."""
        message = (
            f"Released {', '.join(self.orphans)}: the grants are revoked; accounts, roles, keys and "
            "workloads are left in Google Cloud and unmanaged"
        )
        return StepEvent("OrphansReleased", message)


ProjectAction: TypeAlias = AllowCrossProjectUsage | ReleaseOrphans


def plan(want: ProjectWant, seen: ProjectSeen) -> Plan[ProjectAction]:
    """Return why the project cannot be used, or the orphans to release and the policy to lift."""
    if want.deletes:
        used = still_used(ObjectKey.of(want.obj), want.cluster)
        return Plan() if isinstance(used, InSync) else Plan((Fail(used),))
    if seen.project is None:
        message = (
            f"spec.projectID: project {want.project_id} does not exist, or {operator_name(seen.operator)} "
            f"may not see it. Check the ID: gcloud projects describe {want.project_id}. If it is wrong, "
            "delete the ManagedProject and create it with the right ID. If it is right, the operator needs "
            f"resourcemanager.projects.get there: run `{CHECK}`, which prints the commands that grant it"
        )
        return Plan((Fail(Failing(Reason.PERMISSION_DENIED, message)),))
    if not seen.project.active:
        message = f"spec.projectID: project {want.project_id} is being deleted"
        return Plan((Fail(Failing(Reason.DEPENDENCY_NOT_FOUND, message)),))
    orphans = () if seen.released else orphans_to_release(want.obj, want.cluster)
    return Plan((*_release(want, orphans), *_allow(want, seen)))


def _release(want: ProjectWant, orphans: tuple[str, ...]) -> tuple[ReleaseOrphans, ...]:
    changes = tuple(Change(f"orphan {each}", "recorded", "released", due=True) for each in orphans)
    resource = f"//cloudresourcemanager.googleapis.com/projects/{want.project_id}"
    return (ReleaseOrphans(resource, changes, orphans=orphans),) if orphans else ()


def _allow(want: ProjectWant, seen: ProjectSeen) -> tuple[AllowCrossProjectUsage | Wait, ...]:
    allow = want.obj.spec.cross_project_usage is CrossProjectUsage.ALLOW
    if not allow or seen.usage is EffectiveCrossProjectUsage.ALLOWED:
        return ()
    changes = (Change("crossProjectUsage", seen.usage, EffectiveCrossProjectUsage.ALLOWED),)
    if seen.lifted:
        message = f"{CROSS_PROJECT_USAGE} is lifted in {want.project_id}; waiting for the change to propagate"
        return (Wait(Reason.UPDATING, message, EFFECT_RECHECK, changes),)
    policy = f"//orgpolicy.googleapis.com/projects/{want.project_id}/policies/{CROSS_PROJECT_USAGE}"
    return (AllowCrossProjectUsage(policy, changes),)
