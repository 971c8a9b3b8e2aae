"""ManagedProject: a Google Cloud project that is delegated to namespaces.

The operator writes one thing for it, if its spec says so: the organization policy of `crossProjectUsage:
Allow`. Everything else is only read.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final, assert_never

from cloudrun_identity.api import (
    MAX_SPEC_BYTES,
    ConditionType,
    EffectiveCrossProjectUsage,
    GoogleRecommendations,
    ManagedProject,
    Reason,
)
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.findings_reader import FindingsReader
from cloudrun_identity.gcp.inventory import Inventory
from cloudrun_identity.gcp.org_policies import CROSS_PROJECT_USAGE, OrgPolicies
from cloudrun_identity.gcp.policies import Policies
from cloudrun_identity.gcp.projects import Project, Projects, cloud_run_service_agent
from cloudrun_identity.gcp.single_flight_cache import Clock
from cloudrun_identity.iam.admission import are_workloads_ambiguous
from cloudrun_identity.iam.guardrail_entries import invalid_entries
from cloudrun_identity.iam.shares import Budget
from cloudrun_identity.iam.wording import some
from cloudrun_identity.reconcile.advice import advised
from cloudrun_identity.reconcile.cluster_state import ClusterState, ObjectKey
from cloudrun_identity.reconcile.interfaces import Executed, Summary
from cloudrun_identity.reconcile.outcomes import Failing, InSync, Refused
from cloudrun_identity.reconcile.preconditions import Allowed, Blocked
from cloudrun_identity.reconcile.repeated_drift import RepeatedDrift
from cloudrun_identity.reconcile.steps import Plan

from .audit import (
    audit_workloads,
    drift_notices,
    locations_of,
    on_default_identity,
    orphans,
    service_agent_ready,
)
from .change_feed import FeedReader, feed_finding, feed_status
from .degradation import degradation, missing_permissions
from .facts import ProjectFactsReader, max_ages
from .limits import limit_issues
from .orphans import OrphanReleaser
from .plan import AllowCrossProjectUsage, ProjectAction, ProjectSeen, ProjectWant, ReleaseOrphans, plan
from .powerful_accounts import PowerfulAccounts, takeover_warnings

AMBIGUOUS: Final = "GuardrailsAmbiguous"
"""Reason of the Event for guardrails that do not assign the workloads to namespaces."""


class ManagedProjectController:
    """The kind ManagedProject."""

    kind = ManagedProject

    def __init__(
        self,
        projects: Projects,
        policies: Policies,
        org_policies: OrgPolicies,
        inventory: Inventory,
        identity: Callable[[str], str],
        orphan_releaser: OrphanReleaser,
        wall_clock: Callable[[], datetime],
        powerful_accounts: PowerfulAccounts | None,
        removals: Callable[[str], Budget],
        repeated_drift: Callable[[str, float], tuple[RepeatedDrift, ...]],
        clock: Clock = time.monotonic,
        findings: FindingsReader | None = None,
        feed: FeedReader = lambda _: None,
        resync_interval: Callable[[ManagedProject], float] = lambda _: 0.0,
    ) -> None:
        """Initialize the kind; without `powerful_accounts`, as in a dry run, accounts are not audited.

        `identity(project_id)` is the e-mail that the operator acts as in a project; empty if unknown.
        `removals(project_id)` returns the removals of unmanaged members in the last hour, by namespace.
        `repeated_drift(project_id, interval)` returns the drift that returned at the last resyncs.
        `feed` returns the state of the change feed of a project, and `resync_interval` its present interval.
        """
        self._findings = findings
        self._feed = feed
        self._resync_interval = resync_interval
        self._repeated_drift = repeated_drift
        self._removals = removals
        self._facts = ProjectFactsReader(projects, policies, org_policies, clock)
        self._inventory = inventory
        self._identity = identity
        self._orphan_releaser = orphan_releaser
        self._wall_clock = wall_clock
        self._powerful_accounts = powerful_accounts

    def references(self, obj: ManagedProject) -> frozenset[ObjectKey]:
        """Return nothing: a project names no object."""
        return frozenset()

    def declares(self, obj: ManagedProject) -> str:
        """Return the project: two ManagedProjects on one project are a conflict."""
        return obj.project_id

    def describe(self, want: ProjectWant) -> str:
        """Return the name of the project as plans show it."""
        return f"Project {want.project_id}"

    def resolve(self, obj: ManagedProject, allowed: Allowed, cluster: ClusterState) -> ProjectWant | Blocked:
        """Return the project as declared, or why its guardrails are invalid."""
        invalid = invalid_entries(obj)
        if invalid:
            message = (
                f"{'; '.join(map(str, invalid))}; apply the manifest with these fields. An entry may omit "
                "namespaces only if spec.namespaces.names has exactly one entry and no selector is set"
            )
            return Blocked(Refused(Reason.INVALID_SPEC, message))
        return ProjectWant(obj, cluster)

    def depends_on_policies_alone(self, obj: ManagedProject) -> bool:
        """Return False: the project is read."""
        return False

    async def observe(self, want: ProjectWant, max_age: float) -> ProjectSeen:
        """Return the project, the operator's permissions, the organization policy and the workloads.

        `facts.max_ages` decides which of them may be older than `max_age`.
        """
        if want.deletes:
            return ProjectSeen(None)
        ages = max_ages(want.obj, want.cluster, max_age)
        facts = await self._facts.facts(want.obj, ages.facts)
        if facts is None:
            return ProjectSeen(None, operator=self._identity(want.project_id))
        if isinstance(facts, Project):
            return ProjectSeen(facts)
        if self._findings and want.obj.spec.recommendations is GoogleRecommendations.REPORT:
            self._findings.latest(want.project_id)  # a project is observed more often than its identities
        seen = ProjectSeen(
            facts.project,
            missing_permissions(facts.held, want.obj),
            self._identity(want.project_id),
            await self._facts.cross_project_usage(want.obj, ages.contents, is_requested=ages.is_requested),
        )
        if self._powerful_accounts is None:
            return seen
        return replace(
            seen,
            audit=await audit_workloads(
                self._inventory, want.project_id, locations_of(want.obj, want.cluster), ages.contents
            ),
            powerful=await self._powerful_accounts.of(facts.project, facts.held),
            accounts=await self._accounts(want.project_id, ages.contents),
        )

    async def _accounts(self, project_id: str, max_age: float) -> frozenset[str]:
        """Return the e-mails of all accounts; none if the operator may not list them."""
        try:
            return await self._inventory.account_emails(project_id, max_age)
        except GoogleError:
            return frozenset()

    def plan(self, want: ProjectWant, seen: ProjectSeen, now: datetime) -> Plan[ProjectAction]:
        """Return why the project cannot be used, or the orphans to release and the policy to lift."""
        return plan(want, seen)

    async def execute(
        self, action: ProjectAction, want: ProjectWant, seen: ProjectSeen
    ) -> Executed[ProjectSeen]:
        """Execute one action; raises GoogleError."""
        match action:
            case AllowCrossProjectUsage():
                return await self._lift(want, seen)
            case ReleaseOrphans(orphans=orphans):
                ledgers = want.cluster.ledgers(want.project_id)
                outcome = await self._orphan_releaser.release(orphans, ledgers)
                released = isinstance(outcome, InSync)
                return Executed(
                    replace(seen, released=released), None if released else outcome, written=released
                )
            case _:
                assert_never(action)

    async def _lift(self, want: ProjectWant, seen: ProjectSeen) -> Executed[ProjectSeen]:
        """Lift the organization policy, and wait until it is in effect."""
        try:
            written = await self._facts.allow_cross_project_usage(want.project_id)
        except GoogleError as error:
            if error.fault is not Fault.PERMISSION_DENIED:
                raise
            return Executed(seen, Failing(Reason.PERMISSION_DENIED, _not_permitted(want.project_id)))
        return Executed(replace(seen, lifted=True), written=written)

    async def assume(self, action: ProjectAction, want: ProjectWant, seen: ProjectSeen) -> ProjectSeen:
        """Return the project as the action would leave it."""
        match action:
            case AllowCrossProjectUsage():
                return replace(seen, usage=EffectiveCrossProjectUsage.ALLOWED)
            case ReleaseOrphans():
                return replace(seen, released=True)
            case _:
                assert_never(action)

    def summarize(self, want: ProjectWant, seen: ProjectSeen) -> Summary:
        """Return the number and the service agent of the project, missing permissions and findings."""
        project = seen.project
        if project is None:
            return Summary({"missing_permissions": ()})
        feed = self._feed(want.obj)
        fields = {
            "project_number": project.number,
            "cloud_run_service_agent": cloud_run_service_agent(project.number),
            "missing_permissions": seen.missing,
            "operator_identity": seen.operator or None,
            "cross_project_usage": seen.usage,
            "workloads_on_default_identity": on_default_identity(seen.audit),
            "orphans": orphans(want.obj, want.cluster, self._wall_clock()),
            "change_feed": feed_status(feed, self._resync_interval(want.obj)) if feed else None,
        }
        agent = service_agent_ready(want.project_id, project.number, seen.audit)
        interval = want.obj.spec.drift_interval.timedelta.total_seconds()
        notices = {**_notices(want), **drift_notices(self._repeated_drift(want.project_id, interval))}
        return Summary(
            fields,
            conditions={
                ConditionType.DEGRADED: degradation(
                    want.obj, seen.missing, seen.operator, seen.audit, project.number
                ),
                ConditionType.SERVICE_AGENT_READY: agent,
                **({ConditionType.CHANGE_FEED_READY: feed_finding(feed)} if feed else {}),
            },
            issues=(
                *notices.values(),
                *_issues(want, seen),
                *limit_issues(want.obj, want.cluster, seen.accounts, self._removals(want.project_id)),
            ),
            notices=notices,
        )

    def resolve_deletion(
        self, obj: ManagedProject, cluster: ClusterState, *, abandon: bool
    ) -> ProjectWant | None:
        """Return the deletion, which waits until no object refers to the project any more."""
        return None if abandon else ProjectWant(obj, cluster, deletes=True)


def _notices(want: ProjectWant) -> Mapping[str, str]:
    """Return the issues that are also recorded as an Event."""
    namespaces = want.cluster.admitted_namespaces(want.obj)
    if not are_workloads_ambiguous(want.obj, namespaces):
        return {}
    message = (
        f"guardrails.workloads is unset while {len(namespaces)} namespaces are admitted: each keeps the "
        "workloads that it uses and may use no others; list the workloads of each: "
        f"{some(sorted(namespaces))}"
    )
    return {AMBIGUOUS: message}


def _issues(want: ProjectWant, seen: ProjectSeen) -> list[str]:
    """Return the issues for the status."""
    project_ids = {seen.project.number: want.project_id} if seen.project else {}
    issues = [
        f"{place} cannot be read, so their identities are unknown: {advised(error, project_ids)}"
        for place, error in seen.audit.unreadable
    ]
    if not want.obj.spec.locations:
        issues.append(
            "spec.locations is unset: workloads are looked for only where attachments and targets are"
        )
    size = len(json.dumps(want.obj.spec.to_dict(), separators=(",", ":")))
    if size > MAX_SPEC_BYTES:
        issues.append(
            f"spec has {size // 1024} KiB; above 256 KiB the API server refuses it from kubectl apply: "
            "combine entries of spec.guardrails with patterns"
        )
    return [*issues, *takeover_warnings(seen.powerful, want.cluster.credential_accounts())]


def _not_permitted(project_id: str) -> str:
    return (
        f"spec.crossProjectUsage: the operator may not lift {CROSS_PROJECT_USAGE}; grant it "
        "roles/orgpolicy.policyAdmin on the organization, or ask an organization policy administrator to "
        f"run: gcloud resource-manager org-policies disable-enforce {CROSS_PROJECT_USAGE} --project "
        f"{project_id}"
    )
