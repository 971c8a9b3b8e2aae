"""Conditions of bindings: expressions in the Common Expression Language about the call at hand.

https://cloud.google.com/iam/docs/conditions-attribute-reference has the attributes. Served are `resource`
(`name`, `type`, `service`), `request.time`, and of `api.getAttribute` the roles that a policy write touches.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import celpy
from celpy import celtypes
from celpy.adapter import json_to_cel
from celpy.celparser import CELParseError
from celpy.evaluation import CELEvalError
from lark.exceptions import LarkError

MODIFIED_ROLES = "iam.googleapis.com/modifiedGrantsByRole"


@dataclass(frozen=True)
class Circumstances:
    """What a condition may ask about: the resource, the time (seconds since the epoch), the roles changed."""

    resource_name: str
    resource_type: str
    time: float
    modified_roles: frozenset[str] = frozenset()


def is_met(expression: str, circumstances: Circumstances) -> bool:
    """Whether the condition is met; one that cannot be evaluated is not, as with Google."""
    program = _compiled(expression)
    if program is None:
        return False
    try:
        return bool(program.evaluate(_activation(circumstances)))
    except CELEvalError:
        return False


def _activation(circumstances: Circumstances) -> dict[str, Any]:
    time = celtypes.TimestampType(datetime.fromtimestamp(circumstances.time, UTC))
    return {
        "resource": json_to_cel(
            {
                "name": circumstances.resource_name,
                "type": circumstances.resource_type,
                "service": circumstances.resource_type.partition("/")[0],
            }
        ),
        "request": celtypes.MapType({celtypes.StringType("time"): time}),
        "api": json_to_cel({MODIFIED_ROLES: sorted(circumstances.modified_roles)}),
    }


@lru_cache(maxsize=1000)
def _compiled(expression: str) -> celpy.Runner | None:
    environment = celpy.Environment()
    try:
        return environment.program(environment.compile(expression), functions=_FUNCTIONS)
    except (CELParseError, LarkError):
        return None


def _get_attribute(api: Any, name: Any, default: Any) -> Any:
    return api.get(name, default)


def _has_only(found: Collection[Any], allowed: Collection[Any]) -> celtypes.BoolType:
    return celtypes.BoolType(set(found) <= set(allowed))


_FUNCTIONS: dict[str, Callable[..., Any]] = {"getAttribute": _get_attribute, "hasOnly": _has_only}
