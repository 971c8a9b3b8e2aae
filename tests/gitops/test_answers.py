"""The answers of kstatus and Argo CD for every kind in every state."""

import pytest

from cloudrun_identity.reconcile.outcomes import Paused
from tests.gitops.answers import KSTATUS, described, generated, read_table, unbuildable
from tests.gitops.states import Kstatus, State, object_in, objects, states

ADVICE = "run `make health-table`, which needs Go"
HEALTH = {
    Kstatus.CURRENT: "Healthy",
    Kstatus.IN_PROGRESS: "Progressing",
    Kstatus.FAILED: "Degraded",
    Kstatus.TERMINATING: "Progressing",
}


def test_table_has_every_kind_in_every_state() -> None:
    stored = [row[:-2] for row in read_table()]

    assert stored == [described(*each) for each in objects()], ADVICE


def test_kstatus_gives_the_expected_answer_in_every_state() -> None:
    answered = {row[:2]: row[-2] for row in read_table()}

    for state, obj in objects():
        assert answered[obj["kind"], state.name] == state.kstatus


def test_argo_cd_agrees_with_kstatus_except_for_suspended_objects() -> None:
    answered = {row[:2]: row[-1] for row in read_table()}

    for state, obj in objects():
        if obj["kind"] != "PolicyLedger":
            expected = "Suspended" if is_paused(state) else HEALTH[state.kstatus]
            assert answered[obj["kind"], state.name] == expected


def is_paused(state: State) -> bool:
    """Return whether the operator has seen the object, and takes no action."""
    return isinstance(state.outcome, Paused) and not state.edited and not state.deleting


def test_programs_answer_as_in_the_stored_table() -> None:
    if reason := unbuildable():
        pytest.skip(reason)

    assert generated() == read_table(), ADVICE


def test_object_without_the_default_of_its_status_would_be_current() -> None:
    if reason := KSTATUS.unbuildable():
        pytest.skip(reason)
    created = next(state for state in states() if state.outcome is None)
    without = object_in("CloudRunIdentity", created)
    del without["status"]

    assert list(KSTATUS.answers([without])) == [Kstatus.CURRENT]
