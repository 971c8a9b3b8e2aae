"""Durations of the API, in the notation of Go: `90s`, `1h30m`."""

import re
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from .schema import Rule, cel_string

# The number of digits is bounded so that the sum fits the int64 of nanoseconds of CEL's duration().
PATTERN: Final = (
    r"^([0-9]{1,5}(\.[0-9]{1,3})?h)?([0-9]{1,7}(\.[0-9]{1,3})?m)?"
    r"([0-9]{1,9}(\.[0-9]{1,3})?s)?([0-9]{1,9}ms)?$"
)
MAX_LENGTH: Final = 48
_TERM: Final = re.compile(r"([0-9.]+)(ms|h|m|s)")
_UNITS: Final = {
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}


@lru_cache(maxsize=256)
def parse_duration(text: str) -> timedelta:
    """Parse a duration such as `90s`, `1h30m`, `1.5h` or `250ms`.

    Raises ValueError if the text is not a duration. Thousands of objects have the same few.
    """
    if not text or not re.fullmatch(PATTERN, text):
        raise ValueError(f'"{text}" is not a duration such as 90s, 5m or 1h30m')
    return sum((float(number) * _UNITS[unit] for number, unit in _TERM.findall(text)), timedelta())


def go_duration(length: timedelta) -> str:
    """Return a length in the notation of Go, in whole seconds: `8h`, `1h30m`."""
    minutes, seconds = divmod(max(0, int(length.total_seconds())), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "m"), (seconds, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"


class Duration(str):
    """A duration that keeps its text: `5m` stays `5m`."""

    __slots__ = ()

    @property
    def timedelta(self) -> timedelta:
        """The duration as a timedelta."""
        return parse_duration(self)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(_checked, core_schema.str_schema())

    @classmethod
    def __get_pydantic_json_schema__(
        cls, inner: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        rule = Rule(
            f"self != '' && self.matches({cel_string(PATTERN)})",
            "must be a duration such as 90s, 5m or 1h30m",
        )
        return handler(inner) | {
            "maxLength": MAX_LENGTH,
            "x-kubernetes-validations": [rule.to_dict()],
        }


@lru_cache(maxsize=256)
def _checked(text: str) -> Duration:
    """Return a duration that is valid."""
    parse_duration(text)
    return Duration(text)


def at_least(shortest: str) -> Rule:
    """Return a rule that requires `shortest` or longer. Another rule refuses text that is not a duration."""
    return Rule(
        f"self == '' || !self.matches({cel_string(PATTERN)}) || duration(self) >= duration('{shortest}')",
        f"must be {shortest} or longer",
    )


def at_most(longest: str) -> Rule:
    """Return a rule that requires `longest` or shorter. Another rule refuses text that is not a duration."""
    return Rule(
        f"self == '' || !self.matches({cel_string(PATTERN)}) || duration(self) <= duration('{longest}')",
        f"must be {longest} or shorter",
    )
