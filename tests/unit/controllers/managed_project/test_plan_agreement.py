"""Manage does what Observe and the dry run report, in every state of a project."""

from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import pytest

from cloudrun_identity.api import Reason
from cloudrun_identity.controllers.managed_project.plan import AllowCrossProjectUsage
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.projects import Project
from cloudrun_identity.reconcile.outcomes import Failing, InSync, Outcome, Paused, Waiting
from tests.unit.controllers.agreement import AnyResource, agreement
from tests.unit.controllers.carry_out import NOON
from tests.unit.controllers.cluster_state import project

from .fakes import ACTIVE, DELETED, FakeProject, cluster_with, orphaned, want

PROJECTS = {
    "active": ACTIVE,
    "deleted": DELETED,
    "missing": Fault.NOT_FOUND,
    "invisible": Fault.PERMISSION_DENIED,
}


@dataclass(frozen=True)
class Case:
    """One state of a project, and its ManagedProject."""

    project: Project | Fault = ACTIVE
    declared: str = "Allow"
    own_allowed: bool = False
    propagates: bool = True
    unreadable_policy: Fault | None = None
    orphaned: bool = False
    """True if the release of an orphan is requested."""

    async def scene(self) -> tuple[AnyResource, Any]:
        fake = FakeProject(self.project, self.own_allowed, self.propagates, self.unreadable_policy)
        wanted = want(self.declared)
        return fake.controller(), orphaned(wanted.obj) if self.orphaned else wanted


@pytest.mark.parametrize("state", PROJECTS)
@pytest.mark.parametrize("declared", ["Verify", "Allow"])
async def test_manage_does_what_observe_and_the_dry_run_report(state: str, declared: str) -> None:
    unreadable = (None, Fault.PERMISSION_DENIED, Fault.API_DISABLED, Fault.NOT_FOUND)
    for allowed, propagates, error, orphan in product(
        (False, True), (False, True), unreadable, (False, True)
    ):
        case = Case(PROJECTS[state], declared, allowed, propagates, error, orphan)
        found = await agreement(case.scene, NOON)
        found.check_exact()
        if any(isinstance(action, AllowCrossProjectUsage) for action in found.executed):
            assert isinstance(found.managed, Waiting), "the effect of the change is awaited"


@pytest.mark.parametrize(
    ("case", "outcome", "reason"),
    [
        (Case(declared="Verify"), InSync, None),
        (Case(own_allowed=True), InSync, None),
        (Case(), Paused, Reason.DRIFT_DETECTED),
        (Case(own_allowed=True, orphaned=True), Paused, Reason.DRIFT_DETECTED),
        (Case(unreadable_policy=Fault.PERMISSION_DENIED), Paused, Reason.DRIFT_DETECTED),
        (Case(Fault.PERMISSION_DENIED), Failing, Reason.PERMISSION_DENIED),
        (Case(DELETED), Failing, Reason.DEPENDENCY_NOT_FOUND),
    ],
    ids=str,
)
async def test_observe_reports_why_manage_would_not_act(
    case: Case, outcome: type[Outcome], reason: Reason | None
) -> None:
    observed = (await agreement(case.scene, NOON)).observed
    assert isinstance(observed, outcome)
    assert getattr(observed, "reason", None) is reason


async def test_unavailable_api_is_an_error_and_no_state() -> None:
    case = Case(unreadable_policy=Fault.UNAVAILABLE)
    for failing in (case, replace(case, project=Fault.UNAVAILABLE)):
        with pytest.raises(GoogleError):
            await agreement(failing.scene, NOON)


@pytest.mark.parametrize("users", [0, 1])
async def test_deletion_does_what_its_plan_says(users: int) -> None:
    async def scene() -> tuple[AnyResource, Any]:
        kind = FakeProject().controller()
        return kind, kind.resolve_deletion(project(), cluster_with(users), abandon=False)

    found = await agreement(scene, NOON)
    found.check_exact()
    assert isinstance(found.managed, Waiting if users else InSync)
