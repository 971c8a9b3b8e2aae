"""Fault injection for tests: errors, delays, and watches that end.

`/control/faults` sets faults, with the token of the kubeconfig. It is not part of the Kubernetes API.
"""

import asyncio
from collections.abc import Awaitable, Callable
from fnmatch import fnmatchcase
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .errors import ApiError, bad_request

Response = TypeVar("Response")

PATH = ["control", "faults"]
_REASONS = {
    403: "Forbidden",
    409: "Conflict",
    410: "Expired",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class Fault(BaseModel):
    """A fault of the next requests of one kind."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    resource: str = "*"
    """Plural, or plural and subresource such as `widgets/status`; `*` is a wildcard."""
    verb: Literal["*", "get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"] = (
        "*"
    )
    code: Literal[403, 409, 410, 429, 500, 503, 504] | None = None
    retry_after: int | None = Field(default=None, alias="retryAfter", ge=0)
    """Seconds in the response's header `Retry-After`."""
    applied: bool = False
    """True to process the request first and lose its response: the error reports a write that took effect."""
    delay: float = Field(default=0.0, ge=0, le=600)
    """Seconds before the request is processed."""
    times: int = Field(default=1, ge=1)
    watches: Literal["cut", "expire", "silence"] | None = None
    """End or silence of all open watches, at once; excludes the other fields."""

    @model_validator(mode="after")
    def _does_one_thing(self) -> Self:
        if self.watches is not None and self.model_fields_set - {"watches", "resource"}:
            raise ValueError("watches end at once: set resource and no other field")
        if self.watches is None and self.code is None and not self.delay:
            raise ValueError("set code, delay or watches")
        if self.applied and self.code is None:
            raise ValueError("applied needs a code: the error in place of the response")
        return self

    def concerns(self, resource: str, verb: str) -> bool:
        """Return whether the fault applies to a request."""
        if self.applied and verb == "watch":
            return False
        return self.verb in ("*", verb) and fnmatchcase(resource, self.resource)


class Faults:
    """Pending faults, in the order of their creation."""

    def __init__(self) -> None:
        self._pending: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Add a fault for the next requests that it applies to."""
        self._pending.append(fault.model_copy())

    def clear(self) -> None:
        """Remove all faults."""
        self._pending.clear()

    def pending(self) -> list[dict[str, Any]]:
        """Return the pending faults."""
        return [fault.model_dump(by_alias=True, exclude_defaults=True) for fault in self._pending]

    async def around(self, resource: str, verb: str, answer: Callable[[], Awaitable[Response]]) -> Response:
        """Answer a request. Delay or refuse it, or lose its response, if a fault applies to it.

        Raises:
            ApiError: with the code of the fault, or of the answer.

        """
        fault = next((each for each in self._pending if each.concerns(resource, verb)), None)
        if fault is None:
            return await answer()
        fault.times -= 1
        if not fault.times:
            self._pending.remove(fault)
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if fault.code is None:
            return await answer()
        if fault.applied:
            await answer()
        details = {} if fault.retry_after is None else {"retryAfterSeconds": fault.retry_after}
        message = f"injected fault: {verb} {resource}"
        raise ApiError(fault.code, _REASONS[fault.code], message, details)


def read(body: Any) -> Fault:
    """Parse a request for a fault.

    Raises:
        ApiError: 400, with the reason.

    """
    try:
        return Fault.model_validate(body)
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(map(str, problem["loc"])) or "the fault"
        raise bad_request(f"{field}: {problem['msg']}") from error
