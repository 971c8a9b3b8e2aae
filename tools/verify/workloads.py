"""Temporary Cloud Run workloads: a service without traffic, a job that never runs, an empty worker pool."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.cloud import run_v2
from google.protobuf import duration_pb2, json_format

from cloudrun_identity.api import WorkloadKind
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.ratelimit import Api
from cloudrun_identity.gcp.service_client import ServiceClient
from cloudrun_identity.gcp.workloads import Workload, WorkloadState, workload_template

from .sandbox import LABEL, LAGGING, Sandbox

_VOLATILE: Final = (
    "conditions",
    "etag",
    "generation",
    "last_modifier",
    "latest_created_revision",
    "latest_ready_revision",
    "observed_generation",
    "reconciling",
    "terminal_condition",
    "update_time",
)
"""Fields that Cloud Run changes at each update."""


@dataclass(frozen=True, slots=True)
class _Methods:
    """Methods for a kind of workload that the operator does not call."""

    service: str
    """gRPC service."""
    create: str
    """Method that creates a workload."""
    delete: str
    """Method that deletes a workload."""
    image: str
    """Google's sample image: https://cloud.google.com/run/docs/quickstarts."""


_METHODS: Final[Mapping[WorkloadKind, _Methods]] = {
    WorkloadKind.SERVICE: _Methods(
        "google.cloud.run.v2.Services",
        "create_service",
        "delete_service",
        "us-docker.pkg.dev/cloudrun/container/hello",
    ),
    WorkloadKind.JOB: _Methods(
        "google.cloud.run.v2.Jobs",
        "create_job",
        "delete_job",
        "us-docker.pkg.dev/cloudrun/container/job",
    ),
    WorkloadKind.WORKER_POOL: _Methods(
        "google.cloud.run.v2.WorkerPools",
        "create_worker_pool",
        "delete_worker_pool",
        "us-docker.pkg.dev/cloudrun/container/worker-pool",
    ),
}


async def workload(sandbox: Sandbox, kind: WorkloadKind) -> WorkloadState:
    """Return a settled workload that runs as the account `runner`. It is created on first use."""
    wanted = Workload(kind, sandbox.project_id, sandbox.settings.location, sandbox.name(_short(kind)))
    try:
        await sandbox.run.get(wanted)
    except GoogleError as error:
        if error.fault is not Fault.NOT_FOUND:
            raise
        await _create(sandbox, wanted)
    return await settled(sandbox, wanted)


async def settled(sandbox: Sandbox, workload: Workload) -> WorkloadState:
    """Wait until Cloud Run has finished the latest change. Return the state."""
    found: list[WorkloadState] = []

    async def is_settled() -> bool:
        found[:] = [await sandbox.run.get(workload)]
        return found[0].is_settled

    await sandbox.until(is_settled, frozenset({Fault.NOT_FOUND}))
    return found[0]


async def delete(clients: GoogleClients, workload: Workload) -> None:
    """Start the deletion of a workload."""
    request = getattr(run_v2, f"Delete{workload.kind.value}Request")(name=workload.resource)
    await _client(clients, workload.kind).call(
        workload.project_id, _METHODS[workload.kind].delete, request, region=workload.location
    )


def differences(before: WorkloadState, after: WorkloadState) -> tuple[str, ...]:
    """Return the paths of the fields that differ, without those that each change of the account changes."""
    return tuple(sorted(set(_differing(_comparable(before), _comparable(after)))))


async def _create(sandbox: Sandbox, workload: Workload) -> None:
    runner = await sandbox.account("runner")
    message = _message(workload, runner.email, sandbox.settings.image)
    request = getattr(run_v2, f"Create{workload.kind.value}Request")(
        parent=workload.resource.rpartition("/")[0].rpartition("/")[0],
        **{_field(workload.kind): message, f"{_field(workload.kind)}_id": workload.name},
    )

    async def created() -> bool:
        call = _client(sandbox.clients, workload.kind).call(
            workload.project_id, _METHODS[workload.kind].create, request, region=workload.location
        )
        try:
            await sandbox.write(call)
        except GoogleError as error:
            return error.fault is Fault.ALREADY_EXISTS or _reraised(error)
        return True

    # Cloud Run refuses a new account for a minute and longer:
    # https://github.com/firebase/firebase-tools/issues/10859
    await sandbox.until(created, LAGGING)


def _reraised(error: GoogleError) -> bool:
    raise error


def _message(workload: Workload, email: str, image: str) -> Any:
    """Return a workload with values in many fields, so that a lost one is noticed."""
    container = run_v2.Container(
        image=image or _METHODS[workload.kind].image,
        env=[run_v2.EnvVar(name="GREETING", value="hello"), run_v2.EnvVar(name="EMPTY", value="")],
        resources=run_v2.ResourceRequirements(limits={"cpu": "1000m", "memory": "512Mi"}),
    )
    names = {LABEL: "true"}
    marks = {"labels": names, "annotations": {"example.com/verify": "kept"}}
    volume = run_v2.Volume(
        name="scratch", empty_dir=run_v2.EmptyDirVolumeSource(medium="MEMORY", size_limit="64Mi")
    )
    container.volume_mounts.append(run_v2.VolumeMount(name="scratch", mount_path="/scratch"))
    match workload.kind:
        case WorkloadKind.SERVICE:
            return run_v2.Service(
                **marks,
                description="kept",
                ingress=run_v2.IngressTraffic.INGRESS_TRAFFIC_INTERNAL_ONLY,
                template=run_v2.RevisionTemplate(
                    **marks,
                    revision=f"{workload.name}-first",
                    service_account=email,
                    scaling=run_v2.RevisionScaling(max_instance_count=1),
                    timeout=duration_pb2.Duration(seconds=77),
                    max_instance_request_concurrency=7,
                    containers=[container],
                    volumes=[volume],
                ),
            )
        case WorkloadKind.JOB:
            return run_v2.Job(
                **marks,
                template=run_v2.ExecutionTemplate(
                    **marks,
                    parallelism=2,
                    task_count=3,
                    template=run_v2.TaskTemplate(
                        service_account=email,
                        max_retries=1,
                        timeout=duration_pb2.Duration(seconds=77),
                        containers=[container],
                        volumes=[volume],
                    ),
                ),
            )
        case WorkloadKind.WORKER_POOL:
            return run_v2.WorkerPool(
                **marks,
                description="kept",
                scaling=run_v2.WorkerPoolScaling(manual_instance_count=0),
                template=run_v2.WorkerPoolRevisionTemplate(
                    **marks,
                    revision=f"{workload.name}-first",
                    service_account=email,
                    containers=[container],
                    volumes=[volume],
                ),
            )


def _comparable(state: WorkloadState) -> Mapping[str, Any]:
    message = type(state.message)()
    message.CopyFrom(state.message)
    for field in _VOLATILE:
        message.ClearField(field) if field in message.DESCRIPTOR.fields_by_name else None
    workload_template(state.workload.kind, message).service_account = ""
    if state.workload.kind is not WorkloadKind.JOB:
        message.template.revision = ""
    plain: Mapping[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return plain


def _differing(before: Any, after: Any, path: str = "") -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in {**before, **after}:
            yield from _differing(before.get(key), after.get(key), f"{path}.{key}".lstrip("."))
    elif before != after:
        yield path


def _client(clients: GoogleClients, kind: WorkloadKind) -> ServiceClient:
    return ServiceClient(clients, Api.RUN, run_v2, _METHODS[kind].service)


def _field(kind: WorkloadKind) -> str:
    return {"Service": "service", "Job": "job", "WorkerPool": "worker_pool"}[kind.value]


def _short(kind: WorkloadKind) -> str:
    return {"Service": "service", "Job": "job", "WorkerPool": "pool"}[kind.value]
