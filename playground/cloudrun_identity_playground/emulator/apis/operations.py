"""Long-running operations, which are done after a delay."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.longrunning import operations_pb2
from google.protobuf import any_pb2, empty_pb2

from cloudrun_identity_playground.emulator.errors import GoogleError, not_found
from cloudrun_identity_playground.emulator.switches import Switches

from .rpc import serves


@dataclass(frozen=True)
class _Started:
    metadata: Any
    outcome: Callable[[], Any]
    done_at: float


class Operations:
    """`google.longrunning.Operations` for Cloud Run.

    A switch sets the duration. With none, an operation is done in its first response.
    """

    def __init__(self, clock: Callable[[], float], switches: Switches) -> None:
        self._switches = switches
        self._clock = clock
        self._started: dict[str, _Started] = {}

    def start(
        self, location: str, metadata: Any, outcome: Callable[[], Any], done_at: float | None = None
    ) -> operations_pb2.Operation:
        """Start an operation in `location` (`projects/P/locations/L`).

        `metadata` is the resource during the operation; `outcome` returns it when the operation is done: at
        `done_at` in seconds since the epoch, or after the duration of operations.
        """
        name = f"{location}/operations/{uuid.uuid4()}"
        self._started[name] = _Started(
            _packed(metadata), outcome, self.done_at() if done_at is None else done_at
        )
        return self._show(name)

    def find(self, name: str) -> operations_pb2.Operation | None:
        """Return an operation; None if it was deleted."""
        return self._show(name) if name in self._started else None

    def done_at(self) -> float:
        """Return when an operation that starts now is done."""
        return self._clock() + self._switches.operation_seconds

    @serves("google.longrunning.Operations/GetOperation")
    def get(self, request: operations_pb2.GetOperationRequest) -> operations_pb2.Operation:
        """Return an operation."""
        return self._show(request.name)

    @serves("google.longrunning.Operations/WaitOperation")
    def wait(self, request: operations_pb2.WaitOperationRequest) -> operations_pb2.Operation:
        """Return an operation without waiting, which the API allows."""
        return self._show(request.name)

    @serves("google.longrunning.Operations/DeleteOperation")
    def delete(self, request: operations_pb2.DeleteOperationRequest) -> empty_pb2.Empty:
        """Delete an operation."""
        self._show(request.name)
        del self._started[request.name]
        return empty_pb2.Empty()

    def _show(self, name: str) -> operations_pb2.Operation:
        started = self._started.get(name)
        if started is None:
            raise not_found(f"Operation '{name}' does not exist.")
        if self._clock() < started.done_at:
            return operations_pb2.Operation(name=name, metadata=started.metadata)
        try:
            outcome = _packed(started.outcome())
        except GoogleError as error:
            return operations_pb2.Operation(
                name=name, done=True, metadata=started.metadata, error=error.status()
            )
        return operations_pb2.Operation(name=name, done=True, metadata=outcome, response=outcome)


def _packed(message: Any) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed
