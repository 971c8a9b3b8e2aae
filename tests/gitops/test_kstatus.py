import pytest

from tests.gitops.kstatus import answers, described, generated, read_table, unbuildable
from tests.gitops.states import Kstatus, object_in, objects, states

ADVICE = "run `make kstatus`, which needs Go"


def test_table_has_every_kind_in_every_state() -> None:
    stored = [row[:-1] for row in read_table()]

    assert stored == [described(*each) for each in objects()], ADVICE


def test_kstatus_gives_the_expected_answer_in_every_state() -> None:
    answered = {row[:2]: row[-1] for row in read_table()}

    for state, obj in objects():
        assert answered[obj["kind"], state.name] == state.kstatus


def test_kstatus_answers_as_in_the_stored_table() -> None:
    if reason := unbuildable():
        pytest.skip(reason)

    assert generated() == read_table(), ADVICE


def test_object_without_the_default_of_its_status_would_be_current() -> None:
    if reason := unbuildable():
        pytest.skip(reason)
    created = next(state for state in states() if state.outcome is None)
    without = object_in("CloudRunIdentity", created)
    del without["status"]

    assert list(answers([without])) == [Kstatus.CURRENT]
