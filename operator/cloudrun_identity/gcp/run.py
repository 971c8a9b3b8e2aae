"""Cloud Run: reading services, jobs and worker pools, and moving them to another service account."""

from dataclasses import dataclass
from typing import Any

from google.cloud.run_v2 import types
from google.cloud.run_v2.services.executions import ExecutionsAsyncClient
from google.cloud.run_v2.services.jobs import JobsAsyncClient
from google.cloud.run_v2.services.revisions import RevisionsAsyncClient
from google.cloud.run_v2.services.services import ServicesAsyncClient
from google.cloud.run_v2.services.worker_pools import WorkerPoolsAsyncClient
from google.longrunning import operations_pb2
from google.protobuf import field_mask_pb2

from cloudrun_identity.api import WorkloadKind

from .clients import ProjectClients
from .errors import one_line
from .ratelimit import Api
from .service import ServiceClient
from .workloads import Execution, Workload, WorkloadState, moved, short_name, state_of

__all__ = ["Execution", "Operation", "Run", "Workload", "WorkloadState"]


@dataclass(frozen=True, slots=True)
class Operation:
    """A change under way; `error` is Google's text once it has failed.

    `state` is the workload as Google's answer shows it: changed and unsettled at first, settled in the end.
    """

    name: str
    done: bool
    error: str | None = None
    state: WorkloadState | None = None


class Run:
    """The Run methods, each called on the host of the workload's region. Every method raises GoogleError."""

    def __init__(self, clients: ProjectClients) -> None:
        self._workloads = {
            kind: ServiceClient(clients, Api.RUN, surface.client, f"{_PACKAGE}.{surface.noun}s")
            for kind, surface in _SURFACES.items()
        }
        # Whichever client it is: each knows the operations of its whole region.
        self._operations = ServiceClient(
            clients, Api.RUN, ServicesAsyncClient, "google.longrunning.Operations"
        )
        self._revisions = ServiceClient(clients, Api.RUN, RevisionsAsyncClient, f"{_PACKAGE}.Revisions")
        self._executions = ServiceClient(clients, Api.RUN, ExecutionsAsyncClient, f"{_PACKAGE}.Executions")

    async def get(self, workload: Workload) -> WorkloadState:
        """The workload as it is now."""
        return state_of(workload, await self._read(workload))

    async def list(self, project_id: str, location: str, kind: WorkloadKind) -> list[WorkloadState]:
        """Every workload of the kind in a project's location, which must be a concrete one."""
        parent = f"projects/{project_id}/locations/{location}"
        found: list[WorkloadState] = []
        token = ""
        while True:
            fields = {"parent": parent, "page_size": _PAGE_SIZE, "page_token": token}
            page = await self._call(kind, "List", project_id, location, fields)
            for message in getattr(page, _SURFACES[kind].items):
                workload = Workload(kind, project_id, location, short_name(message.name))
                found.append(state_of(workload, message))
            token = page.next_page_token
            if not token:
                return found

    async def set_service_account(self, state: WorkloadState, email: str) -> Operation:
        """Have the workload of `state` run as `email` and leave everything else as it is.

        The call ends as ABORTED if anybody wrote since `state` was read.
        """
        workload = state.workload
        message, paths = moved(state, email)
        surface = _SURFACES[workload.kind]
        fields: dict[str, Any] = {surface.item: message}
        # Jobs know no mask: what was read goes back whole, with the fields that this client does not know.
        if workload.kind is not WorkloadKind.JOB:
            fields["update_mask"] = field_mask_pb2.FieldMask(paths=paths)
        reply = await self._call_on(workload, "Update", fields)
        return _operation(reply.operation, workload)

    async def revision_account(self, workload: Workload, revision: str) -> str:
        """The e-mail that a revision (its short name) of a service or worker pool runs as."""
        request = types.GetRevisionRequest(name=f"{workload.resource}/revisions/{revision}")
        method = RevisionsAsyncClient.get_revision
        reply = await self._revisions.call(workload.project_id, method, request, region=workload.location)
        return str(reply.service_account)

    async def running_executions(self, project_id: str, location: str) -> tuple[Execution, ...]:
        """Every execution in a project's location that has not ended, of whichever job."""
        method = ExecutionsAsyncClient.list_executions
        request = types.ListExecutionsRequest(
            parent=f"projects/{project_id}/locations/{location}/jobs/-", page_size=_PAGE_SIZE
        )
        found: list[Execution] = []
        while True:
            page = await self._executions.call(project_id, method, request, region=location)
            found += [
                _execution(project_id, location, execution)
                for execution in page.executions
                if not execution.completion_time
            ]
            if not page.next_page_token:
                return tuple(found)
            request.page_token = page.next_page_token

    async def operation(self, name: str, workload: Workload) -> Operation:
        """Look once at an operation on the workload; NOT_FOUND once Google has forgotten it."""
        request = operations_pb2.GetOperationRequest(name=name)
        method = ServicesAsyncClient.get_operation
        reply = await self._operations.call(workload.project_id, method, request, region=workload.location)
        return _operation(reply, workload)

    async def _read(self, workload: Workload) -> Any:
        return await self._call_on(workload, "Get", {"name": workload.resource})

    async def _call_on(self, workload: Workload, verb: str, fields: dict[str, Any]) -> Any:
        return await self._call(workload.kind, verb, workload.project_id, workload.location, fields)

    async def _call(
        self, kind: WorkloadKind, verb: str, project_id: str, location: str, fields: dict[str, Any]
    ) -> Any:
        surface = _SURFACES[kind]
        request = f"{verb}{surface.noun}s" if verb == "List" else f"{verb}{surface.noun}"
        method = f"{verb.lower()}_{surface.items if verb == 'List' else surface.item}"
        return await self._workloads[kind].call(
            project_id,
            getattr(surface.client, method),
            getattr(types, f"{request}Request")(**fields),
            region=location,
            repeatable=True,  # an update carries its etag: a second one is refused as ABORTED
        )


@dataclass(frozen=True, slots=True)
class _Surface:
    """How the API spells one kind of workload: `GetWorkerPool`, `get_worker_pool`, `worker_pools`."""

    client: type[Any]
    noun: str
    item: str

    @property
    def items(self) -> str:
        return f"{self.item}s"


def _operation(message: operations_pb2.Operation, workload: Workload) -> Operation:
    failed = message.HasField("error")
    return Operation(
        message.name,
        message.done,
        one_line(message.error.message) if failed else None,
        _state_in(message, workload),
    )


def _state_in(message: operations_pb2.Operation, workload: Workload) -> WorkloadState | None:
    """The workload that an operation carries: in its response, and in its metadata until there is one.

    None if it carries another one: by a name out of somebody's status we may look at anybody's operation.
    """
    resource = getattr(types, _SURFACES[workload.kind].noun)
    packed = message.response if message.HasField("response") else message.metadata
    plain = resource.pb()()
    if not packed.Unpack(plain) or plain.name != workload.resource:
        return None
    return state_of(workload, resource.wrap(plain))


def _execution(project_id: str, location: str, message: types.Execution) -> Execution:
    job = Workload(WorkloadKind.JOB, project_id, location, message.name.split("/")[-3])
    return Execution(job, short_name(message.name), message.template.service_account)


_PACKAGE = "google.cloud.run.v2"
_PAGE_SIZE = 100
_SURFACES = {
    WorkloadKind.SERVICE: _Surface(ServicesAsyncClient, "Service", "service"),
    WorkloadKind.JOB: _Surface(JobsAsyncClient, "Job", "job"),
    WorkloadKind.WORKER_POOL: _Surface(WorkerPoolsAsyncClient, "WorkerPool", "worker_pool"),
}
