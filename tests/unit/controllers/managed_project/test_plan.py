"""The plan for a managed project in every state of the project and of its organization policy."""

import pytest

from cloudrun_identity.api import EffectiveCrossProjectUsage, MissingPermission
from cloudrun_identity.controllers.managed_project.plan import (
    EFFECT_RECHECK,
    AllowCrossProjectUsage,
    ProjectSeen,
    ProjectWant,
    plan,
)
from cloudrun_identity.reconcile.outcomes import Failing, Waiting
from cloudrun_identity.reconcile.preconditions import USE_RECHECK
from tests.unit.controllers.carry_out import step_texts
from tests.unit.controllers.cluster_state import FakeClusterState, identity, project, record

from .fakes import ACTIVE, DELETED, cluster_with, want

ALLOWED, DENIED, UNKNOWN = (
    EffectiveCrossProjectUsage.ALLOWED,
    EffectiveCrossProjectUsage.DENIED,
    EffectiveCrossProjectUsage.UNKNOWN,
)
MISSING = MissingPermission(permission="iam.serviceAccounts.create", feature="service accounts")
LIFT = "AllowCrossProjectUsage crossProjectUsage: {} → Allowed"
AWAIT = "Wait Updating crossProjectUsage: {} → Allowed"


def deletion(users: int = 0) -> ProjectWant:
    """Return the deletion of a project that so many identities reference."""
    return ProjectWant(project(), cluster_with(users), deletes=True)


def seen(usage: EffectiveCrossProjectUsage = UNKNOWN, *, lifted: bool = False) -> ProjectSeen:
    return ProjectSeen(ACTIVE, usage=usage, lifted=lifted)


PLANS: dict[str, tuple[ProjectWant, ProjectSeen, list[str]]] = {
    "active": (want(), seen(), []),
    "active, missing permissions": (want(), ProjectSeen(ACTIVE, (MISSING,)), []),
    "invisible": (want(), ProjectSeen(None), ["Fail PermissionDenied"]),
    "invisible, allow": (want("Allow"), ProjectSeen(None), ["Fail PermissionDenied"]),
    "deleted": (want(), ProjectSeen(DELETED), ["Fail DependencyNotFound"]),
    "deleted, allow": (want("Allow"), ProjectSeen(DELETED, usage=DENIED), ["Fail DependencyNotFound"]),
    "verify, allowed": (want("Verify"), seen(ALLOWED), []),
    "verify, denied": (want("Verify"), seen(DENIED), []),
    "verify, unknown": (want("Verify"), seen(UNKNOWN), []),
    "allow, allowed": (want("Allow"), seen(ALLOWED), []),
    "allow, denied": (want("Allow"), seen(DENIED), [LIFT.format("Denied")]),
    "allow, unknown": (want("Allow"), seen(UNKNOWN), [LIFT.format("Unknown")]),
    "allow, denied, lifted": (want("Allow"), seen(DENIED, lifted=True), [AWAIT.format("Denied")]),
    "allow, unknown, lifted": (want("Allow"), seen(UNKNOWN, lifted=True), [AWAIT.format("Unknown")]),
    "allow, allowed, lifted": (want("Allow"), seen(ALLOWED, lifted=True), []),
    "deletion": (deletion(), ProjectSeen(None), []),
    "deletion, in use": (deletion(users=1), ProjectSeen(None), ["Fail InUse"]),
    "deletion, in use, deleted": (deletion(users=1), ProjectSeen(DELETED), ["Fail InUse"]),
}


@pytest.mark.parametrize(("wanted", "found", "steps"), PLANS.values(), ids=PLANS)
def test_plan_of_a_state(wanted: ProjectWant, found: ProjectSeen, steps: list[str]) -> None:
    assert step_texts(plan(wanted, found)) == steps


def test_invisible_project_is_reported_with_field_and_remedy() -> None:
    outcome = plan(want(), ProjectSeen(None, operator="operator@acme-ops.iam.gserviceaccount.com")).outcome
    assert isinstance(outcome, Failing)
    assert outcome.message == (
        "spec.projectID: project payments-prod-1234 does not exist, or the operator "
        "(serviceAccount:operator@acme-ops.iam.gserviceaccount.com) may not see it. Check the ID: gcloud "
        "projects describe payments-prod-1234. If it is wrong, delete the ManagedProject and create it "
        "with the right ID. If it is right, the operator needs resourcemanager.projects.get there: run "
        "`cloudrun-identity check`, which prints the commands that grant it"
    )


def test_action_names_the_organization_policy() -> None:
    (action,) = plan(want("Allow"), seen(DENIED)).actions
    assert isinstance(action, AllowCrossProjectUsage)
    assert action.resource == (
        "//orgpolicy.googleapis.com/projects/payments-prod-1234/policies/"
        "iam.disableCrossProjectServiceAccountUsage"
    )


def test_lifted_policy_is_checked_again_until_it_is_in_effect() -> None:
    outcome = plan(want("Allow"), seen(DENIED, lifted=True)).outcome
    assert isinstance(outcome, Waiting)
    assert outcome.after == EFFECT_RECHECK
    assert outcome.message.endswith("is lifted in payments-prod-1234; waiting for the change to propagate")


@pytest.mark.parametrize("users", [1, 5])
def test_deletion_names_the_first_objects_of_the_project(users: int) -> None:
    outcome = plan(deletion(users), ProjectSeen(None)).outcome
    assert isinstance(outcome, Waiting)
    assert "CloudRunIdentity payments/i0" in outcome.message
    assert ("and 2 more" in outcome.message) is (users == 5)


@pytest.mark.parametrize(("namespaces", "held"), [(["payments"], True), (["shop"], False)])
def test_project_is_kept_while_workloads_in_it_may_run_as_an_account(
    namespaces: list[str], held: bool
) -> None:
    delegated = project(namespaces={"names": namespaces})
    elsewhere = identity(projectRef={"name": "ledger"})
    used = record(used_in=("payments-prod-1234/europe-west1",))
    cluster = FakeClusterState(delegated, elsewhere, accounts=[used])
    outcome = plan(ProjectWant(delegated, cluster, deletes=True), ProjectSeen(None)).outcome
    assert isinstance(outcome, Waiting) is held
    if isinstance(outcome, Waiting):
        assert outcome.after == USE_RECHECK
        assert outcome.message == (
            "Still used by CloudRunIdentity payments/checkout (workloads in the project may run as its "
            "account); delete these first"
        )
