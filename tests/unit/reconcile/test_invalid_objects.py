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
from tests.unit.policy.fake_policies import fault

from .fake_api_server import KEY
from .scripted_kind import ANN, HOME
from .stage import Stage

pytestmark = pytest.mark.looptime(start=0)


async def test_invalid_object_is_left_as_it_is_and_reports_it(stage: Stage) -> None:
    stage.api_server.raws[KEY]["spec"] = {}
    stage.api_server.raws[KEY]["status"] = {"projectID": "payments-prod-1234", "conditions": [{"type": 3}]}
    assert await stage.reconciler.reconcile(KEY, max_age=0.0) == (NoRequeue(), "invalid")
    assert stage.api_server.writes == ["status"]
    assert stage.kind.reads == []


def test_status_of_an_invalid_object_names_the_field_and_keeps_the_rest() -> None:
    before = {
        "projectID": "p-1234",
        "conditions": [{"type": 3}],
        "waitingSince": "2026-11-21T00:00:00Z",
    }
    raw = {"metadata": {"generation": 3}, "status": before}
    with pytest.raises(ValidationError) as raised:
        CloudRunIdentity.model_validate({"metadata": {"name": "x"}, "spec": {}})
    outcome = invalid_spec(misfits(raised.value)[0])
    status = status_with(raw, outcome, datetime(2026, 11, 22, tzinfo=UTC))
    assert status["projectID"] == "p-1234"
    assert status["observedGeneration"] == 3
    assert "waitingSince" not in status
    by_type = {each["type"]: each for each in status["conditions"]}
    assert (by_type["Ready"]["status"], by_type["Ready"]["reason"]) == ("False", "InvalidSpec")
    assert by_type["Stalled"]["status"] == "True"
    assert "spec.projectRef: Field required" in by_type["Ready"]["message"]


# Deletion

WEB = ObjectKey("IAMBinding", "payments", "web")
SPEC = {"projectRef": {"name": "payments-prod"}, "role": 3}


def delete(stage: Stage, key: ObjectKey = WEB, **spec: Any) -> None:
    """Delete an invalid object that owns a grant."""
    metadata = {
        "name": key.name,
        "namespace": key.namespace,
        "uid": "u-1",
        "generation": 2,
        "finalizers": [FINALIZER],
        "deletionTimestamp": "2026-03-01T12:00:00Z",
    }
    stage.api_server.raws[key] = {"kind": key.kind, "metadata": metadata, "spec": {**SPEC, **spec}}
    stage.env.policies.grant(ANN)
    if key.namespace:
        stage.env.record(ANN, Owner(key.kind, key.namespace, key.name, "u-1"))


async def reconcile(stage: Stage, key: ObjectKey = WEB) -> tuple[Requeue, str]:
    return await stage.reconciler.reconcile(key, max_age=0.0)


@pytest.mark.parametrize("policy", [{}, {"deletionPolicy": "Delete"}])
async def test_deletion_of_an_invalid_binding_releases_its_grants(
    stage: Stage, policy: dict[str, Any]
) -> None:
    delete(stage, **policy)
    assert await reconcile(stage) == (NoRequeue(), "deleted")
    assert stage.present == set()
    assert stage.env.ledgers.ledger(HOME).is_empty
    assert WEB not in stage.api_server.raws


@pytest.mark.parametrize("spec", [{"deletionPolicy": "Abandon"}, {"managementPolicy": "Observe"}])
async def test_deletion_with_abandon_or_observe_keeps_the_grants(stage: Stage, spec: dict[str, Any]) -> None:
    delete(stage, **spec)
    assert await reconcile(stage) == (NoRequeue(), "deleted")
    assert stage.present == {ANN}
    assert stage.env.ledgers.ledger(HOME).is_empty


@pytest.mark.parametrize(
    ("key", "spec"),
    [
        (WEB, {"deletionPolicy": "Retain"}),
        (WEB, {"deletionPolicy": 3}),
        (KEY, {"deletionPolicy": "Delete", "roles": 3}),
    ],
    ids=["unknown policy", "policy of a wrong type", "kind with an account"],
)
async def test_unclear_deletion_keeps_the_ledger_entries_and_is_reported(
    stage: Stage, key: ObjectKey, spec: dict[str, Any]
) -> None:
    delete(stage, key, **spec)
    assert await reconcile(stage, key) == (NoRequeue(), "deleted")
    assert stage.present == {ANN}
    assert stage.env.ledgers.ledger(HOME).entries.keys() == {ANN}
    assert key not in stage.api_server.raws
    assert stage.recorder.reasons == ["Abandoned"]
    assert "takes it over" in stage.recorder.messages[0]


@pytest.mark.parametrize("suspended", ["object", "project"])
async def test_deletion_waits_while_the_object_or_its_project_is_suspended(
    stage: Stage, suspended: str
) -> None:
    delete(stage, suspend=suspended == "object")
    stage.api_server.delegate(suspend=suspended == "project")
    assert await reconcile(stage) == (NoRequeue(), "invalid")
    assert stage.present == {ANN}
    assert WEB in stage.api_server.raws
    [ready] = [each for each in stage.api_server.status_written["conditions"] if each["type"] == "Ready"]
    assert ready["reason"] == "Suspended"


async def test_deletion_waits_while_a_ledger_cannot_be_read(stage: Stage) -> None:
    delete(stage)
    stage.env.ledgers.unreadable = LedgerInvalid("PolicyLedger x cannot be read")
    with pytest.raises(LedgerInvalid):
        await reconcile(stage)
    assert WEB in stage.api_server.raws
    assert stage.present == {ANN}


async def test_failed_release_is_retried(stage: Stage) -> None:
    delete(stage)
    stage.env.policies.faults = [fault(Fault.PERMISSION_DENIED)]
    assert await reconcile(stage) == (RequeueAfter(), "invalid")
    assert WEB in stage.api_server.raws
    assert await reconcile(stage) == (NoRequeue(), "deleted")
    assert stage.present == set()


async def test_project_is_kept_while_objects_reference_it(stage: Stage) -> None:
    delegated = ObjectKey("ManagedProject", "", "payments-prod")
    delete(stage, delegated, projectID=3)
    stage.api_server.references[delegated] = {WEB}
    assert await reconcile(stage, delegated) == (NoRequeue(), "invalid")
    stage.api_server.references.clear()
    assert await reconcile(stage, delegated) == (NoRequeue(), "deleted")
    assert stage.api_server.writes == ["status", "no finalizer"]


async def test_object_without_the_finalizer_is_left_as_it_is(stage: Stage) -> None:
    delete(stage)
    del stage.api_server.raws[WEB]["metadata"]["finalizers"]
    assert await reconcile(stage) == (NoRequeue(), "gone")
    assert stage.api_server.writes == []
    assert stage.present == {ANN}
