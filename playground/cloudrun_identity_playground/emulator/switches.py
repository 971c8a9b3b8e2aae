"""Switches of the emulator: latency, lag, quotas and more. They can change at any time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from cloudrun_identity.api.duration import parse_duration

from .access import principals
from .calls import APIS
from .latency import Latency


def camel_case(name: str) -> str:
    """Convert `project_id` to `projectID`, the spelling in the seed and the control API."""
    first, *rest = name.split("_")
    return first + "".join("ID" if word == "id" else word.capitalize() for word in rest)


class StrictModel(BaseModel):
    """User input in camel case; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=camel_case, populate_by_name=True)


def _duration(text: Any) -> Any:
    return parse_duration(text) if isinstance(text, str) else text


def _known_api(host: str) -> str:
    if host not in APIS.values():
        raise ValueError(f"must be one of {', '.join(sorted(set(APIS.values())))}")
    return host


Api = Annotated[str, AfterValidator(_known_api)]
"""Host of an API with a quota."""

Time = Annotated[
    timedelta,
    Field(ge=timedelta()),
    BeforeValidator(_duration),
    PlainSerializer(lambda time: f"{time.total_seconds():g}s", when_used="json"),
]
"""A duration, such as `90s`, `5m` or `1h30m`."""


PrincipalName = Annotated[str, AfterValidator(principals.require_principal)]
"""A principal that can call, as in a policy."""

CallerName = Annotated[str, AfterValidator(principals.require_caller)]
"""Caller without a token: a principal, `admin` (allowed everything) or `nobody`."""


Probability = Annotated[float, Field(ge=0, le=1)]
"""Part of all cases, 0 to 1."""


class FlappingReads(StrEnum):
    """Answers of every second read of a new account during the lag."""

    NOT_FOUND = "notFound"
    FORBIDDEN = "forbidden"
    NONE = "none"


class RequestsPerMinute(StrictModel):
    """Quota of an API per minute; None is no limit."""

    reads: int | None = Field(default=None, ge=0)
    writes: int | None = Field(default=None, ge=0)


class Switches(StrictModel):
    """All switches. The emulator reads them at each call, so a change applies to the next call."""

    model_config = ConfigDict(frozen=False, validate_assignment=True)

    lag: Time = timedelta()
    """Time during which a new account is not visible everywhere."""
    flapping_reads: FlappingReads = FlappingReads.NOT_FOUND
    """The answer of every second read during the lag."""
    stale_reads: Time = timedelta()
    """Time after a write of a policy during which every second read shows the policy before the write."""
    latency: Latency = Latency.NONE
    """Source of the duration of calls."""
    operation_time: Time | None = None
    """Duration of a Cloud Run operation; None is that of `latency`."""
    execution_time: Time = timedelta()
    """Duration of a job execution."""
    tombstone_conflict: bool = False
    """See `apis.policies.Policies`."""
    stale_ids: bool = False
    """See `apis.policies.Policies`."""
    requests_per_minute: dict[Api, RequestsPerMinute] = Field(default_factory=dict)
    """Quotas by the host of the API."""
    activity_delay: Time = timedelta(hours=24)
    """Time until Policy Analyzer shows a use of an account or key."""
    metric_delay: Time = timedelta(minutes=5)
    """Time until Monitoring shows a use of an account or key."""
    last_use_ahead: Time = timedelta()
    """Time by which the clock of these two APIs is ahead, for clients with such a clock."""
    without_token: CallerName = principals.ADMIN
    """The caller of requests without a token."""
    sink_delay: Time = timedelta()
    """Time between a log entry and its export by a sink."""
    sink_reordering: Time = timedelta()
    """Longest further delay of an entry, at random, so that entries change their order."""
    sink_duplication: Probability = 0.0
    """Part of the entries that a sink exports twice."""
    sink_loss: Probability = 0.0
    """Part of the entries that a sink does not export."""
    sink_stopped: bool = False
    """True holds all entries back until it is false again."""

    @property
    def operation_seconds(self) -> float:
        """Duration of a Cloud Run operation."""
        if self.operation_time is not None:
            return self.operation_time.total_seconds()
        return self.latency.operation_seconds

    def changed(self, changes: Mapping[str, Any]) -> Switches:
        """Return a copy with changes, by names in camel case.

        Raises pydantic.ValidationError: a switch does not exist or does not accept the value.
        """
        return Switches.model_validate({**self.model_dump(by_alias=True), **changes})

    def update(self, changes: Mapping[str, Any]) -> None:
        """Change switches: all of them, or none if one is invalid.

        Raises pydantic.ValidationError: as `changed`.
        """
        self.assign(self.changed(changes))

    def assign(self, other: Switches) -> None:
        """Copy the values of `other`."""
        for name in Switches.model_fields:
            setattr(self, name, getattr(other, name))
