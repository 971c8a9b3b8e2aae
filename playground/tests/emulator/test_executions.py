from __future__ import annotations

from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import run_v2 as run

from cloudrun_identity_playground.emulator import Emulator

from .clients import LOCATION, Clients, Clock

JOB = f"{LOCATION}/jobs/nightly"
OLD, NEW = (f"{name}@shop.iam.gserviceaccount.com" for name in ("oldest", "newest"))


@pytest.fixture
def emulator(emulator: Emulator) -> Emulator:
    """An emulator with executions that run for a minute."""
    emulator.switches.update({"executionTime": "60s"})
    return emulator


@pytest.fixture
async def job(clients: Clients) -> run.Job:
    for email in (OLD, NEW):
        await clients.create_account(email.partition("@")[0])
    return await clients.create_job(service_account=OLD)


async def start(clients: Clients, **request: Any) -> run.Execution:
    """Run the job and return its running execution."""
    operation = await clients.jobs.run_job(run.RunJobRequest(name=JOB, **request))
    assert not operation.operation.done
    return await clients.executions.get_execution(name=operation.metadata.name)


@pytest.mark.usefixtures("job")
async def test_an_execution_keeps_the_account_that_its_job_had_when_it_started(
    clients: Clients,
) -> None:
    running = await start(clients)
    changed = await clients.jobs.get_job(name=JOB)
    changed.template.template.service_account = NEW
    await (await clients.jobs.update_job(job=changed)).result()

    listed = [each async for each in await clients.executions.list_executions(parent=JOB)]
    assert [(each.name, each.template.service_account) for each in listed] == [(running.name, OLD)]
    assert (await start(clients)).template.service_account == NEW


@pytest.mark.usefixtures("job")
async def test_execution_ends_after_its_duration(clients: Clients, clock: Clock) -> None:
    running = await start(clients)
    assert (running.running_count, running.reconciling, running.job) == (1, True, "nightly")
    clock.advance(60)

    over = await clients.executions.get_execution(name=running.name)
    assert (over.running_count, over.succeeded_count, over.reconciling) == (0, 1, False)
    assert over.completion_time is not None
    assert [(each.type_, each.state.name) for each in over.conditions] == [
        ("Completed", "CONDITION_SUCCEEDED")
    ]


@pytest.mark.usefixtures("job")
async def test_the_operation_of_a_run_lasts_as_long_as_the_execution(clients: Clients, clock: Clock) -> None:
    operation = await clients.jobs.run_job(name=JOB)
    assert operation.metadata.running_count == 1
    clock.advance(60)
    assert (await operation.result()).succeeded_count == 1


@pytest.mark.usefixtures("job")
async def test_job_reports_its_latest_execution(clients: Clients, clock: Clock) -> None:
    running = await start(clients)
    told = await clients.jobs.get_job(name=JOB)
    assert told.execution_count == 1
    assert told.latest_created_execution.name == running.name.rpartition("/")[2]
    assert told.latest_created_execution.completion_status.name == "EXECUTION_RUNNING"
    clock.advance(60)
    told = await clients.jobs.get_job(name=JOB)
    assert told.latest_created_execution.completion_status.name == "EXECUTION_SUCCEEDED"


@pytest.mark.usefixtures("job")
async def test_an_execution_can_be_cancelled_once(clients: Clients) -> None:
    running = await start(clients)
    cancelled = await (await clients.executions.cancel_execution(name=running.name)).result()
    assert (cancelled.running_count, cancelled.cancelled_count) == (0, 1)
    assert cancelled.conditions[0].execution_reason.name == "CANCELLED"
    with pytest.raises(exceptions.FailedPrecondition):
        await clients.executions.cancel_execution(name=running.name)
    told = await clients.jobs.get_job(name=JOB)
    assert told.latest_created_execution.completion_status.name == "EXECUTION_CANCELLED"


@pytest.mark.usefixtures("job")
async def test_deleted_execution_is_not_found(clients: Clients) -> None:
    running = await start(clients)
    deleted = await (await clients.executions.delete_execution(name=running.name)).result()
    assert deleted.name == running.name
    with pytest.raises(exceptions.NotFound):
        await clients.executions.get_execution(name=running.name)
    assert (await clients.jobs.get_job(name=JOB)).execution_count == 0


@pytest.mark.usefixtures("job")
async def test_stale_etag_aborts_run_cancel_and_delete(clients: Clients) -> None:
    running = await start(clients)
    for call in (
        clients.jobs.run_job(run.RunJobRequest(name=JOB, etag='"old"')),
        clients.executions.cancel_execution(run.CancelExecutionRequest(name=running.name, etag='"old"')),
        clients.executions.delete_execution(run.DeleteExecutionRequest(name=running.name, etag='"old"')),
    ):
        with pytest.raises(exceptions.Aborted):
            await call


@pytest.mark.usefixtures("job")
async def test_validate_only_has_no_effect_on_executions(clients: Clients) -> None:
    await clients.jobs.run_job(run.RunJobRequest(name=JOB, validate_only=True))
    running = await start(clients)
    for request in (run.CancelExecutionRequest, run.DeleteExecutionRequest):
        call = (
            clients.executions.cancel_execution
            if request is run.CancelExecutionRequest
            else clients.executions.delete_execution
        )
        await call(request(name=running.name, validate_only=True))
    listed = [each async for each in await clients.executions.list_executions(parent=f"{LOCATION}/jobs/-")]
    assert [(each.name, each.running_count) for each in listed] == [(running.name, 1)]


@pytest.mark.usefixtures("job")
async def test_overrides_apply_to_one_execution(clients: Clients) -> None:
    container = run.RunJobRequest.Overrides.ContainerOverride(
        args=["--all"], env=[run.EnvVar(name="MODE", value="full")]
    )
    overrides = run.RunJobRequest.Overrides(container_overrides=[container], task_count=3)
    overridden = await start(clients, overrides=overrides)
    plain = await start(clients)
    [changed], [kept] = overridden.template.containers, plain.template.containers
    assert (overridden.task_count, changed.args, changed.env[0].value) == (3, ["--all"], "full")
    assert (plain.task_count, kept.args, list(kept.env)) == (1, [], [])


@pytest.mark.usefixtures("job")
async def test_executions_are_deleted_with_their_job(clients: Clients) -> None:
    running = await start(clients)
    await (await clients.jobs.delete_job(name=JOB)).result()
    with pytest.raises(exceptions.NotFound):
        await clients.executions.get_execution(name=running.name)


async def test_missing_job_cannot_be_run(clients: Clients) -> None:
    with pytest.raises(exceptions.NotFound):
        await clients.jobs.run_job(name=JOB)


TOKENS = ("start_execution_token", "run_execution_token")


async def update(clients: Clients, **fields: Any) -> run.Job:
    """Send the job as it is read, with these fields, and return it when the operation is done."""
    job = await clients.jobs.get_job(name=JOB)
    for field, value in fields.items():
        setattr(job, field, value)
    return await (await clients.jobs.update_job(job=job)).result()


async def names(clients: Clients) -> set[str]:
    """Return the short names of the executions of the job."""
    listed = await clients.executions.list_executions(parent=JOB)
    return {each.name.rpartition("/")[2] async for each in listed}


@pytest.mark.usefixtures("job")
@pytest.mark.parametrize("token", TOKENS)
async def test_token_creates_an_execution_at_an_update(
    clients: Clients, emulator: Emulator, token: str
) -> None:
    emulator.switches.update({"executionTime": "0s"})
    updated = await update(clients, **{token: "first"})

    assert await names(clients) == {"nightly-first"}
    assert getattr(updated, token) == "first"
    assert updated.latest_created_execution.name == "nightly-first"
    await update(clients, **{token: "second"})
    assert await names(clients) == {"nightly-first", "nightly-second"}


@pytest.mark.parametrize("token", TOKENS)
async def test_token_creates_an_execution_at_a_create(
    clients: Clients, emulator: Emulator, token: str
) -> None:
    emulator.switches.update({"executionTime": "0s"})
    template = run.ExecutionTemplate(template=run.TaskTemplate(containers=[run.Container(image="hello")]))
    job = run.Job(template=template, **{token: "once"})
    await (await clients.jobs.create_job(parent=LOCATION, job_id="nightly", job=job)).result()

    assert await names(clients) == {"nightly-once"}


@pytest.mark.usefixtures("job")
@pytest.mark.parametrize("token", TOKENS)
async def test_used_token_is_refused(clients: Clients, emulator: Emulator, token: str) -> None:
    emulator.switches.update({"executionTime": "0s"})
    await update(clients, **{token: "once"})
    with pytest.raises(exceptions.AlreadyExists, match="Resource 'nightly-once' already exists"):
        await update(clients, client="another")
    assert await names(clients) == {"nightly-once"}


@pytest.mark.usefixtures("job")
async def test_execution_by_other_means_removes_the_token(clients: Clients, emulator: Emulator) -> None:
    emulator.switches.update({"executionTime": "0s"})
    await update(clients, start_execution_token="once")
    await (await clients.jobs.run_job(name=JOB)).result()

    assert not (await clients.jobs.get_job(name=JOB)).start_execution_token


@pytest.mark.usefixtures("job")
async def test_job_is_ready_once_its_run_token_has_ended(clients: Clients, clock: Clock) -> None:
    job = await clients.jobs.get_job(name=JOB)
    job.run_execution_token = "once"
    operation = await clients.jobs.update_job(job=job)
    assert (await clients.jobs.get_job(name=JOB)).reconciling
    clock.advance(60)
    assert not (await operation.result()).reconciling


@pytest.mark.usefixtures("job")
async def test_name_of_an_execution_has_63_characters_at_most(clients: Clients) -> None:
    with pytest.raises(exceptions.InvalidArgument):
        await update(clients, start_execution_token="x" * 60)
