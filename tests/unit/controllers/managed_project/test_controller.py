"""A ManagedProject: its status, its deletion, and its organization policy."""

from cloudrun_identity.api import EffectiveCrossProjectUsage, MissingPermission, Reason
from cloudrun_identity.controllers.managed_project.plan import ProjectSeen
from cloudrun_identity.controllers.managed_project.powerful_accounts import PowerfulAccount
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.reconcile.cluster_state import ObjectKey, identity_key, project_key
from cloudrun_identity.reconcile.outcomes import Failing, InSync, Outcome, Waiting
from cloudrun_identity.reconcile.repeated_drift import RepeatedDrift
from tests.unit.controllers.carry_out import carried_out
from tests.unit.controllers.cluster_state import EMAIL, FakeClusterState, project, record

from .fakes import ACTIVE, FakeProject, cluster_with, want

CONTROLLER = FakeProject().controller()
MISSING = MissingPermission(permission="iam.serviceAccounts.create", feature="service accounts")


def test_two_objects_with_one_project_id_declare_the_same() -> None:
    assert CONTROLLER.declares(project()) == "payments-prod-1234"


# Status


def test_status_shows_number_service_agent_and_missing_permissions() -> None:
    seen = ProjectSeen(ACTIVE, (MISSING,), "operator@ops.iam.gserviceaccount.com")
    summary = CONTROLLER.summarize(want(locations=["europe-west1"]), seen)
    assert summary.fields == {
        "cross_project_usage": EffectiveCrossProjectUsage.UNKNOWN,
        "workloads_on_default_identity": (),
        "orphans": (),
        "change_feed": None,
        "project_number": "42",
        "cloud_run_service_agent": "service-42@serverless-robot-prod.iam.gserviceaccount.com",
        "missing_permissions": (MISSING,),
        "operator_identity": "operator@ops.iam.gserviceaccount.com",
    }
    assert summary.issues == ()


def test_unset_locations_are_an_issue() -> None:
    (issue,) = CONTROLLER.summarize(want(), ProjectSeen(ACTIVE)).issues
    assert issue.startswith("spec.locations ")


def test_accounts_that_the_operator_can_take_over_are_an_issue() -> None:
    legacy = PowerfulAccount("legacy@payments-prod-1234.iam.gserviceaccount.com", ("roles/owner",))
    own = PowerfulAccount("operator@ops.iam.gserviceaccount.com", ("roles/owner",))
    declared = want(locations=["europe-west1"])

    (issue,) = CONTROLLER.summarize(declared, ProjectSeen(ACTIVE, powerful=(legacy, own))).issues
    assert "legacy@payments-prod-1234.iam.gserviceaccount.com (roles/owner)" in issue
    assert "permissions --own-accounts-only" in issue
    assert own.email not in issue
    assert CONTROLLER.summarize(declared, ProjectSeen(ACTIVE, powerful=(own,))).issues == ()


def test_drift_that_returns_is_an_issue_and_a_notice() -> None:
    key = ObjectKey("IAMBinding", "payments", "web")
    repeated = tuple(RepeatedDrift(key, f"grant {number} was missing") for number in range(5))
    controller = FakeProject().controller(repeated)
    summary = controller.summarize(want(locations=["europe-west1"]), ProjectSeen(ACTIVE))
    (issue,) = summary.issues
    assert issue == summary.notices["DriftRepeated"]
    assert "IAMBinding payments/web: grant 0 was missing" in issue
    assert "and 2 more" in issue
    assert "Two clusters that manage one project" in issue


def test_status_keeps_the_number_of_an_invisible_project() -> None:
    assert "project_number" not in CONTROLLER.summarize(want(), ProjectSeen(None)).fields


# Deletion


async def deleted(cluster: FakeClusterState, *, abandon: bool = False) -> Outcome:
    """Reconcile the project while it is being deleted."""
    deletion = CONTROLLER.resolve_deletion(project(), cluster, abandon=abandon)
    return (await carried_out(CONTROLLER, deletion)).outcome if deletion else InSync()


async def test_deletion_waits_for_the_objects_of_the_project() -> None:
    outcome = await deleted(cluster_with(users=1))
    assert isinstance(outcome, Waiting)
    assert outcome.reason is Reason.IN_USE


async def test_object_that_was_never_admitted_does_not_hold_up_the_deletion() -> None:
    cluster = cluster_with(users=0)
    cluster.references[project_key("payments-prod")] = {identity_key("stranger", "checkout")}
    assert await deleted(cluster) == InSync()


async def test_object_that_was_admitted_before_and_has_a_record_holds_it_up() -> None:
    cluster = cluster_with(users=0)
    cluster.references[project_key("payments-prod")] = {identity_key("stranger", "checkout")}
    account = Target.service_account("payments-prod-1234", EMAIL)
    cluster.stored_ledgers = [Ledger.of(account).with_account(record("stranger/checkout"))]

    outcome = await deleted(cluster)

    assert isinstance(outcome, Waiting)
    assert "CloudRunIdentity stranger/checkout" in outcome.message


async def test_deletion_ends_for_an_unused_or_uninstalled_project() -> None:
    assert await deleted(cluster_with(users=0)) == InSync()
    assert await deleted(cluster_with(users=1), abandon=True) == InSync()


# Organization policy


async def test_org_policy_is_lifted_once_and_its_effect_awaited() -> None:
    fake = FakeProject(propagates=False)
    for _ in range(2):
        outcome = (await carried_out(fake.controller(), want("Allow"))).outcome
        assert isinstance(outcome, Waiting)
    assert fake.writes == 1
    fake.propagates = True
    assert (await carried_out(fake.controller(), want("Allow"))).outcome == InSync()


async def test_missing_permission_to_lift_the_org_policy_names_the_remedy() -> None:
    fake = FakeProject(write_error=Fault.PERMISSION_DENIED)
    outcome = (await carried_out(fake.controller(), want("Allow"))).outcome
    assert isinstance(outcome, Failing)
    assert outcome.reason is Reason.PERMISSION_DENIED
    assert "spec.crossProjectUsage" in outcome.message
    assert "--project payments-prod-1234" in outcome.message
