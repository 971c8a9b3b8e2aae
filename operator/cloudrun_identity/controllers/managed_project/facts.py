"""Facts about a project that seldom change, read at most once per hour while nothing is wrong with it.

The policies of a project are read at each drift interval. Its state, the permissions of the operator and the
organization policy are read on an edit, at each interval while the project is unhealthy, after a failure of a
policy or an object, and otherwise before they are older than `FACTS_MAX_AGE`.

One quota admits the reads of the organization policies of all projects. While it is low, only an edit or a
request of a user reads one again before it is older than `FACTS_MAX_AGE`: no project waits for others. In the
first hour after a start, what the status shows is as good as a read at the start.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from cloudrun_identity.api import (
    ConditionStatus,
    ConditionType,
    CrossProjectUsage,
    EffectiveCrossProjectUsage,
    IAMBinding,
    ManagedProject,
)
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.org_policies import OrgPolicies
from cloudrun_identity.gcp.permissions import ACCOUNT_PERMISSIONS, FEATURES, needed
from cloudrun_identity.gcp.policies import Policies
from cloudrun_identity.gcp.projects import Project, Projects
from cloudrun_identity.gcp.single_flight_cache import Clock
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.reconcile.cluster_state import ClusterState, ObjectKey
from cloudrun_identity.reconcile.drift import was_ready

Fact = TypeVar("Fact")

FACTS_MAX_AGE = 3600.0
"""Maximum age in seconds of the facts about a project in which nothing is wrong."""

CACHE_SIZE = 4096
"""Maximum number of projects whose facts are cached."""


@dataclass(frozen=True, slots=True)
class ProjectFacts:
    """Facts about an active project."""

    project: Project
    """The project."""
    asked: frozenset[str]
    """The permissions that were asked for."""
    held: frozenset[str]
    """The permissions among them that the operator seems to have on the project."""


@dataclass(frozen=True, slots=True)
class MaxAges:
    """Maximum ages, in seconds, of the parts of an observation. 0 reads them from Google now."""

    facts: float
    """Maximum age of the project and of the operator's permissions."""
    contents: float
    """Maximum age of the organization policy, and of the lists of workloads and accounts."""
    is_requested: bool = False
    """True if a user waits for the result, after an edit or a request to reconcile."""


def max_ages(obj: ManagedProject, cluster: ClusterState, max_age: float) -> MaxAges:
    """Return the maximum ages for a reconcile that accepts reads of `max_age` seconds; 0 after an edit.

    Facts that would become older than `FACTS_MAX_AGE` before the next resync are read now.
    """
    if max_age <= 0 or not is_healthy(obj):
        return MaxAges(0.0, max_age, obj.is_requested)
    interval = obj.spec.drift_interval.timedelta.total_seconds()
    seldom = max(max_age, FACTS_MAX_AGE - interval)
    return MaxAges(seldom, max_age if has_contents(obj, cluster) else seldom)


def is_healthy(obj: ManagedProject) -> bool:
    """Return whether the ManagedProject is Ready and not Degraded."""
    degraded = obj.status.condition(ConditionType.DEGRADED)
    return was_ready(obj) and degraded is not None and degraded.status is ConditionStatus.FALSE


def has_contents(obj: ManagedProject, cluster: ClusterState) -> bool:
    """Return whether an object depends on accounts or workloads, or on the organization policy.

    Only an IAMBinding on another target than a workload depends on its policy alone.
    """
    if obj.spec.cross_project_usage is CrossProjectUsage.ALLOW:
        return True
    if any(key.kind != IAMBinding.__name__ for key in cluster.referrers(ObjectKey.of(obj))):
        return True
    return bool(_locations(obj, cluster))


def _locations(obj: ManagedProject, cluster: ClusterState) -> frozenset[str]:
    """Return the locations of the workloads on which bindings grant roles."""
    namespaces = {key.namespace for key in cluster.referrers(ObjectKey.of(obj))}
    name = obj.metadata.name
    return frozenset(location for each in namespaces for location in cluster.locations(each, name))


class ProjectFactsReader:
    """Reads facts about projects, and remembers them."""

    def __init__(
        self, projects: Projects, policies: Policies, org_policies: OrgPolicies, clock: Clock
    ) -> None:
        self._projects = projects
        self._policies = policies
        self._org_policies = org_policies
        self._clock = clock
        self._started = clock()
        self._facts: dict[str, tuple[float, ProjectFacts]] = {}
        self._usages: dict[str, tuple[float, EffectiveCrossProjectUsage]] = {}

    async def facts(self, obj: ManagedProject, max_age: float) -> ProjectFacts | Project | None:
        """Return the facts; only the project if it is not active, and None if Google shows none.

        Raises:
            GoogleError: the project cannot be read for another reason.

        """
        project_id = obj.project_id
        asked = frozenset(_wanted(needed(obj)))
        known = _recent(self._facts, project_id, self._clock() - max_age)
        if known and asked <= known.asked:
            return known
        self._facts.pop(project_id, None)
        started = self._clock()
        try:
            project = await self._projects.get(project_id)
        except GoogleError as error:
            # Google answers 403 for a project that does not exist, so that callers cannot probe for projects.
            if error.fault in (Fault.NOT_FOUND, Fault.PERMISSION_DENIED):
                return None
            raise
        if not project.active:
            return project
        held = await self._policies.test_permissions(Target.project(project_id), asked)
        facts = ProjectFacts(project, asked, held)
        _remember(self._facts, project_id, (started, facts))
        return facts

    async def cross_project_usage(
        self, obj: ManagedProject, max_age: float, *, is_requested: bool = False
    ) -> EffectiveCrossProjectUsage:
        """Return the effective organization policy; unknown if the operator may not read it.

        If it `is_requested`, the quota is used until it is exhausted.
        """
        project_id, now = obj.project_id, self._clock()
        known = _recent(self._usages, project_id, now - max_age)
        if known:
            return known
        oldest = now - FACTS_MAX_AGE
        recent = _recent(self._usages, project_id, oldest) or self._reported_usage(obj, oldest)
        if recent and not is_requested and self._org_policies.are_reads_low(project_id):
            return recent
        usage = await self._read_usage(project_id)
        _remember(self._usages, project_id, (now, usage))
        return usage

    async def allow_cross_project_usage(self, project_id: str) -> bool:
        """Lift the organization policy, which the next reconcile reads again. Return whether it was enforced.

        Raises:
            GoogleError: it cannot be read or written.

        """
        written = await self._org_policies.allow_cross_project_usage(project_id)
        self._usages.pop(project_id, None)
        return written

    def _reported_usage(self, obj: ManagedProject, after: float) -> EffectiveCrossProjectUsage | None:
        """Return what the status shows, as if it was read at the start; None if the start was earlier.

        A policy that the operator is to lift is read in any case.
        """
        if self._started <= after or obj.spec.cross_project_usage is CrossProjectUsage.ALLOW:
            return None
        return obj.status.cross_project_usage

    async def _read_usage(self, project_id: str) -> EffectiveCrossProjectUsage:
        try:
            allowed = await self._org_policies.allows_cross_project_usage(project_id)
        except GoogleError as error:
            if error.fault in _UNREADABLE:
                return EffectiveCrossProjectUsage.UNKNOWN
            raise
        return EffectiveCrossProjectUsage.ALLOWED if allowed else EffectiveCrossProjectUsage.DENIED


def _wanted(features: Iterable[str]) -> Iterable[str]:
    """Yield the permissions of the features, and those for the warning about powerful accounts."""
    for feature in features:
        yield from FEATURES[feature]
    yield from ACCOUNT_PERMISSIONS


def _recent(known: Mapping[str, tuple[float, Fact]], project_id: str, after: float) -> Fact | None:
    found = known.get(project_id)
    return found[1] if found and found[0] > after else None


def _remember(known: dict[str, tuple[float, Fact]], project_id: str, fact: tuple[float, Fact]) -> None:
    known.pop(project_id, None)
    known[project_id] = fact
    if len(known) > CACHE_SIZE:
        del known[next(iter(known))]


_UNREADABLE = frozenset(
    {Fault.PERMISSION_DENIED, Fault.PERIMETER_VIOLATION, Fault.API_DISABLED, Fault.NOT_FOUND}
)
