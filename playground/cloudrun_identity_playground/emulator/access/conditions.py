"""IAM conditions: expressions in the Common Expression Language about a call.

https://cloud.google.com/iam/docs/conditions-attribute-reference lists the attributes. Supported are
`resource` (`name`, `type`, `service`), `request.time`, and the roles of a policy write (`api.getAttribute`).
Conditions on tags, IP addresses and other attributes that only Google knows are accepted, and never met.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cel_expr_python.cel import Expression, FunctionDecl, NewEnv, Overload, Type
from cel_expr_python.ext.ext_strings import ExtStrings
from google.protobuf.timestamp_pb2 import Timestamp

from cloudrun_identity_playground.cel_functions import method

MODIFIED_ROLES = "iam.googleapis.com/modifiedGrantsByRole"


@dataclass(frozen=True)
class RequestAttributes:
    """The attributes of a call that conditions can use."""

    resource_name: str
    resource_type: str
    time: float
    modified_roles: frozenset[str] = frozenset()


def is_met(expression: str, attributes: RequestAttributes) -> bool:
    """Return whether the condition is met. As with Google, one that cannot be evaluated is not."""
    try:
        compiled = _compiled(expression)
    except RuntimeError:
        return False
    result = compiled.eval(data=_values(attributes))
    return result.type() == Type.BOOL and bool(result.value())


@lru_cache(maxsize=1000)
def problem_of(expression: str) -> str:
    """Return why Google refuses the expression in a policy; empty if it does not.

    https://cloud.google.com/iam/docs/conditions-overview: an expression uses the attributes of
    https://cloud.google.com/iam/docs/conditions-attribute-reference, and its result is true or false.
    """
    try:
        compiled = _compiled(expression)
    except RuntimeError as error:
        problem = str(error).splitlines()[0].partition("<input>:")[2]
        return f"the expression cannot be parsed: {problem}" if "Syntax error" in problem else problem
    result = compiled.eval(data=_values(_SAMPLE))
    # What cannot be evaluated here needs an attribute that only Google knows.
    return "" if result.type() in (Type.BOOL, Type.ERROR) else "the result is not a boolean"


_SAMPLE = RequestAttributes("projects/p", "cloudresourcemanager.googleapis.com/Project", 0.0)


def _values(attributes: RequestAttributes) -> dict[str, Any]:
    time = Timestamp()
    time.FromNanoseconds(int(attributes.time * 1e9))
    return {
        "resource": {
            "name": attributes.resource_name,
            "type": attributes.resource_type,
            "service": attributes.resource_type.partition("/")[0],
        },
        "request": {"time": time},
        "api": {MODIFIED_ROLES: sorted(attributes.modified_roles)},
    }


@lru_cache(maxsize=1000)
def _compiled(expression: str) -> Expression:
    """Compile the expression.

    Raises:
        RuntimeError: It is not valid.

    """
    return _ENVIRONMENT.compile(expression)


def _extract(text: str, template: str) -> str:
    """Return the part of the text in the place of the braces of the template.

    https://cloud.google.com/iam/docs/conditions-attribute-reference#extract
    """
    before, _, rest = template.partition("{")
    after = rest.partition("}")[2]
    start = text.find(before)
    if start < 0:
        return ""
    start += len(before)
    end = text.find(after, start) if after else len(text)
    return text[start:end] if end >= 0 else ""


def _attribute(attributes: Mapping[str, Any], name: str, default: Any) -> Any:
    return attributes.get(name, default)


def _has_only(found: Sequence[Any], allowed: Sequence[Any]) -> bool:
    return set(found) <= set(allowed)


def _known_to_google(*_: Any) -> Any:
    raise LookupError("only Google knows the value")


_MAP, _LIST, _TEXT = Type.MAP, Type.LIST, Type.STRING
_ATTRIBUTES = ("api", "destination", "iam", "origin", "principal", "request", "resource")

_ENVIRONMENT = NewEnv(
    variables=dict.fromkeys(_ATTRIBUTES, Type.Map(_TEXT, Type.DYN)),
    extensions=[ExtStrings()],
    functions=[
        method("getAttribute", _attribute, Type.DYN, [_MAP, _TEXT, _LIST], [_MAP, _TEXT, _TEXT]),
        method("hasOnly", _has_only, Type.BOOL, [_LIST, _LIST]),
        method("extract", _extract, _TEXT, [_TEXT, _TEXT]),
        method("matchTag", _known_to_google, Type.BOOL, [_MAP, _TEXT, _TEXT]),
        method("matchTagId", _known_to_google, Type.BOOL, [_MAP, _TEXT, _TEXT]),
        method("hasTagKey", _known_to_google, Type.BOOL, [_MAP, _TEXT]),
        method("hasTagKeyId", _known_to_google, Type.BOOL, [_MAP, _TEXT]),
        FunctionDecl("inIpRange", [Overload("inIpRange", Type.BOOL, [Type.DYN] * 2, impl=_known_to_google)]),
    ],
)
