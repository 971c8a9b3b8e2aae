"""IAM conditions: expressions in the Common Expression Language about a call.

https://cloud.google.com/iam/docs/conditions-attribute-reference lists the attributes. Supported are
`resource` (`name`, `type`, `service`), `request.time`, and the roles of a policy write (`api.getAttribute`).
"""

from __future__ import annotations

import re
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
class RequestAttributes:
    """The attributes of a call that conditions can use."""

    resource_name: str
    resource_type: str
    time: float
    modified_roles: frozenset[str] = frozenset()


_ATTRIBUTES = frozenset({"api", "destination", "iam", "origin", "principal", "request", "resource"})
_MACRO = re.compile(r"\.(?:all|exists|exists_one|filter|map)\(")  # they declare names
_SAMPLE = RequestAttributes("projects/p", "cloudresourcemanager.googleapis.com/Project", 0.0)


def is_met(expression: str, attributes: RequestAttributes) -> bool:
    """Return whether the condition is met. As with Google, one that cannot be evaluated is not."""
    program = _compiled(expression)
    if program is None:
        return False
    try:
        return bool(program.evaluate(_activation(attributes)))
    except CELEvalError:
        return False


@lru_cache(maxsize=1000)
def problem_of(expression: str) -> str:
    """Return why Google refuses the expression in a policy; empty if it does not.

    https://cloud.google.com/iam/docs/conditions-overview: an expression uses the attributes of
    https://cloud.google.com/iam/docs/conditions-attribute-reference, and its result is true or false.
    """
    try:
        tree = celpy.Environment().compile(expression)
    except (CELParseError, LarkError) as error:
        return f"the expression cannot be parsed: {' '.join(str(error).split())[:120]}"
    names = {str(each.children[0]) for each in tree.find_data("ident")}
    if (unknown := names - _ATTRIBUTES) and not _MACRO.search(expression):
        return f"undeclared reference to '{min(unknown)}'"
    try:
        result = celpy.Environment().program(tree, functions=_FUNCTIONS).evaluate(_activation(_SAMPLE))
    except (CELEvalError, LookupError, TypeError, ValueError):
        return ""  # an attribute that only Google knows
    return "" if isinstance(result, bool | celtypes.BoolType) else "the result is not a boolean"


def _activation(attributes: RequestAttributes) -> dict[str, Any]:
    time = celtypes.TimestampType(datetime.fromtimestamp(attributes.time, UTC))
    return {
        "resource": json_to_cel(
            {
                "name": attributes.resource_name,
                "type": attributes.resource_type,
                "service": attributes.resource_type.partition("/")[0],
            }
        ),
        "request": celtypes.MapType({celtypes.StringType("time"): time}),
        "api": json_to_cel({MODIFIED_ROLES: sorted(attributes.modified_roles)}),
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
