"""Operations and executions in replies of the Cloud Run API."""

from typing import Any

import pytest
from google.cloud.run_v2 import types
from google.longrunning import operations_pb2
from google.protobuf import any_pb2
from google.rpc import status_pb2

from cloudrun_identity.api import WorkloadKind
from cloudrun_identity.gcp.run import Execution, Operation, Run
from cloudrun_identity.gcp.workloads import Workload, state_of

NAME = "projects/shop-1234/locations/europe-west1/operations/1"
WORKLOAD = Workload(WorkloadKind.SERVICE, "shop-1234", "europe-west1", "checkout")


class Clients:
    """Clients that answer calls with the given messages in order."""

    def __init__(self, *answers: object) -> None:
        self._answers = iter(answers)

    def for_project(self, _: str) -> "Clients":
        return self

    def client(self, *_: object) -> Any:
        return type("Client", (), {"get_operation": None, "list_executions": None})

    async def call(self, *_: object, **__: object) -> object:
        return next(self._answers)


def packed(service: types.Service) -> any_pb2.Any:
    message = any_pb2.Any()
    message.Pack(types.Service.pb(service))
    return message


@pytest.mark.parametrize(
    ("message", "operation"),
    [
        (operations_pb2.Operation(name=NAME), Operation(NAME, done=False)),
        (operations_pb2.Operation(name=NAME, done=True), Operation(NAME, done=True)),
        (
            operations_pb2.Operation(
                name=NAME, done=True, error=status_pb2.Status(code=9, message="image\nnot found")
            ),
            Operation(NAME, done=True, error="image not found"),
        ),
    ],
)
async def test_operation_shows_its_result(message: operations_pb2.Operation, operation: Operation) -> None:
    assert await Run(Clients(message)).operation(NAME, WORKLOAD) == operation


async def test_operation_contains_the_changing_and_the_settled_workload() -> None:
    pending = types.Service(name=WORKLOAD.resource, generation=2)
    settled = types.Service(name=WORKLOAD.resource, generation=2, observed_generation=2)
    running = operations_pb2.Operation(name=NAME, metadata=packed(pending))
    ended = operations_pb2.Operation(name=NAME, done=True, metadata=packed(pending), response=packed(settled))
    run = Run(Clients(running, ended))

    assert (await run.operation(NAME, WORKLOAD)).state == state_of(WORKLOAD, pending)
    assert (await run.operation(NAME, WORKLOAD)).state == state_of(WORKLOAD, settled)


async def test_operation_on_another_workload_has_no_state() -> None:
    other = types.Service(name="projects/shop-1234/locations/europe-west1/services/vault", generation=2)
    message = operations_pb2.Operation(name=NAME, done=True, response=packed(other))
    assert (await Run(Clients(message)).operation(NAME, WORKLOAD)).state is None


async def test_running_executions_are_listed_from_all_pages() -> None:
    def execution(job: str, number: int, **fields: object) -> types.Execution:
        name = f"projects/shop-1234/locations/europe-west1/jobs/{job}/executions/{job}-{number}"
        return types.Execution(name=name, template=types.TaskTemplate(service_account=f"{job}@x"), **fields)

    ended = execution("nightly", 1, completion_time={"seconds": 1})
    pages = (
        types.ListExecutionsResponse(executions=[ended, execution("nightly", 2)], next_page_token="2"),
        types.ListExecutionsResponse(executions=[execution("hourly", 1)]),
    )
    run = Run(Clients(*pages))

    assert await run.running_executions("shop-1234", "europe-west1") == tuple(
        Execution(Workload(WorkloadKind.JOB, "shop-1234", "europe-west1", job), name, f"{job}@x")
        for job, name in (("nightly", "nightly-2"), ("hourly", "hourly-1"))
    )
