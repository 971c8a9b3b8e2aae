from dataclasses import replace

import pytest

from cloudrun_identity.api import ManagedProject, Origin, Reason, RoleState
from cloudrun_identity.controllers.gate import Passed, Stopped, other_project, pass_gate
from cloudrun_identity.controllers.outcomes import Paused, Refused, Waiting
from cloudrun_identity.controllers.world import Key, project_key
from cloudrun_identity.iam.ledger import RoleRecord

from .world import IDENTITY, PROJECT, FakeWorld, identity, parsed, project


def stopped(*args: object, **kwargs: object) -> Stopped:
    gate = pass_gate(*args, **kwargs)
    assert isinstance(gate, Stopped)
    return gate


def test_an_admitted_object_passes() -> None:
    lent = project()
    gate = pass_gate(identity(), FakeWorld(lent))
    assert gate == Passed(lent, observe=False)
    assert gate.project_id == "payments-prod-1234"


@pytest.mark.parametrize(("own", "projects"), [("Observe", "Manage"), ("Manage", "Observe")])
def test_observing_is_the_objects_or_the_projects_word(own: str, projects: str) -> None:
    gate = pass_gate(identity(managementPolicy=own), FakeWorld(project(managementPolicy=projects)))
    assert isinstance(gate, Passed)
    assert gate.observe


def test_a_missing_project_is_waited_for() -> None:
    gate = stopped(identity(), FakeWorld())
    assert isinstance(gate.outcome, Waiting)
    assert gate.outcome.reason is Reason.DEPENDENCY_NOT_FOUND
    assert gate.unresolved == "spec.projectRef: there is no ManagedProject payments-prod"


def test_a_project_that_cannot_be_read_is_said_to_be_just_that() -> None:
    world = FakeWorld()
    world.unreadable = {project_key("payments-prod")}
    gate = stopped(identity(), world)
    message = "ManagedProject payments-prod cannot be read; correct it as its Ready condition says"
    assert gate.outcome == Waiting(Reason.DEPENDENCY_NOT_READY, f"spec.projectRef: {message}")
    assert gate.unresolved == f"spec.projectRef: {message}"
    assert other_project("payments-prod", "shop", world, "spec.usableFrom[0].projectRef") == Waiting(
        Reason.DEPENDENCY_NOT_READY, f"spec.usableFrom[0].projectRef: {message}"
    )


@pytest.mark.parametrize(
    ("own", "projects", "who"),
    [(True, False, "spec.suspend is true"), (False, True, "ManagedProject payments-prod is suspended")],
)
def test_either_brake_suspends(own: bool, projects: bool, who: str) -> None:
    gate = stopped(identity(suspend=own), FakeWorld(project(suspend=projects)))
    assert gate.outcome == Paused(Reason.SUSPENDED, f"{who}: nothing is read or written")


@pytest.mark.parametrize(
    ("mine", "others", "wins"),
    [
        ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", True),
        ("2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z", False),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", True),
    ],
)
def test_the_older_of_two_rivals_goes_on_and_then_the_one_of_the_smaller_uid(
    mine: str, others: str, wins: bool
) -> None:
    me = identity(IDENTITY.replace("generation: 1", f"generation: 1, creationTimestamp: '{mine}'"))
    other = identity(
        IDENTITY.replace("namespace: payments", "namespace: shop")
        .replace("u-checkout", "u-younger-by-uid")
        .replace("generation: 1", f"generation: 1, creationTimestamp: '{others}'")
    )
    world = FakeWorld(project(), me, other)
    world.rivalry = {Key.of(me): [other]}
    gate = pass_gate(me, world)
    assert isinstance(gate, Passed) is wins
    if isinstance(gate, Stopped):
        assert isinstance(gate.outcome, Refused)
        assert gate.outcome.reason is Reason.CONFLICT
        assert "CloudRunIdentity shop/checkout" in gate.outcome.message


def test_a_custom_role_stays_whose_it_is_when_an_older_object_comes_to_declare_it() -> None:
    role = """
    kind: CustomRole
    metadata: {name: runner, namespace: %s, uid: u-%s, creationTimestamp: '2026-01-0%dT00:00:00Z'}
    spec: {projectRef: {name: payments-prod}, roleID: runner, permissions: [run.jobs.run]}
    """
    mine, older = parsed(role % ("payments", "mine", 2)), parsed(role % ("shop", "older", 1))
    record = RoleRecord("runner", "payments/runner", "u-mine", Origin.CREATED, RoleState.PRESENT)

    def gate(*records: RoleRecord) -> Passed | Stopped:
        world = FakeWorld(project(), mine, older, roles=records)
        world.rivalry = {Key.of(mine): [older]}
        return pass_gate(mine, world)

    assert isinstance(gate(record), Passed)
    assert isinstance(gate(), Stopped)
    assert isinstance(gate(replace(record, state=RoleState.DELETED)), Stopped)


def test_a_project_reference_that_leads_elsewhere_now_is_a_conflict() -> None:
    moved = identity(IDENTITY + "status: {projectID: another-project}\n")
    gate = stopped(moved, FakeWorld(project()))
    assert isinstance(gate.outcome, Refused)
    assert gate.outcome.reason is Reason.CONFLICT


def test_a_namespace_that_is_not_admitted_is_denied() -> None:
    stranger = identity(IDENTITY.replace("namespace: payments", "namespace: stranger"))
    gate = stopped(stranger, FakeWorld(project(), namespaces=["payments", "stranger"]))
    assert isinstance(gate.outcome, Refused)
    assert gate.outcome.reason is Reason.DENIED_BY_GUARDRAIL
    assert gate.unresolved == gate.outcome.message, "a reference resolves where it admits the object"


def test_a_namespace_that_nobody_has_told_of_yet_is_no_reason_to_deny_anything() -> None:
    """Objects and their namespace come by different watches, in either order."""
    gate = stopped(identity(), FakeWorld(project(), namespaces=["shop"]))
    assert isinstance(gate.outcome, Waiting)
    assert "payments" in gate.outcome.message
    assert gate.fleeting
    assert gate.unresolved, "what stands is neither released nor repaired"


DENIED = """
status:
  conditions:
  - {type: Ready, status: "False", reason: PermissionDenied, message: denied, observedGeneration: 1,
     lastTransitionTime: "2026-01-01T00:00:00Z"}
"""


@pytest.mark.parametrize(("status", "fleeting"), [(DENIED, False), ("", True)])
def test_a_project_that_is_not_ready_is_waited_for(status: str, fleeting: bool) -> None:
    """One that nobody has looked at yet is about to be: that is not worth a status."""
    unready = PROJECT.replace('status: {projectNumber: "417203958816"}', status)
    gate = stopped(identity(), FakeWorld(project(unready)))
    assert isinstance(gate.outcome, Waiting)
    assert gate.outcome.reason is Reason.DEPENDENCY_NOT_READY
    assert gate.unresolved == (
        "spec.projectRef: ManagedProject payments-prod is not ready; its conditions say why"
    )
    assert gate.fleeting is fleeting


def test_a_project_that_waits_for_its_objects_to_leave_still_serves_them() -> None:
    leaving = PROJECT.replace("generation: 1", "generation: 1, deletionTimestamp: '2026-01-01T00:00:00Z'")
    assert isinstance(pass_gate(identity(), FakeWorld(project(leaving))), Passed)


def test_a_project_goes_by_itself() -> None:
    unready = project(PROJECT.replace('status: {projectNumber: "417203958816"}', ""))
    assert pass_gate(unready, FakeWorld()) == Passed(unready, observe=False)
    assert isinstance(stopped(project(suspend=True), FakeWorld()).outcome, Paused)


def test_two_projects_on_one_id_are_a_conflict() -> None:
    younger = ManagedProject.model_validate(
        {"metadata": {"name": "again", "uid": "u-z", "creationTimestamp": "2026-01-02T00:00:00Z"}, "spec": {}}
    )
    elder = project(
        PROJECT.replace("generation: 1", "generation: 1, creationTimestamp: '2026-01-01T00:00:00Z'")
    )
    world = FakeWorld(younger, elder)
    world.rivalry = {Key.of(younger): [elder], Key.of(elder): [younger]}
    assert isinstance(stopped(younger, world).outcome, Refused)
    assert isinstance(pass_gate(elder, world), Passed)
