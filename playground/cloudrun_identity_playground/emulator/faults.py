"""Fault injection: errors, lost answers and delays of chosen methods."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Self, TypeVar

import grpc
from pydantic import Field, model_validator

from .errors import GoogleError, error_info, retry_info
from .switches import StrictModel

_Answer = TypeVar("_Answer")
_CODE = f"^({'|'.join(code.name for code in grpc.StatusCode if code is not grpc.StatusCode.OK)})?$"


class ErrorInfo(StrictModel):
    """The `google.rpc.ErrorInfo` of a fault."""

    reason: str
    domain: str = "googleapis.com"
    metadata: dict[str, str] = Field(default_factory=dict)


class Fault(StrictModel):
    """An error of the next `times` calls of a method, a delay in seconds, or both; see `Faults`."""

    method: str
    """Method, or a pattern of methods with `*`."""
    code: str = Field(default="", pattern=_CODE)
    """Name of the gRPC status; empty for a delay alone."""
    delay: float = Field(default=0.0, ge=0)
    """Seconds by which the call takes longer."""
    times: int = Field(default=1, ge=1)
    """Number of calls."""
    message: str = "injected fault"
    """Message of the error."""
    error_info: ErrorInfo | None = None
    """ErrorInfo of the error."""
    retry_after: float | None = Field(default=None, gt=0)
    """Seconds of the RetryInfo of the error; None for none."""
    applied: bool = False
    """True if the call takes effect and only its answer is lost."""

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if not self.code and not self.delay:
            raise ValueError("set code or delay")
        return self


@dataclass
class _Due:
    pattern: str
    remaining: int
    error: GoogleError | None = None
    seconds: float = 0.0
    applied: bool = False


class Faults:
    """Faults to inject. A method is named `google.cloud.run.v2.Services/GetService`; `*` is a wildcard."""

    def __init__(self) -> None:
        self._faults: list[_Due] = []

    def add(self, fault: Fault) -> None:
        """Add a fault as the seed, the command line or the control API describes it."""
        if fault.delay:
            self.delay(fault.method, fault.delay, fault.times)
        if fault.code:
            info = fault.error_info
            details = [error_info(info.reason, info.domain, **info.metadata)] if info is not None else []
            if fault.retry_after is not None:
                details.append(retry_info(fault.retry_after))
            code = grpc.StatusCode[fault.code]
            self.inject(fault.method, code, fault.times, fault.message, details, applied=fault.applied)

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
        """Make the next `times` calls of `method` fail with `code` and `details` (protobuf messages).

        With `applied`, the call takes effect and only its answer is lost.
        """
        error = GoogleError(code, message, *details)
        self._faults.append(_Due(method, times, error=error, applied=applied))

    def delay(self, method: str, seconds: float, times: int = 1) -> None:
        """Make the next `times` calls of `method` take `seconds` longer."""
        self._faults.append(_Due(method, times, seconds=seconds))

    def clear(self) -> None:
        """Remove all faults."""
        self._faults.clear()

    async def around(self, rpc: str, call: Callable[[], _Answer]) -> _Answer:
        """Make a call with the faults that are due for `rpc`.

        Raises GoogleError: the injected error, or that of the call.
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
