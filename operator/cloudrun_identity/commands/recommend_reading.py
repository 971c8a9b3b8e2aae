"""Reads what `recommend` prints: findings of projects, and services on the default account."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

from cloudrun_identity.api import WorkloadKind
from cloudrun_identity.exporting.declared import Declared
from cloudrun_identity.exporting.suggestions import suggest
from cloudrun_identity.exporting.workload_sources import Found, read_numbers, read_workloads
from cloudrun_identity.gcp.errors import GoogleError
from cloudrun_identity.gcp.findings_reader import SOURCES, read_findings
from cloudrun_identity.gcp.policies import Policies
from cloudrun_identity.gcp.recommender import Mark, Recommender
from cloudrun_identity.gcp.workloads import Workload
from cloudrun_identity.iam.google_findings import (
    FindingSource,
    FindingState,
    RoleRecommendation,
    WorkloadIdentityRecommendation,
)
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.recommendations.changes import HeldGrant, applied, role_changes
from cloudrun_identity.reconcile.advice import advised

from .recommend_output import Markable, Report

if TYPE_CHECKING:
    from cloudrun_identity.gcp.clients import GoogleClients

Recommended: TypeAlias = RoleRecommendation | WorkloadIdentityRecommendation


class Reader:
    """Reads the findings of projects into a report."""

    def __init__(
        self, clients: "GoogleClients", declared: Declared, mark: Mark | None, *, custom_roles: bool
    ) -> None:
        self.report = Report()
        self._clients = clients
        self._recommender = Recommender(clients)
        self._declared = declared
        self._mark = mark
        self._custom_roles = custom_roles
        self._services: list[Workload] = []

    async def read(self, project_id: str, locations: Iterable[str]) -> None:
        """Add the recommendations about a project. Raises GoogleError if its policy is refused."""
        report, now = self.report, datetime.now(UTC)
        findings = await read_findings(self._recommender, project_id, now, advised)
        changes = role_changes(self._declared, project_id, findings, custom_roles=self._custom_roles)
        report.sources += len(SOURCES)
        report.unreadable += (f"{each.source} of {project_id}: {each.why}" for each in findings.unreadable)
        report.roles += changes.roles
        report.elsewhere += ((project_id, each) for each in changes.elsewhere)
        report.unused += findings.unused_accounts
        report.movements += ((project_id, each) for each in findings.lateral_movements)
        workloads = [each for location in locations for each in await self._workloads(project_id, location)]
        if self._mark is Mark.CLAIMED:
            open_ones: list[Recommended] = [*(each.found for each in changes.roles), *workloads]
            active = (each for each in open_ones if each.state is FindingState.ACTIVE)
            self._add_markable(project_id, active)
        elif self._mark is Mark.SUCCEEDED:
            held = await self._held(project_id)
            self._add_markable(project_id, applied(self._declared, project_id, findings, held))

    async def suggest(self) -> None:
        """Add the identities for the services on the default account. Raises GoogleError."""
        found = Found()
        await read_workloads(self._clients, self._services, found)
        await read_numbers(self._clients, found)
        self.report.suggestions = suggest(found.states, self._declared, "", found.numbers)

    async def _workloads(self, project_id: str, location: str) -> tuple[WorkloadIdentityRecommendation, ...]:
        self.report.sources += 1
        try:
            found = await self._recommender.workload_identities(project_id, location)
        except GoogleError as error:
            source = f"{FindingSource.WORKLOAD_IDENTITIES} of {project_id} in {location}"
            self.report.unreadable.append(f"{source}: {advised(error)}")
            return ()
        self.report.workloads += found
        self._services += (
            Workload(WorkloadKind.SERVICE, project_id, each.location, each.service) for each in found
        )
        return found

    async def _held(self, project_id: str) -> tuple[HeldGrant, ...]:
        """Return the grants on the project. Raises GoogleError."""
        policy = await Policies(self._clients).get(Target.project(project_id))
        return tuple(
            HeldGrant(member, binding.role, binding.condition.expression)
            for binding in policy.bindings
            for member in binding.members
        )

    def _add_markable(self, project_id: str, found: Iterable[Recommended]) -> None:
        by_name = {each.name: Markable(project_id, each) for each in found}
        self.report.markable += by_name.values()


async def set_states(clients: "GoogleClients", markable: Iterable[Markable], mark: Mark) -> None:
    """Mark recommendations, each in the version that was read. Raises GoogleError."""
    recommender = Recommender(clients)
    for project_id, found in markable:
        await recommender.mark(project_id, found.name, found.etag, mark)
