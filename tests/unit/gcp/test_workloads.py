"""State of workloads, and the message that changes their account."""

from typing import Any

import pytest
from google.cloud.run_v2 import types
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloudrun_identity.api import TargetKind, WorkloadKind
from cloudrun_identity.gcp.workloads import (
    IMPERATIVE_FIELDS,
    Workload,
    WorkloadState,
    state_of,
    with_service_account,
    workload_template,
)
from cloudrun_identity.iam.grants import Target

from .messages import UNKNOWN, messages

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
def test_workload_is_the_target_of_an_iam_policy(workload: Workload, resource: str, kind: TargetKind) -> None:
    assert workload.resource == resource
    assert workload.target == Target(kind, "shop-1234", "europe-west1", workload.name)
    assert str(workload) == f"{kind} europe-west1/{workload.name}"


def test_state_of_a_service() -> None:
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


def test_state_of_a_job_has_no_revisions() -> None:
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
def test_ready_follows_the_terminal_condition(condition: types.Condition.State, ready: bool | None) -> None:
    message = types.Service(terminal_condition=types.Condition(state=condition))

    assert state_of(SERVICE, message).ready is ready


def test_revisions_with_traffic_or_a_tag_are_serving() -> None:
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


def test_desired_traffic_is_used_before_the_first_status() -> None:
    message = types.Service(
        latest_ready_revision=revision("v5"),
        traffic=[types.TrafficTarget(type_=PINNED, revision="v4", percent=100)],
    )

    assert state_of(SERVICE, message).serving_revisions == ("v4",)


def test_worker_pool_revisions_with_instances_are_serving() -> None:
    message = types.WorkerPool(
        latest_ready_revision=f"{PARENT}/workerPools/runner/revisions/r9",
        instance_split_statuses=[
            types.InstanceSplitStatus(type_=LATEST_SPLIT, percent=50),
            types.InstanceSplitStatus(revision="r7", percent=50),
            types.InstanceSplitStatus(revision="r1", percent=0),
        ],
    )

    assert state_of(POOL, message).serving_revisions == ("r9", "r7")


def test_no_revision_is_serving_before_the_first_is_ready() -> None:
    message = types.Service(traffic=[types.TrafficTarget(type_=LATEST, percent=100)])

    assert state_of(SERVICE, message).serving_revisions == ()


MESSAGES = {SERVICE: types.Service, JOB: types.Job, POOL: types.WorkerPool}


@st.composite
def workloads(draw: st.DrawFn) -> tuple[Workload, Any]:
    """Generate workloads of any kind with arbitrary content."""
    workload = draw(st.sampled_from(list(MESSAGES)))
    plain = draw(messages(MESSAGES[workload].pb().DESCRIPTOR))
    return workload, MESSAGES[workload].wrap(plain)


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=150)
@given(workloads(), st.text(min_size=1))
def test_account_change_keeps_all_other_bytes(read: tuple[Workload, Any], email: str) -> None:
    workload, message = read
    before = type(message).pb(message).SerializeToString(deterministic=True)

    after, paths = with_service_account(state_of(workload, message), email)

    assert workload_template(workload.kind, after).service_account == email
    original = type(after)()
    original.ParseFromString(before)
    assert type(message).pb(message) == original, "the message that was read is unchanged"
    workload_template(workload.kind, original).service_account = email
    for imperative in IMPERATIVE_FIELDS[workload.kind]:
        original.ClearField(imperative)
    if "template.revision" in paths:
        assert original.template.revision
        original.template.revision = ""
    assert after.SerializeToString(deterministic=True) == original.SerializeToString(deterministic=True)


@pytest.mark.parametrize("workload", MESSAGES, ids=lambda each: each.kind)
def test_account_change_keeps_unknown_fields(workload: Workload) -> None:
    plain = MESSAGES[workload].pb()()
    workload_template(workload.kind, plain).MergeFromString(UNKNOWN)

    after, _ = with_service_account(
        state_of(workload, MESSAGES[workload].wrap(plain)), "till-roll@shop-1234.example"
    )

    assert UNKNOWN in workload_template(workload.kind, after).SerializeToString()


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=50)
@given(workloads(), st.text(min_size=1))
def test_template_digest_ignores_the_account_alone(read: tuple[Workload, Any], email: str) -> None:
    workload, message = read
    before = state_of(workload, message)
    moved, _ = with_service_account(before, email)
    assert state_of(workload, type(message).wrap(moved)).template_digest == before.template_digest

    workload_template(workload.kind, moved).containers.add(image="another")
    assert state_of(workload, type(message).wrap(moved)).template_digest != before.template_digest


@pytest.mark.parametrize("workload", MESSAGES, ids=lambda each: each.kind)
def test_template_digest_covers_unknown_fields(workload: Workload) -> None:
    plain = MESSAGES[workload].pb()()
    before = state_of(workload, MESSAGES[workload].wrap(plain)).template_digest
    workload_template(workload.kind, plain).MergeFromString(UNKNOWN)
    assert state_of(workload, MESSAGES[workload].wrap(plain)).template_digest != before


def test_account_change_clears_a_pinned_revision_name() -> None:
    pinned = types.Service(template=types.RevisionTemplate(revision="checkout-v1"))

    after, paths = with_service_account(state_of(SERVICE, pinned), "till-roll@shop-1234.example")

    assert after.template.revision == ""
    assert paths == ("template.service_account", "template.revision")


@pytest.mark.parametrize(
    ("fields", "settled", "failed"),
    [
        ({}, True, ""),
        ({"latest_created_revision": "r2"}, True, "r2"),
        ({"latest_created_revision": "r2", "reconciling": True}, False, ""),
        ({"generation": 3}, False, ""),
        ({"terminal_condition": None}, False, ""),
    ],
)
def test_workload_is_settled_after_cloud_run_finishes_the_change(
    fields: dict[str, Any], settled: bool, failed: str
) -> None:
    ready = types.Condition(state=types.Condition.State.CONDITION_SUCCEEDED)
    shown = {
        "generation": 2,
        "observed_generation": 2,
        "terminal_condition": ready,
        "latest_created_revision": "r1",
        "latest_ready_revision": "r1",
    } | fields
    state = state_of(SERVICE, types.Service(**shown))
    assert (state.is_settled, state.failed_revision) == (settled, failed)
