"""The Cloud Run API: reads services, jobs and worker pools, and changes their service account."""

from dataclasses import dataclass
from typing import Any

from google.longrunning import operations_pb2
from google.protobuf import field_mask_pb2

from cloudrun_identity.api import MULTI_REGION, WorkloadKind

from .clients import ProjectClients
from .errors import Fault, GoogleError, one_line
from .libraries import run_v2
from .ratelimit import Api
from .service_client import ServiceClient
from .workloads import Execution, Workload, WorkloadState, short_name, state_of, with_service_account

__all__ = ["Execution", "Operation", "Run", "Workload", "WorkloadState"]


@dataclass(frozen=True, slots=True)
class Operation:
    """A long-running operation that changes a workload."""

    name: str
    """Name of the operation."""

    done: bool
    """True if the operation has ended."""

    error: str | None = None
    """Google's message if the operation failed."""

    state: WorkloadState | None = None
    """The workload in the reply: changed and not settled at first, settled when the operation is done."""


class Run:
    """Methods of the Cloud Run API, called on the host of the region. Every method raises GoogleError.

    Multi-region services are in the location `global`, on the host without a region.
    """

    def __init__(self, clients: ProjectClients) -> None:
        self._workloads = {
            kind: ServiceClient(clients, Api.RUN, run_v2, f"{_PACKAGE}.{names.noun}s")
            for kind, names in _API_NAMES.items()
        }
        # Any client class works: an operation belongs to the region, not to a kind.
        self._operations = ServiceClient(
            clients, Api.RUN, run_v2, "google.longrunning.Operations", client="ServicesAsyncClient"
        )
        self._revisions = ServiceClient(clients, Api.RUN, run_v2, f"{_PACKAGE}.Revisions")
        self._executions = ServiceClient(clients, Api.RUN, run_v2, f"{_PACKAGE}.Executions")

    async def get(self, workload: Workload) -> WorkloadState:
        """Return the state of a workload."""
        return state_of(workload, await self._read(workload))

    async def list(self, project_id: str, location: str, kind: WorkloadKind) -> list[WorkloadState]:
        """Return every workload of the kind in a location of the project.

        `-` is not a location. Jobs and worker pools have no multi-region location.

        Raises:
            GoogleError: UNAVAILABLE if a region did not answer, or another error of the API.

        """
        if location == MULTI_REGION and kind is not WorkloadKind.SERVICE:
            return []
        parent = f"projects/{project_id}/locations/{location}"
        found: list[WorkloadState] = []
        token = ""
        while True:
            fields = {"parent": parent, "page_size": _PAGE_SIZE, "page_token": token}
            page = await self._call(kind, "List", project_id, location, fields)
            if missing := getattr(page, "unreachable", ()):
                method = f"{_PACKAGE}.{_API_NAMES[kind].noun}s/List{_API_NAMES[kind].noun}s"
                raise GoogleError(
                    Fault.UNAVAILABLE, method, f"the list is incomplete without {', '.join(missing)}"
                )
            for message in getattr(page, _API_NAMES[kind].items):
                workload = Workload(kind, project_id, location, short_name(message.name))
                found.append(state_of(workload, message))
            token = page.next_page_token
            if not token:
                return found

    async def set_service_account(self, state: WorkloadState, email: str) -> Operation:
        """Set the service account of the workload and change nothing else.

        The call fails with ABORTED if another client wrote the workload after `state` was read.
        """
        workload = state.workload
        message, paths = with_service_account(state, email)
        names = _API_NAMES[workload.kind]
        fields: dict[str, Any] = {names.item: message}
        # UpdateJob has no mask. The message keeps its unknown fields, and loses the imperative ones.
        if workload.kind is not WorkloadKind.JOB:
            fields["update_mask"] = field_mask_pb2.FieldMask(paths=paths)
        reply = await self._call_on(workload, "Update", fields)
        if reply.operation.done:
            # The library keeps the error in a future. A future whose error is never read is logged as a bug.
            await reply.exception()
        return _operation(reply.operation, workload)

    async def revision_account(self, workload: Workload, revision: str) -> str:
        """Return the e-mail of the account of a revision (short name) of a service or worker pool."""
        request = run_v2.GetRevisionRequest(name=f"{workload.resource}/revisions/{revision}")
        reply = await self._revisions.call(
            workload.project_id, "get_revision", request, region=workload.location
        )
        return str(reply.service_account)

    async def running_executions(self, project_id: str, location: str) -> tuple[Execution, ...]:
        """Return every execution in a location of the project that has not ended, of any job."""
        if location == MULTI_REGION:
            return ()
        request = run_v2.ListExecutionsRequest(
            parent=f"projects/{project_id}/locations/{location}/jobs/-", page_size=_PAGE_SIZE
        )
        found: list[Execution] = []
        while True:
            page = await self._executions.call(project_id, "list_executions", request, region=location)
            found += [
                _execution(project_id, location, execution)
                for execution in page.executions
                if not execution.completion_time
            ]
            if not page.next_page_token:
                return tuple(found)
            request.page_token = page.next_page_token

    async def operation(self, name: str, workload: Workload) -> Operation:
        """Read an operation on the workload once. NOT_FOUND after Google has deleted the operation."""
        request = operations_pb2.GetOperationRequest(name=name)
        reply = await self._operations.call(
            workload.project_id, "get_operation", request, region=workload.location
        )
        return _operation(reply, workload)

    async def _read(self, workload: Workload) -> Any:
        return await self._call_on(workload, "Get", {"name": workload.resource})

    async def _call_on(self, workload: Workload, verb: str, fields: dict[str, Any]) -> Any:
        return await self._call(workload.kind, verb, workload.project_id, workload.location, fields)

    async def _call(
        self, kind: WorkloadKind, verb: str, project_id: str, location: str, fields: dict[str, Any]
    ) -> Any:
        names = _API_NAMES[kind]
        request = f"{verb}{names.noun}s" if verb == "List" else f"{verb}{names.noun}"
        method = f"{verb.lower()}_{names.items if verb == 'List' else names.item}"
        return await self._workloads[kind].call(
            project_id,
            method,
            getattr(run_v2, f"{request}Request")(**fields),
            region=location,
            repeatable=True,  # an update carries an etag, so a second one fails with ABORTED
            has_etag=True,
        )


@dataclass(frozen=True, slots=True)
class _ApiNames:
    """Names of a kind of workload in the API, such as `GetWorkerPool`, `get_worker_pool`, `worker_pools`."""

    noun: str
    item: str

    @property
    def items(self) -> str:
        """Plural field of a list."""
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
    """Return the workload in an operation: in its response, or in its metadata before there is one.

    None if it contains another workload: the operation's name comes from a status, which a user may have
    edited.
    """
    resource = getattr(run_v2, _API_NAMES[workload.kind].noun)
    packed = message.response if message.HasField("response") else message.metadata
    plain = resource.pb()()
    if not packed.Unpack(plain) or plain.name != workload.resource:
        return None
    return state_of(workload, resource.wrap(plain))


def _execution(project_id: str, location: str, message: "run_v2.Execution") -> Execution:
    job = Workload(WorkloadKind.JOB, project_id, location, message.name.split("/")[-3])
    return Execution(job, short_name(message.name), message.template.service_account)


_PACKAGE = "google.cloud.run.v2"
_PAGE_SIZE = 100
_API_NAMES = {
    WorkloadKind.SERVICE: _ApiNames("Service", "service"),
    WorkloadKind.JOB: _ApiNames("Job", "job"),
    WorkloadKind.WORKER_POOL: _ApiNames("WorkerPool", "worker_pool"),
}
