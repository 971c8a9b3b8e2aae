from collections import Counter

import pytest

from cloudrun_identity.api import KINDS, Reason, ReconciledResource
from tests.gitops.states import EXPIRED, GENERATION, object_in, objects, states
from tests.unit.reconcile.kstatus import violations

RECONCILED = [kind for kind, model in KINDS.items() if issubclass(model, ReconciledResource)]


def test_every_reason_occurs_in_a_state() -> None:
    outcomes = [state.outcome for state in states()]
    reasons = {
        Reason.EXPIRED if outcome == EXPIRED else getattr(outcome, "reason", Reason.UP_TO_DATE)
        for outcome in outcomes
    }

    assert reasons == set(Reason), "add the reason to tests/gitops/states.py"


def test_names_of_states_are_unique() -> None:
    assert max(Counter(state.name for state in states()).values()) == 1


def test_every_kind_has_objects() -> None:
    assert {obj["kind"] for _, obj in objects()} == set(KINDS)


@pytest.mark.parametrize("kind", RECONCILED)
def test_status_in_every_state_follows_the_kstatus_rules(kind: str) -> None:
    for state in states():
        obj = KINDS[kind].model_validate(object_in(kind, state))
        assert isinstance(obj, ReconciledResource)
        if state.outcome is not None:
            assert violations(obj.status, GENERATION) == [], state.name
