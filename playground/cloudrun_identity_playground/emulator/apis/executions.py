"""Cloud Run v2: executions of jobs, which keep the job's service account from their start."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from google.cloud import run_v2 as run
from google.longrunning import operations_pb2

from cloudrun_identity_playground.emulator.errors import (
    already_exists,
    failed_precondition,
    invalid,
    not_found,
)
from cloudrun_identity_playground.emulator.switches import Switches

from .execution_messages import new_execution, token_of
from .operations import Operations
from .paging import page, page_size
from .projects import ProjectRegistry
from .rpc import serves
from .run_locations import check_location
from .run_messages import check_etag, copy_of
from .stamps import Stamps

_NAME = re.compile(r"projects/([^/]+)/locations/([^/]+)/(jobs/[^/]+)(?:/executions/([^/]+))?")
_LONGEST_NAME = 63
_State = run.Condition.State
_Status = run.ExecutionReference.CompletionStatus


@dataclass
class _Execution:
    """An execution as it is shown while it runs and after its end, which is in seconds since the epoch."""

    shown: Any
    ends: float


class Executions:
    """`google.cloud.run.v2.Executions`. The switch sets how long an execution runs; it succeeds."""

    def __init__(
        self,
        projects: ProjectRegistry,
        operations: Operations,
        stamps: Stamps,
        switches: Switches,
        clock: Callable[[], float],
    ) -> None:
        self._projects = projects
        self._operations = operations
        self._stamps = stamps
        self._switches = switches
        self._clock = clock
        self._executions: dict[str, _Execution] = {}

    def start(self, job: Any, request: run.RunJobRequest) -> operations_pb2.Operation:
        """Execute `job` with the request's overrides; return an operation as long as the execution."""
        execution = new_execution(job, request, secrets.token_hex(3)[:5])
        ends = self._begin(execution)
        if not request.validate_only:
            self._executions[execution.name] = _Execution(execution, ends)
        return self._operation(execution, ends)

    def check_token(self, job: Any) -> None:
        """Check that the execution that the token of `job` names can be created.

        Raises GoogleError: INVALID_ARGUMENT, the name would be too long; ALREADY_EXISTS, the token was used.
        """
        token = token_of(job)
        if not token:
            return
        name = f"{_short(job.name)}-{token}"
        if len(name) > _LONGEST_NAME:
            raise invalid(f"The execution name '{name}' has more than {_LONGEST_NAME} characters.")
        if f"{job.name}/executions/{name}" in self._executions:
            raise already_exists(f"Resource '{name}' already exists.")

    def start_by_token(self, job: Any) -> float | None:
        """Create the execution that the token of `job` names; return when the job is ready, None at once.

        With `start_execution_token` the job is ready once the execution has started, with
        `run_execution_token` once it has ended. A job without a token has no execution created.
        """
        token = token_of(job)
        if not token:
            return None
        execution = new_execution(job, run.RunJobRequest(), token)
        ends = self._begin(execution)
        self._executions[execution.name] = _Execution(execution, ends)
        return ends if job.run_execution_token else None

    def report_on(self, job: Any) -> None:
        """Set the fields of a job that report its executions."""
        mine = [each.shown for each in map(self._settled, self._of_job(job.name))]
        job.execution_count = len(mine)
        none = run.ExecutionReference.pb()()
        job.latest_created_execution.CopyFrom(_reference(mine[-1]) if mine else none)

    def all(self) -> Iterable[Any]:
        """Return every execution as plain protobuf."""
        return [self._settled(name).shown for name in self._executions]

    def drop(self, job_name: str) -> None:
        """Remove the executions of a deleted job."""
        for name in self._of_job(job_name):
            del self._executions[name]

    @serves("google.cloud.run.v2.Executions/GetExecution")
    def get(self, request: run.GetExecutionRequest) -> run.Execution:
        """Return an execution."""
        execution: run.Execution = run.Execution.wrap(self._find(request.name).shown)
        return execution

    @serves("google.cloud.run.v2.Executions/ListExecutions")
    def list(self, request: run.ListExecutionsRequest) -> run.ListExecutionsResponse:
        """List the executions of a job, or with `-` those of all jobs of a location."""
        parent = self._canonical(request.parent)
        prefix = parent[:-1] if parent.endswith("/jobs/-") else f"{parent}/executions/"
        mine = {name: self._settled(name).shown for name in self._executions if name.startswith(prefix)}
        shown, token = page(mine, request.page_token, page_size(request.page_size, 100, 1000))
        return run.ListExecutionsResponse(
            executions=[run.Execution.wrap(each) for each in shown], next_page_token=token
        )

    @serves("google.cloud.run.v2.Executions/CancelExecution")
    def cancel(self, request: run.CancelExecutionRequest) -> operations_pb2.Operation:
        """Cancel a running execution; return an operation."""
        running = self._find(request.name)
        check_etag(request.etag, running.shown)
        if not running.shown.reconciling:
            raise failed_precondition(f"Execution '{_short(request.name)}' is completed already.")
        cancelled = copy_of(running.shown)
        _end(cancelled, "cancelled_count", self._stamps)
        if not request.validate_only:
            self._executions[cancelled.name] = _Execution(cancelled, self._clock())
        return self._operation(cancelled, self._operations.done_at())

    @serves("google.cloud.run.v2.Executions/DeleteExecution")
    def delete(self, request: run.DeleteExecutionRequest) -> operations_pb2.Operation:
        """Delete an execution, which stops it; return an operation."""
        execution = copy_of(self._find(request.name).shown)
        check_etag(request.etag, execution)
        self._stamps.put(execution)
        execution.delete_time.CopyFrom(execution.update_time)
        if not request.validate_only:
            del self._executions[execution.name]
        return self._operation(execution, self._operations.done_at())

    def _begin(self, execution: Any) -> float:
        """Set the fields of an execution that starts now; return when it ends."""
        self._stamps.put(execution)
        for field in ("create_time", "start_time"):
            getattr(execution, field).CopyFrom(execution.update_time)
        _set_completed(execution, _State.CONDITION_RECONCILING)
        return self._clock() + self._switches.execution_time.total_seconds()

    def _operation(self, execution: Any, done_at: float) -> operations_pb2.Operation:
        def outcome() -> Any:
            known = execution.name in self._executions
            return self._settled(execution.name).shown if known else execution

        location = "/".join(execution.name.split("/")[:4])
        return self._operations.start(location, execution, outcome, done_at)

    def _of_job(self, job_name: str) -> Iterable[str]:
        return [name for name in self._executions if name.startswith(f"{job_name}/executions/")]

    def _find(self, name: str) -> _Execution:
        canonical = self._canonical(name)
        if canonical not in self._executions:
            raise not_found(f"Execution '{_short(name)}' does not exist.")
        return self._settled(canonical)

    def _settled(self, name: str) -> _Execution:
        """Return the execution; end it first if it is due."""
        execution = self._executions[name]
        if execution.shown.reconciling and self._clock() >= execution.ends:
            execution.shown = copy_of(execution.shown)
            _end(execution.shown, "succeeded_count", self._stamps)
        return execution

    def _canonical(self, name: str) -> str:
        match = _NAME.fullmatch(name)
        if match is None:
            raise invalid(f"Invalid execution or parent name '{name}'.")
        name_of_project, location, job, execution = match.groups()
        project = self._projects.resolve(name_of_project)
        check_location(location, project)
        parent = f"projects/{project.id}/locations/{location}/{job}"
        return f"{parent}/executions/{execution}" if execution else parent


class JobRuns:
    """`RunJob`, the method of `google.cloud.run.v2.Jobs` that creates executions."""

    def __init__(
        self, executions: Executions, job: Callable[[str], Any], forget_token: Callable[[str], None]
    ) -> None:
        """`job` returns the job of a name as plain protobuf, or raises GoogleError (NOT_FOUND).

        `forget_token` removes the execution token of a job.
        """
        self._executions = executions
        self._job = job
        self._forget_token = forget_token

    @serves("google.cloud.run.v2.Jobs/RunJob")
    def run(self, request: run.RunJobRequest) -> operations_pb2.Operation:
        """Execute a job; return an operation that lasts as long as the execution."""
        job = self._job(request.name)
        check_etag(request.etag, job)
        if not request.validate_only:
            self._forget_token(job.name)
        return self._executions.start(job, request)


def _end(execution: Any, count: str, stamps: Stamps) -> None:
    """End the execution and count all tasks as `succeeded_count` or `cancelled_count`."""
    stamps.put(execution)
    execution.completion_time.CopyFrom(execution.update_time)
    execution.running_count = 0
    execution.reconciling = False
    setattr(execution, count, execution.task_count)
    if count == "succeeded_count":
        _set_completed(execution, _State.CONDITION_SUCCEEDED)
    else:
        _set_completed(execution, _State.CONDITION_FAILED)
        execution.conditions[0].execution_reason = run.Condition.ExecutionReason.CANCELLED


def _set_completed(execution: Any, state: int) -> None:
    del execution.conditions[:]
    execution.conditions.add(type_="Completed", state=state, last_transition_time=execution.update_time)


def _reference(execution: Any) -> Any:
    reference = run.ExecutionReference.pb()(
        name=_short(execution.name),
        create_time=execution.create_time,
        completion_status=_completion_status(execution),
    )
    if execution.HasField("completion_time"):
        reference.completion_time.CopyFrom(execution.completion_time)
    return reference


def _completion_status(execution: Any) -> int:
    if execution.reconciling:
        return int(_Status.EXECUTION_RUNNING)
    return int(_Status.EXECUTION_CANCELLED if execution.cancelled_count else _Status.EXECUTION_SUCCEEDED)


def _short(name: str) -> str:
    return name.rpartition("/")[2]
