from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from cloudrun_identity.api import FINALIZER, CloudRunIdentity
from cloudrun_identity.api.validation import misfits
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.ledger.objects import LedgerInvalid
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.reconcile.cluster_state import ObjectKey
from cloudrun_identity.reconcile.invalid_objects import invalid_spec, status_with
from cloudrun_identity.reconcile.requeue import NoRequeue, Requeue, RequeueAfter
from tests.unit.gcp.fakes import fault

from .stage import ANN, HOME, KEY, Stage

pytestmark = pytest.mark.looptime(start=0)


async def test_what_cannot_be_read_is_left_alone_and_says_so(stage: Stage) -> None:
    stage.api_server.raws[KEY]["spec"] = {}
    stage.api_server.raws[KEY]["status"] = {"projectID": "payments-prod-1234", "conditions": [{"type": 3}]}
    assert await stage.reconciler.reconcile(KEY, max_age=0.0) == (NoRequeue(), "invalid")
    assert stage.api_server.writes == ["status"]
    assert stage.script.reads == []


def test_the_status_of_what_cannot_be_read_names_the_field_and_keeps_the_rest() -> None:
    raw = {"metadata": {"generation": 3}, "status": {"projectID": "p-1234", "conditions": [{"type": 3}]}}
    with pytest.raises(ValidationError) as raised:
        CloudRunIdentity.model_validate({"metadata": {"name": "x"}, "spec": {}})
    outcome = invalid_spec(misfits(raised.value)[0])
    status = status_with(raw, outcome, datetime(2026, 11, 22, tzinfo=UTC))
    assert status["projectID"] == "p-1234"
    assert status["observedGeneration"] == 3
    by_type = {each["type"]: each for each in status["conditions"]}
    assert (by_type["Ready"]["status"], by_type["Ready"]["reason"]) == ("False", "InvalidSpec")
    assert by_type["Stalled"]["status"] == "True"
    assert "spec.projectRef: Field required" in by_type["Ready"]["message"]


# One that is being deleted.

WEB = ObjectKey("IAMBinding", "payments", "web")
SPEC = {"projectRef": {"name": "payments-prod"}, "role": 3}


def leave(stage: Stage, key: ObjectKey = WEB, **spec: Any) -> None:
    """Have an object that cannot be read, and that holds a grant, be deleted."""
    metadata = {
        "name": key.name,
        "namespace": key.namespace,
        "uid": "u-1",
        "generation": 2,
        "finalizers": [FINALIZER],
        "deletionTimestamp": "2026-03-01T12:00:00Z",
    }
    stage.api_server.raws[key] = {"kind": key.kind, "metadata": metadata, "spec": {**SPEC, **spec}}
    stage.scene.policies.grant(ANN)
    if key.namespace:
        stage.scene.record(ANN, Owner(key.kind, key.namespace, key.name, "u-1"))


async def passes(stage: Stage, key: ObjectKey = WEB) -> tuple[Requeue, str]:
    return await stage.reconciler.reconcile(key, max_age=0.0)


@pytest.mark.parametrize("policy", [{}, {"deletionPolicy": "Delete"}])
async def test_the_grants_of_a_binding_are_released_and_the_object_goes(
    stage: Stage, policy: dict[str, Any]
) -> None:
    leave(stage, **policy)
    assert await passes(stage) == (NoRequeue(), "deleted")
    assert stage.present == set()
    assert stage.scene.ledgers.ledger(HOME).is_empty
    assert WEB not in stage.api_server.raws


@pytest.mark.parametrize("spec", [{"deletionPolicy": "Abandon"}, {"managementPolicy": "Observe"}])
async def test_a_binding_that_says_so_leaves_its_grants(stage: Stage, spec: dict[str, Any]) -> None:
    leave(stage, **spec)
    assert await passes(stage) == (NoRequeue(), "deleted")
    assert stage.present == {ANN}
    assert stage.scene.ledgers.ledger(HOME).is_empty


@pytest.mark.parametrize(
    ("key", "spec"),
    [
        (WEB, {"deletionPolicy": "Retain"}),
        (WEB, {"deletionPolicy": 3}),
        (KEY, {"deletionPolicy": "Delete", "roles": 3}),
    ],
    ids=["policy of no meaning", "policy of no type", "more than grants"],
)
async def test_what_cannot_be_undone_safely_stays_in_the_ledger_and_is_told(
    stage: Stage, key: ObjectKey, spec: dict[str, Any]
) -> None:
    leave(stage, key, **spec)
    assert await passes(stage, key) == (NoRequeue(), "deleted")
    assert stage.present == {ANN}
    assert stage.scene.ledgers.ledger(HOME).entries.keys() == {ANN}
    assert key not in stage.api_server.raws
    assert stage.told.events == ["Abandoned"]
    assert "takes it over" in stage.told.messages[0]


@pytest.mark.parametrize("by", ["itself", "its project"])
async def test_while_it_is_suspended_it_waits_and_says_so(stage: Stage, by: str) -> None:
    leave(stage, suspend=by == "itself")
    stage.api_server.lend(suspend=by == "its project")
    assert await passes(stage) == (NoRequeue(), "invalid")
    assert stage.present == {ANN}
    assert WEB in stage.api_server.raws
    [ready] = [each for each in stage.api_server.status_written["conditions"] if each["type"] == "Ready"]
    assert ready["reason"] == "Suspended"


async def test_it_stays_while_a_ledger_may_hold_something_of_it_that_nobody_knows(stage: Stage) -> None:
    leave(stage)
    stage.scene.ledgers.unreadable = LedgerInvalid("PolicyLedger x cannot be read")
    with pytest.raises(LedgerInvalid):
        await passes(stage)
    assert WEB in stage.api_server.raws
    assert stage.present == {ANN}


async def test_a_release_that_fails_is_tried_again(stage: Stage) -> None:
    leave(stage)
    stage.scene.policies.faults = [fault(Fault.PERMISSION_DENIED)]
    assert await passes(stage) == (RequeueAfter(), "invalid")
    assert WEB in stage.api_server.raws
    assert await passes(stage) == (NoRequeue(), "deleted")
    assert stage.present == set()


async def test_a_project_stays_for_as_long_as_objects_refer_to_it(stage: Stage) -> None:
    delegated = ObjectKey("ManagedProject", "", "payments-prod")
    leave(stage, delegated, projectID=3)
    stage.api_server.references[delegated] = {WEB}
    assert await passes(stage, delegated) == (NoRequeue(), "invalid")
    stage.api_server.references.clear()
    assert await passes(stage, delegated) == (NoRequeue(), "deleted")
    assert stage.api_server.writes == ["status", "no finalizer"]


async def test_one_without_our_finalizer_is_left_alone(stage: Stage) -> None:
    leave(stage)
    del stage.api_server.raws[WEB]["metadata"]["finalizers"]
    assert await passes(stage) == (NoRequeue(), "gone")
    assert stage.api_server.writes == []
    assert stage.present == {ANN}
