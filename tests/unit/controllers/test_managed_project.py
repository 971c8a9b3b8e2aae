from typing import Any

import pytest

from cloudrun_identity.api import MissingPermission, Reason
from cloudrun_identity.controllers.managed_project import ManagedProjectController, ProjectSeen
from cloudrun_identity.controllers.outcomes import Failing, InSync, Outcome, Waiting
from cloudrun_identity.controllers.world import Key, identity_key, project_key
from cloudrun_identity.gcp.projects import Project

from .world import FakeWorld, project

NONE: Any = None
CONTROLLER = ManagedProjectController(NONE, NONE, lambda _: "operator@ops.iam.gserviceaccount.com")
ACTIVE = Project("payments-prod-1234", "42", "Payments", active=True)
MISSING = MissingPermission(permission="iam.serviceAccounts.create", feature="service accounts")


async def applied(seen: ProjectSeen) -> Outcome:
    return (await CONTROLLER.apply(project(), seen, ())).outcome


async def test_a_project_that_is_there_is_in_sync_whatever_we_seem_to_lack() -> None:
    assert await applied(ProjectSeen(ACTIVE, (MISSING,))) == InSync()


async def test_a_project_that_cannot_be_seen_names_the_field_and_what_to_do() -> None:
    outcome = await applied(ProjectSeen(None))
    assert isinstance(outcome, Failing)
    assert outcome.reason is Reason.PERMISSION_DENIED
    assert "spec.projectID" in outcome.message
    assert "payments-prod-1234" in outcome.message


async def test_a_project_that_is_being_deleted_is_not_there() -> None:
    gone = Project("payments-prod-1234", "42", "Payments", active=False)
    outcome = await applied(ProjectSeen(gone))
    assert isinstance(outcome, Failing)
    assert outcome.reason is Reason.DEPENDENCY_NOT_FOUND


def test_two_projects_on_one_id_declare_the_same() -> None:
    assert CONTROLLER.declares(project()) == "payments-prod-1234"


def test_the_status_tells_the_number_the_agent_and_what_is_missing() -> None:
    seen = ProjectSeen(ACTIVE, (MISSING,), "operator@ops.iam.gserviceaccount.com")
    summary = CONTROLLER.summarize(project(locations=["europe-west1"]), seen)
    assert summary.fields == {
        "project_number": "42",
        "cloud_run_service_agent": "service-42@serverless-robot-prod.iam.gserviceaccount.com",
        "missing_permissions": (MISSING,),
        "operator_identity": "operator@ops.iam.gserviceaccount.com",
    }
    assert summary.issues == ()


def test_unset_locations_are_an_issue() -> None:
    (issue,) = CONTROLLER.summarize(project(), ProjectSeen(ACTIVE)).issues
    assert issue.startswith("spec.locations ")


def test_what_was_known_of_a_project_stays_while_it_cannot_be_seen() -> None:
    assert "project_number" not in CONTROLLER.summarize(project(), ProjectSeen(None)).fields


@pytest.mark.parametrize("count", [1, 5])
async def test_a_project_waits_for_its_objects_to_leave(count: int) -> None:
    world = FakeWorld(project())
    world.references[project_key("payments-prod")] = {
        identity_key("payments", f"i{number}") for number in range(count)
    }
    outcome = await CONTROLLER.delete(project(), world, abandon=False)
    assert isinstance(outcome, Waiting)
    assert outcome.reason is Reason.IN_USE
    assert "CloudRunIdentity payments/i0" in outcome.message
    assert ("and 2 more" in outcome.message) is (count == 5)


async def test_a_project_that_nothing_uses_goes_and_so_does_one_that_is_uninstalled() -> None:
    world = FakeWorld(project())
    assert await CONTROLLER.delete(project(), world, abandon=False) == InSync()
    world.references[Key.of(project())] = {identity_key("payments", "checkout")}
    assert await CONTROLLER.delete(project(), world, abandon=True) == InSync()
