"""Buckets, whose names contain no project, and topics, which have no unique ID, over the wire."""

from collections.abc import AsyncIterator

import grpc
import pytest

from cloudrun_identity.api import GrantState, Reason, TargetKind
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.objects import object_name
from cloudrun_identity.reconcile.outcomes import Waiting
from cloudrun_identity_playground.emulator.seed import Seed
from tests.gcp.bench import Bench, open_bench

VIEWER, PUBLISHER = "roles/storage.objectViewer", "roles/pubsub.publisher"
OPS = "group:ops@example.com"
OWN, FOREIGN = (Target(TargetKind.STORAGE_BUCKET, "shop", name=name) for name in ("exports", "payroll"))
TOPIC = Target(TargetKind.PUB_SUB_TOPIC, "shop", name="orders")
SEED = Seed.model_validate(
    {
        "projects": [
            {
                "projectID": "shop",
                "resources": [
                    {"kind": "StorageBucket", "name": "exports"},
                    {"kind": "PubSubTopic", "name": "orders"},
                ],
            },
            {"projectID": "finance", "resources": [{"kind": "StorageBucket", "name": "payroll"}]},
        ]
    }
)
GET_BUCKET, SET_POLICY = "google.storage.v2.Storage/GetBucket", "google.storage.v2.Storage/SetIamPolicy"


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with open_bench(SEED) as bench:
        yield bench


async def test_grant_on_a_bucket_of_the_project_is_made(bench: Bench) -> None:
    findings = await bench.sync(Grant(OWN, VIEWER, OPS))
    assert findings.states == {OPS: GrantState.GRANTED}
    assert bench.ledger(OWN).target_uid


async def test_bucket_of_another_project_is_missing_and_never_written(bench: Bench) -> None:
    outcome = (await bench.sync(Grant(FOREIGN, VIEWER, OPS))).outcome
    assert isinstance(outcome, Waiting)
    assert outcome.reason is Reason.WORKLOAD_NOT_FOUND
    assert outcome.message == (
        "StorageBucket payroll does not exist in project shop; create it, or correct the target in the spec"
    )
    assert bench.emulator.calls[SET_POLICY] == 0


async def test_bucket_that_cannot_be_read_is_never_written(bench: Bench) -> None:
    bench.emulator.faults.inject(GET_BUCKET, grpc.StatusCode.PERMISSION_DENIED, times=10)
    outcome = (await bench.sync(Grant(OWN, VIEWER, OPS))).outcome
    assert outcome.reason is Reason.PERMISSION_DENIED
    assert bench.emulator.calls[SET_POLICY] == 0


async def test_two_projects_have_separate_ledgers_of_one_bucket(bench: Bench) -> None:
    elsewhere = Target(TargetKind.STORAGE_BUCKET, "finance", name="exports")
    await bench.sync(Grant(OWN, VIEWER, OPS), Grant(elsewhere, VIEWER, OPS))
    assert bench.ledger(OWN).entries
    assert not bench.ledger(elsewhere).target_uid
    assert object_name(elsewhere) != object_name(OWN)


async def test_grant_on_a_recreated_topic_is_made_again(bench: Bench) -> None:
    grant = Grant(TOPIC, PUBLISHER, OPS)
    await bench.sync(grant)
    bench.emulator.edit({"resource": TOPIC.full_name, "recreate": True})

    findings = await bench.sync(grant)

    assert findings.states == {OPS: GrantState.GRANTED}
    assert bench.members(TOPIC, PUBLISHER) == {OPS}


async def test_deleted_topic_is_reported_as_missing(bench: Bench) -> None:
    bench.emulator.edit({"resource": TOPIC.full_name, "delete": True})
    outcome = (await bench.sync(Grant(TOPIC, PUBLISHER, OPS))).outcome
    assert outcome.reason is Reason.WORKLOAD_NOT_FOUND
