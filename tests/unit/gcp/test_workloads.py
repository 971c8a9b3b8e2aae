import pytest
from google.cloud.run_v2 import types

from cloudrun_identity.api import TargetKind, WorkloadKind
from cloudrun_identity.gcp.workloads import Workload, WorkloadState, state_of
from cloudrun_identity.iam.grants import Target

PARENT = "projects/shop-1234/locations/europe-west1"
LATEST = types.TrafficTargetAllocationType.TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST
PINNED = types.TrafficTargetAllocationType.TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION
LATEST_SPLIT = types.InstanceSplitAllocationType.INSTANCE_SPLIT_ALLOCATION_TYPE_LATEST

SERVICE = Workload(WorkloadKind.SERVICE, "shop-1234", "europe-west1", "checkout")
JOB = Workload(WorkloadKind.JOB, "shop-1234", "europe-west1", "nightly")
POOL = Workload(WorkloadKind.WORKER_POOL, "shop-1234", "europe-west1", "runner")


def revision(name: str) -> str:
    return f"{PARENT}/services/checkout/revisions/{name}"


@pytest.mark.parametrize(
    ("workload", "resource", "kind"),
    [
        (SERVICE, f"{PARENT}/services/checkout", TargetKind.SERVICE),
        (JOB, f"{PARENT}/jobs/nightly", TargetKind.JOB),
        (POOL, f"{PARENT}/workerPools/runner", TargetKind.WORKER_POOL),
    ],
)
def test_a_workload_carries_an_iam_policy(workload: Workload, resource: str, kind: TargetKind) -> None:
    assert workload.resource == resource
    assert workload.target == Target(kind, "shop-1234", "europe-west1", workload.name)
    assert str(workload) == f"{kind} europe-west1/{workload.name}"


def test_a_service_is_read_in_full() -> None:
    message = types.Service(
        uid="u-1",
        etag='"e-1"',
        generation=4,
        observed_generation=3,
        reconciling=True,
        template=types.RevisionTemplate(service_account="checkout@shop-1234.example", revision="checkout-v4"),
        terminal_condition=types.Condition(
            type_="Ready", state=types.Condition.State.CONDITION_FAILED, message="image not found"
        ),
        latest_created_revision=revision("checkout-v4"),
        latest_ready_revision=revision("checkout-v3"),
        last_modifier="ann@example.com",
        labels={"goog-managed-by": "cloudfunctions"},
        invoker_iam_disabled=True,
    )

    assert state_of(SERVICE, message) == WorkloadState(
        workload=SERVICE,
        uid="u-1",
        etag='"e-1"',
        service_account="checkout@shop-1234.example",
        generation=4,
        observed_generation=3,
        reconciling=True,
        ready=False,
        ready_message="image not found",
        latest_created_revision="checkout-v4",
        latest_ready_revision="checkout-v3",
        template_revision="checkout-v4",
        serving_revisions=("checkout-v3",),
        last_modifier="ann@example.com",
        managed_by="cloudfunctions",
        invoker_iam_disabled=True,
    )


def test_a_job_has_no_revisions_and_its_account_lies_deeper() -> None:
    task = types.TaskTemplate(service_account="nightly@shop-1234.example")
    state = state_of(JOB, types.Job(template=types.ExecutionTemplate(template=task)))

    assert state.service_account == "nightly@shop-1234.example"
    assert state.serving_revisions == ()
    assert state.template_revision == state.latest_created_revision == state.latest_ready_revision == ""
    assert not state.invoker_iam_disabled


@pytest.mark.parametrize(
    ("condition", "ready"),
    [
        (types.Condition.State.CONDITION_SUCCEEDED, True),
        (types.Condition.State.CONDITION_FAILED, False),
        (types.Condition.State.CONDITION_PENDING, None),
        (types.Condition.State.CONDITION_RECONCILING, None),
        (types.Condition.State.STATE_UNSPECIFIED, None),
    ],
)
def test_readiness_is_undecided_until_the_terminal_condition_says(
    condition: types.Condition.State, ready: bool | None
) -> None:
    message = types.Service(terminal_condition=types.Condition(state=condition))

    assert state_of(SERVICE, message).ready is ready


def test_what_serves_is_every_revision_with_traffic_or_a_tag() -> None:
    message = types.Service(
        latest_ready_revision=revision("v5"),
        traffic=[types.TrafficTarget(type_=LATEST, percent=100)],
        traffic_statuses=[
            types.TrafficTargetStatus(type_=PINNED, revision="v3", percent=20),
            types.TrafficTargetStatus(type_=LATEST, percent=80),
            types.TrafficTargetStatus(type_=PINNED, revision="v1", tag="canary"),
            types.TrafficTargetStatus(type_=PINNED, revision="v2"),
            types.TrafficTargetStatus(type_=PINNED, revision="v3", tag="old"),
        ],
    )

    assert state_of(SERVICE, message).serving_revisions == ("v3", "v5", "v1")


def test_before_traffic_is_reported_the_wanted_one_counts() -> None:
    message = types.Service(
        latest_ready_revision=revision("v5"),
        traffic=[types.TrafficTarget(type_=PINNED, revision="v4", percent=100)],
    )

    assert state_of(SERVICE, message).serving_revisions == ("v4",)


def test_a_worker_pool_serves_from_its_instance_splits() -> None:
    message = types.WorkerPool(
        latest_ready_revision=f"{PARENT}/workerPools/runner/revisions/r9",
        instance_split_statuses=[
            types.InstanceSplitStatus(type_=LATEST_SPLIT, percent=50),
            types.InstanceSplitStatus(revision="r7", percent=50),
            types.InstanceSplitStatus(revision="r1", percent=0),
        ],
    )

    assert state_of(POOL, message).serving_revisions == ("r9", "r7")


def test_nothing_serves_before_the_first_revision_is_ready() -> None:
    message = types.Service(traffic=[types.TrafficTarget(type_=LATEST, percent=100)])

    assert state_of(SERVICE, message).serving_revisions == ()
