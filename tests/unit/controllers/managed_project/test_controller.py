from datetime import UTC, datetime
from typing import Any

import pytest

from cloudrun_identity.api import EffectiveCrossProjectUsage, ManagedProject, MissingPermission, Reason
from cloudrun_identity.controllers.managed_project.controller import ManagedProjectController
from cloudrun_identity.controllers.managed_project.plan import ProjectSeen, ProjectWant
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.projects import Project
from cloudrun_identity.reconcile.cluster_state import ObjectKey, identity_key, project_key
from cloudrun_identity.reconcile.events import EventReporter
from cloudrun_identity.reconcile.executor import CloudExecutor
from cloudrun_identity.reconcile.outcomes import Failing, InSync, Outcome, Waiting
from cloudrun_identity.reconcile.progress import carry_out
from tests.unit.controllers.carry_out import Recorder, Releases, carried_out
from tests.unit.controllers.cluster_state import FakeWorld, project

NONE: Any = None
NOW = datetime(2026, 11, 22, tzinfo=UTC)
CONTROLLER = ManagedProjectController(NONE, NONE, NONE, NONE, NONE, lambda: NOW)
ACTIVE = Project("payments-prod-1234", "42", "Payments", active=True)
MISSING = MissingPermission(permission="iam.serviceAccounts.create", feature="service accounts")


def want(obj: ManagedProject | None = None, cluster: FakeWorld | None = None) -> ProjectWant:
    obj = obj or project()
    return ProjectWant(obj, cluster or FakeWorld(obj))


async def applied(seen: ProjectSeen) -> Outcome:
    return CONTROLLER.plan(want(), seen, NOW).outcome


async def deleted(cluster: FakeWorld, *, abandon: bool = False) -> Outcome:
    """Reconcile the project while it is being deleted."""
    deletion = CONTROLLER.resolve_deletion(project(), cluster, abandon=abandon)
    return (await carried_out(CONTROLLER, deletion)).outcome if deletion else InSync()


async def test_project_is_in_sync_although_permissions_are_missing() -> None:
    assert await applied(ProjectSeen(ACTIVE, (MISSING,))) == InSync()


async def test_invisible_project_is_reported_with_field_and_remedy() -> None:
    outcome = await applied(ProjectSeen(None))
    assert isinstance(outcome, Failing)
    assert outcome.reason is Reason.PERMISSION_DENIED
    assert "spec.projectID" in outcome.message
    assert "payments-prod-1234" in outcome.message


async def test_project_in_deletion_is_reported_as_not_found() -> None:
    deleted_project = Project("payments-prod-1234", "42", "Payments", active=False)
    outcome = await applied(ProjectSeen(deleted_project))
    assert isinstance(outcome, Failing)
    assert outcome.reason is Reason.DEPENDENCY_NOT_FOUND


def test_two_objects_with_one_project_id_declare_the_same() -> None:
    assert CONTROLLER.declares(project()) == "payments-prod-1234"


def test_status_shows_number_service_agent_and_missing_permissions() -> None:
    seen = ProjectSeen(ACTIVE, (MISSING,), "operator@ops.iam.gserviceaccount.com")
    summary = CONTROLLER.summarize(want(project(locations=["europe-west1"])), seen)
    assert summary.fields == {
        "cross_project_usage": EffectiveCrossProjectUsage.UNKNOWN,
        "workloads_on_default_identity": (),
        "orphans": (),
        "project_number": "42",
        "cloud_run_service_agent": "service-42@serverless-robot-prod.iam.gserviceaccount.com",
        "missing_permissions": (MISSING,),
        "operator_identity": "operator@ops.iam.gserviceaccount.com",
    }
    assert summary.issues == ()


def test_unset_locations_are_an_issue() -> None:
    (issue,) = CONTROLLER.summarize(want(), ProjectSeen(ACTIVE)).issues
    assert issue.startswith("spec.locations ")


def test_status_keeps_the_number_of_an_invisible_project() -> None:
    assert "project_number" not in CONTROLLER.summarize(want(), ProjectSeen(None)).fields


@pytest.mark.parametrize("count", [1, 5])
async def test_deletion_waits_for_the_objects_of_the_project(count: int) -> None:
    cluster = FakeWorld(project())
    cluster.references[project_key("payments-prod")] = {
        identity_key("payments", f"i{number}") for number in range(count)
    }
    outcome = await deleted(cluster)
    assert isinstance(outcome, Waiting)
    assert outcome.reason is Reason.IN_USE
    assert "CloudRunIdentity payments/i0" in outcome.message
    assert ("and 2 more" in outcome.message) is (count == 5)


async def test_deletion_ends_for_an_unused_or_uninstalled_project() -> None:
    cluster = FakeWorld(project())
    assert await deleted(cluster) == InSync()
    cluster.references[ObjectKey.of(project())] = {identity_key("payments", "checkout")}
    assert await deleted(cluster, abandon=True) == InSync()


class FakeOrgPolicies:
    """The organization policy of one project; `fault` is the error of every call."""

    def __init__(self, *, allowed: bool = False, fault: Fault | None = None) -> None:
        self.allowed = allowed
        self.fault = fault
        self.writes = 0

    async def allow_cross_project_usage(self, project_id: str) -> bool:
        if self.fault:
            raise GoogleError(self.fault, "google.cloud.orgpolicy.v2.OrgPolicy/GetPolicy", "no")
        self.writes += not self.allowed
        was, self.allowed = self.allowed, True
        return not was


def lifting(policies: FakeOrgPolicies) -> ManagedProjectController:
    fakes: Any = policies
    return ManagedProjectController(NONE, NONE, fakes, NONE, NONE, lambda: NOW)


async def lifted(policies: FakeOrgPolicies, want: ProjectWant, seen: ProjectSeen) -> Outcome:
    recorder = Recorder()
    executor = CloudExecutor(EventReporter(recorder, recorder))
    kind = lifting(policies)
    progress = await carry_out(kind, executor, want.obj, want, seen, release=Releases(), now=lambda: NOW)
    return progress.outcome


def with_usage(usage: EffectiveCrossProjectUsage) -> ProjectSeen:
    return ProjectSeen(ACTIVE, usage=usage)


@pytest.mark.parametrize(
    ("declared", "usage", "differs"),
    [
        ("Verify", EffectiveCrossProjectUsage.DENIED, False),
        ("Verify", EffectiveCrossProjectUsage.UNKNOWN, False),
        ("Allow", EffectiveCrossProjectUsage.ALLOWED, False),
        ("Allow", EffectiveCrossProjectUsage.DENIED, True),
        ("Allow", EffectiveCrossProjectUsage.UNKNOWN, True),
    ],
)
def test_org_policy_differs_only_if_declared_allow_and_not_allowed(
    declared: str, usage: EffectiveCrossProjectUsage, differs: bool
) -> None:
    delegated = project(crossProjectUsage=declared)
    assert bool(CONTROLLER.plan(want(delegated), with_usage(usage), NOW).changes) is differs


def test_invisible_project_has_no_changes() -> None:
    plan = CONTROLLER.plan(want(project(crossProjectUsage="Allow")), ProjectSeen(None), NOW)
    assert plan.changes == ()


async def test_org_policy_is_lifted_once_and_its_effect_awaited() -> None:
    policies, delegated = FakeOrgPolicies(), want(project(crossProjectUsage="Allow"))
    seen = with_usage(EffectiveCrossProjectUsage.DENIED)
    for _ in range(2):
        outcome = await lifted(policies, delegated, seen)
        assert isinstance(outcome, Waiting)
    assert policies.writes == 1


async def test_missing_permission_to_lift_the_org_policy_names_the_remedy() -> None:
    delegated = want(project(crossProjectUsage="Allow"))
    seen = with_usage(EffectiveCrossProjectUsage.DENIED)
    policies = FakeOrgPolicies(fault=Fault.PERMISSION_DENIED)
    outcome = await lifted(policies, delegated, seen)
    assert isinstance(outcome, Failing)
    assert outcome.reason is Reason.PERMISSION_DENIED
    assert "spec.crossProjectUsage" in outcome.message
    assert "--project payments-prod-1234" in outcome.message
