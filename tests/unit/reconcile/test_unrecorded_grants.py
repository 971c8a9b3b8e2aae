"""Grants of an object that are missing from the ledger."""

import pytest

from .scripted_kind import ANN, HOME
from .stage import Stage

pytestmark = pytest.mark.looptime(start=0)


async def test_grants_missing_from_the_ledger_are_unmanaged_and_reported(stage: Stage) -> None:
    await stage.reconcile()
    stage.env.ledgers.stored.clear()
    for _ in range(2):
        await stage.reconcile()
    assert stage.recorder.reasons == ["Ready", "NotRecorded"]
    assert str(ANN) in stage.recorder.messages[-1]
    assert stage.env.ledgers.ledger(HOME).entries[ANN].present_before
    stage.api_server.delete()
    await stage.reconcile()
    assert stage.present == {ANN}


async def test_grant_written_again_after_a_lost_ledger_is_managed(stage: Stage) -> None:
    await stage.reconcile()
    stage.env.ledgers.stored.clear()
    stage.env.policies.revoke(ANN)
    await stage.reconcile()
    assert stage.recorder.reasons == ["Ready"]
    assert not stage.env.ledgers.ledger(HOME).entries[ANN].present_before
