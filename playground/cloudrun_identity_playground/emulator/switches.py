"""The switches: how slow, how forgetful and how busy the cloud is, now and until they are turned."""

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
    """`project_id` → `projectID`, as the seed and the control API spell their fields."""
    first, *rest = name.split("_")
    return first + "".join("ID" if word == "id" else word.capitalize() for word in rest)


class StrictModel(BaseModel):
    """What a user writes: in camel case, and refused if it holds a field that there is not."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=camel_case, populate_by_name=True)


def _duration(text: Any) -> Any:
    return parse_duration(text) if isinstance(text, str) else text


def _known_api(host: str) -> str:
    if host not in APIS.values():
        raise ValueError(f"is none of {', '.join(sorted(set(APIS.values())))}")
    return host


Api = Annotated[str, AfterValidator(_known_api)]
"""The host of an API whose requests are counted."""

Time = Annotated[
    timedelta,
    Field(ge=timedelta()),
    BeforeValidator(_duration),
    PlainSerializer(lambda time: f"{time.total_seconds():g}s", when_used="json"),
]
"""A length of time, written `90s`, `5m` or `1h30m`."""


PrincipalName = Annotated[str, AfterValidator(principals.known_principal)]
"""A principal who can call, named as in a policy."""

CallerName = Annotated[str, AfterValidator(principals.known_caller)]
"""Whoever calls without a token: a principal, `admin` (who may do everything) or `nobody`."""


class FlappingReads(StrEnum):
    """What every other read of a fresh account answers while the lag lasts."""

    NOT_FOUND = "notFound"
    FORBIDDEN = "forbidden"
    NONE = "none"


class RequestsPerMinute(StrictModel):
    """How many requests an API takes a minute; None: any number."""

    reads: int | None = Field(default=None, ge=0)
    writes: int | None = Field(default=None, ge=0)


class Switches(StrictModel):
    """All switches. The parts of the emulator read them at each call, so turning one holds from the next.

    `lag` is for how long a fresh account is not known everywhere, `execution_time` how long an execution of a
    job runs, `operation_time` how long an operation of Cloud Run takes (None: as `latency` says).
    `tombstone_conflict` and `stale_ids` are those of `apis.policies.Policies`, `requests_per_minute` goes by
    the host of the API. `without_token` is who calls without a token.
    """

    model_config = ConfigDict(frozen=False, validate_assignment=True)

    lag: Time = timedelta()
    flapping_reads: FlappingReads = FlappingReads.NOT_FOUND
    latency: Latency = Latency.NONE
    operation_time: Time | None = None
    execution_time: Time = timedelta()
    tombstone_conflict: bool = False
    stale_ids: bool = False
    requests_per_minute: dict[Api, RequestsPerMinute] = Field(default_factory=dict)
    without_token: CallerName = principals.ADMIN

    @property
    def operation_seconds(self) -> float:
        """How long an operation of Cloud Run takes."""
        if self.operation_time is not None:
            return self.operation_time.total_seconds()
        return self.latency.operation_seconds

    def turned(self, changes: Mapping[str, Any]) -> Switches:
        """The switches with `changes`, by their names in camel case.

        Raises pydantic.ValidationError: an unknown switch or a value that it does not take.
        """
        return Switches.model_validate({**self.model_dump(by_alias=True), **changes})

    def turn(self, changes: Mapping[str, Any]) -> None:
        """Turn switches, all of them or none.

        Raises pydantic.ValidationError: as `turned`.
        """
        self.assign(self.turned(changes))

    def assign(self, other: Switches) -> None:
        """Take over the position of every switch of `other`."""
        for name in Switches.model_fields:
            setattr(self, name, getattr(other, name))
