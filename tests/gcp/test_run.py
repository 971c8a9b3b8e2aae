"""Cloud Run workloads, and changes of their account."""

import gc
from typing import Any

import grpc
import pytest
from google.cloud.run_v2 import types

from cloudrun_identity.api import WorkloadKind
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.run import Run, Workload
from cloudrun_identity.gcp.service_accounts import ServiceAccounts
from cloudrun_identity.gcp.workloads import IMPERATIVE_FIELDS
from cloudrun_identity_playground.emulator.emulator import Emulator
from cloudrun_identity_playground.emulator.errors import perimeter_violation

PROJECT, LOCATION = "shop-1234", "europe-west1"
CHECKOUT = Workload(WorkloadKind.SERVICE, PROJECT, LOCATION, "checkout")
PINNED = Workload(WorkloadKind.SERVICE, PROJECT, LOCATION, "pinned")
NIGHTLY = Workload(WorkloadKind.JOB, PROJECT, LOCATION, "nightly")
RUNNER = Workload(WorkloadKind.WORKER_POOL, PROJECT, LOCATION, "runner")
KINDS = pytest.mark.parametrize("workload", [CHECKOUT, NIGHTLY, RUNNER], ids=lambda each: str(each.kind))

NOUNS = {CHECKOUT.kind: "Service", NIGHTLY.kind: "Job", RUNNER.kind: "WorkerPool"}
FIELDS = {CHECKOUT.kind: "service", NIGHTLY.kind: "job", RUNNER.kind: "worker_pool"}
COLLECTIONS = {CHECKOUT.kind: "services", NIGHTLY.kind: "jobs", RUNNER.kind: "workerPools"}


@pytest.fixture
def run(clients: GoogleClients) -> Run:
    return Run(clients)


@pytest.fixture
async def email(clients: GoogleClients) -> str:
    return (await ServiceAccounts(clients).create(PROJECT, "till-roll", "", "")).email


def stored(emulator: Emulator, workload: Workload) -> Any:
    """Return the plain protobuf message in the emulator."""
    return emulator.cloud.workloads[COLLECTIONS[workload.kind]].read(workload.resource)


def copy(message: Any) -> Any:
    twin = type(message)()
    twin.CopyFrom(message)
    return twin


def set_account(message: Any, workload: Workload, email: str) -> None:
    template = message.template.template if workload.kind is WorkloadKind.JOB else message.template
    template.service_account = email


@pytest.fixture
def updates(emulator: Emulator) -> list[Any]:
    """Record the update requests that the emulator receives, as plain protobuf."""
    arrived: list[Any] = []
    handlers: dict[str, Any] = emulator.cloud.handlers
    for noun in NOUNS.values():
        rpc = f"google.cloud.run.v2.{noun}s/Update{noun}"

        def note(request: Any, handler: Any = handlers[rpc]) -> Any:
            arrived.append(copy(type(request).pb(request)))
            return handler(request)

        handlers[rpc] = note
    return arrived


@KINDS
async def test_workload_is_read(run: Run, workload: Workload) -> None:
    state = await run.get(workload)

    assert state.workload == workload
    assert state.service_account == "123456789012-compute@developer.gserviceaccount.com"
    assert state.uid
    assert state.etag.startswith('"')
    assert state.ready
    assert not state.reconciling
    assert state.observed_generation == state.generation == 1
    if workload.kind is not WorkloadKind.JOB:
        assert state.serving_revisions == (state.latest_ready_revision,)
        assert state.latest_created_revision == state.latest_ready_revision


async def test_missing_workload_is_not_found(run: Run) -> None:
    with pytest.raises(GoogleError) as raised:
        await run.get(Workload(WorkloadKind.JOB, PROJECT, LOCATION, "nowhere"))

    assert raised.value.fault is Fault.NOT_FOUND


async def test_list_returns_the_workloads_of_all_pages(
    run: Run, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloudrun_identity.gcp.run._PAGE_SIZE", 1)

    services = await run.list(PROJECT, LOCATION, WorkloadKind.SERVICE)

    assert [state.workload for state in services] == [CHECKOUT, PINNED]
    assert services[0] == await run.get(CHECKOUT)
    assert emulator.calls["google.cloud.run.v2.Services/ListServices"] == 2
    assert [state.workload for state in await run.list(PROJECT, LOCATION, WorkloadKind.JOB)] == [NIGHTLY]
    assert [state.workload for state in await run.list(PROJECT, LOCATION, WorkloadKind.WORKER_POOL)] == [
        RUNNER
    ]
    assert await run.list(PROJECT, "europe-west4", WorkloadKind.SERVICE) == []


@KINDS
async def test_account_change_sends_one_changed_field(
    run: Run, emulator: Emulator, updates: list[Any], email: str, workload: Workload
) -> None:
    expected = copy(stored(emulator, workload))
    set_account(expected, workload, email)
    state = await run.get(workload)

    await run.set_service_account(state, email)

    [request] = updates
    assert getattr(request, FIELDS[workload.kind]) == expected
    if workload.kind is not WorkloadKind.JOB:
        assert list(request.update_mask.paths) == ["template.service_account"]


@KINDS
async def test_account_change_keeps_all_other_fields(
    run: Run, emulator: Emulator, email: str, workload: Workload
) -> None:
    before = copy(stored(emulator, workload))
    state = await run.get(workload)

    operation = await run.set_service_account(state, email)

    assert (await run.operation(operation.name, workload)).done
    after = copy(stored(emulator, workload))
    set_account(before, workload, email)
    for message in (before, after):
        for field in emulator.cloud.workloads[COLLECTIONS[workload.kind]].kind.output_only:
            message.ClearField(field)
    assert after == before
    assert (await run.get(workload)).service_account == email


async def test_account_change_of_a_job_keeps_unknown_fields(
    run: Run, emulator: Emulator, updates: list[Any], email: str
) -> None:
    unknown = b"\xfa\xff\x07\x06future"  # field 16383, six bytes
    stored(emulator, NIGHTLY).template.template.MergeFromString(unknown)
    state = await run.get(NIGHTLY)

    await run.set_service_account(state, email)

    [request] = updates
    assert unknown in request.job.template.template.SerializeToString()


TOKENS = ("start_execution_token", "run_execution_token")


@pytest.mark.parametrize("token", TOKENS)
async def test_account_change_does_not_execute_a_job_again(
    run: Run, emulator: Emulator, updates: list[Any], email: str, token: str
) -> None:
    unknown = b"\xfa\xff\x07\x06future"
    job = stored(emulator, NIGHTLY)
    setattr(job, token, "start-once-created")
    job.MergeFromString(unknown)

    await run.set_service_account(await run.get(NIGHTLY), email)

    [request] = updates
    assert request.job.WhichOneof("create_execution") is None
    assert unknown in request.job.SerializeToString()
    assert await run.running_executions(PROJECT, LOCATION) == ()
    assert (await run.get(NIGHTLY)).service_account == email
    assert stored(emulator, NIGHTLY).execution_count == 0


DESCRIBE_A_STATE = {
    "annotations",
    "binary_authorization",
    "client",
    "client_version",
    "labels",
    "launch_stage",
    "template",
}


def test_every_field_of_a_job_describes_a_state_or_is_not_sent_back(emulator: Emulator) -> None:
    """A field that a later version of the client library adds has to be looked at: it may act."""
    job = emulator.cloud.workloads["jobs"].kind
    known = {*DESCRIBE_A_STATE, *job.output_only, *IMPERATIVE_FIELDS[WorkloadKind.JOB]}

    assert set(job.message.DESCRIPTOR.fields_by_name) == known
    for kind, fields in IMPERATIVE_FIELDS.items():
        assert bool(fields) is (kind is WorkloadKind.JOB), "only a job is written as a whole"


async def test_mistyped_location_is_reported_as_such(run: Run) -> None:
    mistyped = Workload(WorkloadKind.SERVICE, PROJECT, "europe-west11", "checkout")
    for call in (run.get(mistyped), run.list(PROJECT, "europe-west11", WorkloadKind.JOB)):
        with pytest.raises(GoogleError) as raised:
            await call
        assert raised.value.fault is Fault.LOCATION_NOT_FOUND
        assert raised.value.metadata["location"] == "europe-west11"


async def test_perimeter_violation_is_reported_as_such(run: Run, emulator: Emulator) -> None:
    violation = perimeter_violation("run.googleapis.com", f"projects/{PROJECT}", "VQQnKf")
    emulator.faults.inject("*", violation.code, message=violation.message, details=violation.details)

    with pytest.raises(GoogleError) as raised:
        await run.get(CHECKOUT)

    assert (raised.value.fault, raised.value.metadata["uid"]) == (Fault.PERIMETER_VIOLATION, "VQQnKf")


async def test_account_change_clears_a_pinned_revision_name(run: Run, updates: list[Any], email: str) -> None:
    state = await run.get(PINNED)
    assert state.template_revision == "pinned-v1"

    await run.set_service_account(state, email)

    updated = await run.get(PINNED)
    assert list(updates[0].update_mask.paths) == ["template.service_account", "template.revision"]
    assert updated.service_account == email
    assert updated.template_revision == ""
    assert updated.serving_revisions == (updated.latest_ready_revision,) != state.serving_revisions


@KINDS
async def test_account_change_with_stale_state_is_aborted(
    run: Run, emulator: Emulator, email: str, workload: Workload
) -> None:
    stale = await run.get(workload)
    other = stale.service_account
    await run.set_service_account(stale, email)

    with pytest.raises(GoogleError) as raised:
        await run.set_service_account(stale, other)

    assert raised.value.fault is Fault.ABORTED
    assert (await run.get(workload)).service_account == email


@pytest.mark.parametrize("workload", [CHECKOUT, RUNNER], ids=lambda each: str(each.kind))
async def test_revision_has_its_own_account(run: Run, email: str, workload: Workload) -> None:
    before = await run.get(workload)
    await run.set_service_account(before, email)
    after = await run.get(workload)

    assert await run.revision_account(workload, before.latest_ready_revision) == before.service_account
    assert await run.revision_account(workload, after.latest_ready_revision) == email


async def test_operation_is_read_once(run: Run, emulator: Emulator, email: str) -> None:
    state = await run.get(CHECKOUT)
    operation = await run.set_service_account(state, email)

    seen = await run.operation(operation.name, CHECKOUT)

    assert seen.name == operation.name
    assert seen.done
    assert seen.error is None
    assert emulator.calls["google.longrunning.Operations/GetOperation"] == 1


async def test_operation_in_progress_contains_the_changed_workload(
    run: Run, emulator: Emulator, email: str
) -> None:
    emulator.cloud.switches.update({"operationTime": "1h"})
    state = await run.get(CHECKOUT)
    started = await run.set_service_account(state, email)
    assert started.state
    assert (started.done, started.state.service_account, started.state.is_settled) == (False, email, False)
    assert started.state.generation == state.generation + 1


async def test_operation_of_a_failed_revision_has_the_error(run: Run, emulator: Emulator, email: str) -> None:
    state = await run.get(CHECKOUT)
    emulator.edit({"workload": f"//run.googleapis.com/{CHECKOUT.resource}", "failsToStart": "out of memory"})

    operation = await run.set_service_account(state, email)

    assert operation.done
    assert "out of memory" in (operation.error or "")
    failed = await run.get(CHECKOUT)
    assert (failed.service_account, failed.ready, failed.is_settled) == (email, False, True)
    assert failed.failed_revision == failed.latest_created_revision
    assert failed.latest_ready_revision == state.latest_ready_revision
    assert await run.revision_account(CHECKOUT, failed.latest_ready_revision) == state.service_account


async def test_failed_operation_leaves_no_unread_exception(
    run: Run, emulator: Emulator, email: str, caplog: pytest.LogCaptureFixture
) -> None:
    state = await run.get(CHECKOUT)
    emulator.edit({"workload": f"//run.googleapis.com/{CHECKOUT.resource}", "failsToStart": "out of memory"})

    await run.set_service_account(state, email)
    gc.collect()

    assert "never retrieved" not in caplog.text


async def test_missing_operation_is_not_found(run: Run) -> None:
    with pytest.raises(GoogleError) as raised:
        await run.operation(f"projects/{PROJECT}/locations/{LOCATION}/operations/missing", CHECKOUT)

    assert raised.value.fault is Fault.NOT_FOUND


async def test_update_with_a_lost_answer_is_aborted(run: Run, emulator: Emulator, email: str) -> None:
    state = await run.get(CHECKOUT)
    emulator.faults.inject(
        "google.cloud.run.v2.Services/UpdateService", grpc.StatusCode.UNAVAILABLE, applied=True
    )

    with pytest.raises(GoogleError) as raised:
        await run.set_service_account(state, email)

    assert (raised.value.fault, raised.value.undecided) == (Fault.ABORTED, True)
    assert (await run.get(CHECKOUT)).service_account == email


GLOBAL = Workload(WorkloadKind.SERVICE, PROJECT, "global", "worldwide")


@pytest.fixture
async def worldwide(clients: GoogleClients, emulator: Emulator) -> Workload:
    """Deploy a service to two regions."""
    create = emulator.cloud.handlers["google.cloud.run.v2.Services/CreateService"]
    settings = types.Service.MultiRegionSettings(regions=[LOCATION, "us-east1"])
    template = types.RevisionTemplate(containers=[types.Container(image="hello")])
    parent = f"projects/{PROJECT}/locations/global"
    service = types.Service(template=template, multi_region_settings=settings)
    create(types.CreateServiceRequest(parent=parent, service_id="worldwide", service=service))
    return GLOBAL


async def test_multi_region_service_is_listed_and_reassigned(
    run: Run, worldwide: Workload, email: str
) -> None:
    [state] = await run.list(PROJECT, "global", WorkloadKind.SERVICE)
    assert (state.workload, state.managed_by) == (worldwide, "")
    await run.set_service_account(state, email)
    state = await run.get(worldwide)
    assert state.service_account == email
    assert await run.revision_account(worldwide, state.latest_ready_revision) == email
    listed = await run.list(PROJECT, LOCATION, WorkloadKind.SERVICE)
    [part] = [each for each in listed if each.workload.name == "worldwide"]
    assert (part.managed_by, part.service_account) == ("Service global/worldwide", email)


async def test_location_of_multi_region_services_has_no_jobs(run: Run) -> None:
    assert await run.list(PROJECT, "global", WorkloadKind.JOB) == []
    assert await run.list(PROJECT, "global", WorkloadKind.WORKER_POOL) == []
    assert await run.running_executions(PROJECT, "global") == ()


async def test_list_without_all_regions_is_unavailable(run: Run, emulator: Emulator) -> None:
    handlers: dict[str, Any] = emulator.cloud.handlers
    rpc = "google.cloud.run.v2.Services/ListServices"
    handlers[rpc] = lambda _: types.ListServicesResponse(unreachable=["us-east1"])
    with pytest.raises(GoogleError, match="the list is incomplete without us-east1") as raised:
        await run.list(PROJECT, "global", WorkloadKind.SERVICE)
    assert raised.value.fault is Fault.UNAVAILABLE
