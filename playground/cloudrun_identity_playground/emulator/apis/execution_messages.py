"""Messages of executions of jobs, as plain protobuf."""

from __future__ import annotations

import uuid
from typing import Any

from google.cloud import run_v2 as run

from .actor import actor


def token_of(job: Any) -> str:
    """Return the token with which a job asks for an execution; empty without one."""
    return str(job.start_execution_token or job.run_execution_token)


def new_execution(job: Any, request: run.RunJobRequest, suffix: str) -> Any:
    """Return an execution that has just started."""
    short_name = job.name.rpartition("/")[2]
    execution = run.Execution.pb()(
        name=f"{job.name}/executions/{short_name}-{suffix}",
        uid=str(uuid.uuid4()),
        creator=actor(),
        generation=1,
        observed_generation=1,
        labels=job.template.labels,
        annotations=job.template.annotations,
        launch_stage=job.launch_stage,
        job=short_name,
        parallelism=job.template.parallelism,
        task_count=job.template.task_count,
        template=job.template.template,
        reconciling=True,
    )
    _override(execution, request)
    execution.running_count = execution.task_count
    return execution


def _override(execution: Any, request: run.RunJobRequest) -> None:
    overrides = run.RunJobRequest.pb(request).overrides
    execution.task_count = overrides.task_count or execution.task_count
    if overrides.HasField("timeout"):
        execution.template.timeout.CopyFrom(overrides.timeout)
    for override in overrides.container_overrides:
        for container in execution.template.containers:
            # The override for the only container of a job needs no name.
            if override.name in ("", container.name):
                _override_container(container, override)


def _override_container(container: Any, override: Any) -> None:
    if override.clear_args or override.args:
        del container.args[:]
        container.args.extend(override.args)
    sent = {variable.name: variable for variable in override.env}
    kept = [variable for variable in container.env if variable.name not in sent]
    del container.env[:]
    container.env.extend([*kept, *sent.values()])
