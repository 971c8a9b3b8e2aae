"""The decision which operator acts on a project, for every state of its status, its ledgers and the Lease."""

import pytest

from cloudrun_identity.api import ProjectOperator
from cloudrun_identity.kube.lease_observer import LeaseState, ObservedLease
from cloudrun_identity.ledger.elsewhere import LedgersOfProject
from cloudrun_identity.reconcile.project_operator import (
    Claims,
    Decision,
    OperatedElsewhere,
    Operates,
    decide,
    operator_of,
    recorded_operator,
)

OWN = ProjectOperator(namespace="second", lease="cloudrun-identity")
OTHER = ProjectOperator(namespace="first", lease="cloudrun-identity")
RENEWED = ObservedLease(LeaseState.RENEWED, "pod-a_1")
ENDED = ObservedLease(LeaseState.ENDED, "pod-a_1")
UNKNOWN = ObservedLease(LeaseState.UNKNOWN, problem="403 Forbidden")
NONE = LedgersOfProject({}, {})
LEFT = LedgersOfProject({}, {"first": {"project-a": "1"}})
IMPORTED = LedgersOfProject(
    {"project-a": lambda: "1", "service-b": lambda: "2"}, {"first": {"project-a": "1"}}
)
OUTDATED = LedgersOfProject({"project-a": lambda: "0"}, {"first": {"project-a": "1"}})
INVALID = LedgersOfProject({"project-a": lambda: ""}, {"first": {"project-a": ""}})


def decided(
    recorded: ProjectOperator | None, ledgers: LedgersOfProject, lease: ObservedLease = RENEWED
) -> Decision:
    """Decide with the Lease of the operator that the project belongs to."""
    is_own = operator_of(OWN, recorded, ledgers) == OWN
    return decide(OWN, recorded, ledgers, None if is_own else lease)


@pytest.mark.parametrize("ledgers", [NONE, LEFT, IMPORTED, OUTDATED])
def test_operator_in_the_status_operates(ledgers: LedgersOfProject) -> None:
    assert decided(OWN, ledgers) == Operates()


@pytest.mark.parametrize("ledgers", [NONE, IMPORTED, OUTDATED])
def test_project_without_operator_is_claimed(ledgers: LedgersOfProject) -> None:
    assert decided(None, ledgers) == Claims()


@pytest.mark.parametrize("recorded", [OTHER, None])
@pytest.mark.parametrize("lease", [RENEWED, UNKNOWN])
def test_project_of_an_operator_at_work_is_left_alone(
    recorded: ProjectOperator | None, lease: ObservedLease
) -> None:
    decision = decided(recorded, LEFT, lease)
    assert isinstance(decision, OperatedElsewhere)
    assert decision.by == OTHER
    assert decision.at_work


def test_imported_ledgers_are_no_reason_to_act_beside_an_operator_at_work() -> None:
    assert isinstance(decided(OTHER, IMPORTED, RENEWED), OperatedElsewhere)


@pytest.mark.parametrize("ledgers", [LEFT, OUTDATED, INVALID])
def test_ended_operator_is_not_replaced_without_its_ledgers(ledgers: LedgersOfProject) -> None:
    decision = decided(OTHER, ledgers, ENDED)
    assert isinstance(decision, OperatedElsewhere)
    assert not decision.at_work
    assert "project-a" in decision.message
    assert (
        "cloudrun-identity ledgers export --operator-namespace first | "
        "cloudrun-identity ledgers import --operator-namespace second -f -" in decision.message
    )


@pytest.mark.parametrize("ledgers", [NONE, IMPORTED])
def test_ended_operator_is_replaced_if_nothing_it_recorded_is_lost(ledgers: LedgersOfProject) -> None:
    assert decided(OTHER, ledgers, ENDED) == Claims(predecessor=OTHER)


def test_lost_status_is_no_reason_to_take_over_from_an_ended_operator() -> None:
    assert isinstance(decided(None, LEFT, ENDED), OperatedElsewhere)


def test_message_names_the_holder_of_the_lease() -> None:
    decision = decided(OTHER, LEFT, RENEWED)
    assert isinstance(decision, OperatedElsewhere)
    assert "pod-a_1 renews Lease first/cloudrun-identity" in decision.message


def test_message_names_why_the_lease_cannot_be_read() -> None:
    decision = decided(OTHER, LEFT, UNKNOWN)
    assert isinstance(decision, OperatedElsewhere)
    assert "403 Forbidden" in decision.message


@pytest.mark.parametrize("status", [{}, {"operator": "first"}, {"operator": {"namespace": "first"}}, "?"])
def test_invalid_status_names_no_operator(status: object) -> None:
    assert recorded_operator({"status": status}) is None


def test_operator_is_read_from_the_status() -> None:
    assert recorded_operator({"status": {"operator": OTHER.to_dict()}}) == OTHER
