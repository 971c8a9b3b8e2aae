"""Faults on demand: errors, lost answers and delays of chosen methods."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, TypeVar

import grpc

from .errors import GoogleError

_Answer = TypeVar("_Answer")


@dataclass
class _Fault:
    pattern: str
    remaining: int
    error: GoogleError | None = None
    seconds: float = 0.0
    applied: bool = False


class Faults:
    """The faults to come. A method is named `google.cloud.run.v2.Services/GetService`; `*` is a wildcard."""

    def __init__(self) -> None:
        self._faults: list[_Fault] = []

    def inject(
        self,
        method: str,
        code: grpc.StatusCode,
        times: int = 1,
        message: str = "injected fault",
        details: Sequence[Any] = (),
        *,
        applied: bool = False,
    ) -> None:
        """Let the next `times` calls of `method` fail with `code` and `details` (protobuf messages).

        `applied`: the call takes effect all the same, and only its answer is lost.
        """
        error = GoogleError(code, message, *details)
        self._faults.append(_Fault(method, times, error=error, applied=applied))

    def delay(self, method: str, seconds: float, times: int = 1) -> None:
        """Let the next `times` calls of `method` take `seconds` longer."""
        self._faults.append(_Fault(method, times, seconds=seconds))

    def clear(self) -> None:
        """Forget all faults to come."""
        self._faults.clear()

    async def around(self, rpc: str, call: Callable[[], _Answer]) -> _Answer:
        """Make `call` under the faults that are due for `rpc`.

        Raises GoogleError: the injected one, or that of the call.
        """
        due = [fault for fault in self._faults if fault.remaining > 0 and fnmatchcase(rpc, fault.pattern)]
        failure = next((fault for fault in due if fault.error is not None), None)
        delays = [fault for fault in due if fault.error is None]
        for fault in [*delays, *([failure] if failure else [])]:
            fault.remaining -= 1
        self._faults = [fault for fault in self._faults if fault.remaining > 0]
        if delays:
            await asyncio.sleep(sum(fault.seconds for fault in delays))
        if failure is None or failure.error is None:
            return call()
        if failure.applied:
            call()
        raise failure.error
