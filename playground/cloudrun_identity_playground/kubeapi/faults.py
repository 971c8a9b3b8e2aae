"""Faults on demand: refusals, delays, and watches that break. For tests of what must live with them.

They are asked for at `/control/faults`, with the token of the kubeconfig. Nothing here is of Kubernetes.
"""

import asyncio
from fnmatch import fnmatchcase
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .errors import ApiError, bad_request

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
    """What is to happen to the next requests of one sort."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    resource: str = "*"
    """Plural, or plural and subresource such as `widgets/status`; `*` stands for any letters."""
    verb: Literal["*", "get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"] = (
        "*"
    )
    code: Literal[403, 409, 410, 429, 500, 503, 504] | None = None
    retry_after: int | None = Field(default=None, alias="retryAfter", ge=0)
    """Seconds that the client is asked to wait."""
    delay: float = Field(default=0.0, ge=0, le=600)
    """Seconds before the request is looked at."""
    times: int = Field(default=1, ge=1)
    watches: Literal["cut", "expire"] | None = None
    """What happens at once to the watches that are open; nothing else then."""

    @model_validator(mode="after")
    def _does_one_thing(self) -> Self:
        if self.watches is not None and self.model_fields_set - {"watches", "resource"}:
            raise ValueError("watches are cut or expired at once: say resource and nothing else")
        if self.watches is None and self.code is None and not self.delay:
            raise ValueError("say code, delay or watches")
        return self

    def concerns(self, resource: str, verb: str) -> bool:
        """Tell whether such a request is meant."""
        return self.verb in ("*", verb) and fnmatchcase(resource, self.resource)


class Faults:
    """The faults to come, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._pending: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Have it strike the next requests that it concerns."""
        self._pending.append(fault.model_copy())

    def clear(self) -> None:
        """Call all of them off."""
        self._pending.clear()

    def pending(self) -> list[dict[str, Any]]:
        """Show what is still to strike."""
        return [fault.model_dump(by_alias=True, exclude_defaults=True) for fault in self._pending]

    async def strike(self, resource: str, verb: str) -> None:
        """Delay a request, or refuse it, if one of the faults concerns it.

        Raises:
            ApiError: with the code asked for.

        """
        fault = next((each for each in self._pending if each.concerns(resource, verb)), None)
        if fault is None:
            return
        fault.times -= 1
        if not fault.times:
            self._pending.remove(fault)
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if fault.code is not None:
            details = {} if fault.retry_after is None else {"retryAfterSeconds": fault.retry_after}
            message = f"a fault that was asked for: {verb} {resource}"
            raise ApiError(fault.code, _REASONS[fault.code], message, details)


def read(body: Any) -> Fault:
    """Read the request for a fault.

    Raises:
        ApiError: 400, with what is wrong with it.

    """
    try:
        return Fault.model_validate(body)
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(map(str, problem["loc"])) or "the fault"
        raise bad_request(f"{field}: {problem['msg']}") from error
