from typing import Any

import pytest
from google.longrunning import operations_pb2
from google.rpc import status_pb2

from cloudrun_identity.gcp.run import Operation, Run

NAME = "projects/shop-1234/locations/europe-west1/operations/1"


class Clients:
    """Answers every call with one message."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def client(self, *_: object) -> Any:
        return type("Client", (), {"get_operation": None})

    async def call(self, *_: object, **__: object) -> object:
        return self.answer


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
async def test_an_operation_tells_whether_and_how_it_ended(
    message: operations_pb2.Operation, operation: Operation
) -> None:
    assert await Run(Clients(message)).operation(NAME, "europe-west1") == operation  # type: ignore[arg-type]
