"""CEL rules of the CRDs (`x-kubernetes-validations`), evaluated without an API server.

cel-expr-python is an optional dependency, the extra `lint`. The rules use the standard library of CEL, and
`sum` of Kubernetes (https://kubernetes.io/docs/reference/using-api/cel/#kubernetes-list-library).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from cloudrun_identity.api.crd import generate
from cloudrun_identity.kube.resources import Object

from .cel_values import cel_value

if TYPE_CHECKING:
    from cel_expr_python.cel import Env, Expression

Schema = Mapping[str, Any]


class RulesUnavailable(Exception):
    """The rules cannot be evaluated. The message is one line with the remedy."""


def violations(obj: Object) -> list[str]:
    """Return one line for each rule that an object violates: `spec.target.name: must be …`.

    Rules about edits (`oldSelf`) do not apply to a file.

    Raises:
        RulesUnavailable: cel-expr-python is not installed.

    """
    return list(_in_value(obj, _schemas()[obj["kind"]], ""))


@cache
def _schemas() -> Mapping[str, Schema]:
    found = {}
    for definition in generate().values():
        version = definition["spec"]["versions"][0]
        found[definition["spec"]["names"]["kind"]] = version["schema"]["openAPIV3Schema"]
    return found


def _in_value(value: Any, schema: Schema, path: str) -> Iterator[str]:
    value = _with_defaults(value, schema)
    for rule in schema.get("x-kubernetes-validations", ()):
        if not _OLD.search(rule["rule"]) and not _holds(rule["rule"], value):
            yield f"{path}{rule.get('fieldPath', '')}: {rule['message']}".lstrip(".")
    yield from _structural(value, schema, path.lstrip("."))
    if isinstance(value, dict):
        for name, part in value.items():
            declared = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
            if isinstance(declared, dict):
                yield from _in_value(part, declared, f"{path}.{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _in_value(item, schema.get("items", {}), f"{path}[{index}]")


def _structural(value: Any, schema: Schema, path: str) -> Iterator[str]:
    """Yield what the API server refuses although the models accept it: earlier forms, and repeated items."""
    expected = _TYPES.get(schema.get("type", ""))
    if expected and not isinstance(value, expected):
        yield f"{path}: must be of type {schema['type']}"
    elif isinstance(value, list):
        keys = schema.get("x-kubernetes-list-map-keys")
        unique = schema.get("x-kubernetes-list-type") in ("set", "map")
        found = [_identity(item, keys) for item in value] if unique else []
        if repeated := next((item for item in found if found.count(item) > 1), None):
            yield f"{path}: {repeated} is listed twice"


def _identity(item: Any, keys: Sequence[str] | None) -> str:
    """Return the part of an item that no other item of the list may have."""
    return ", ".join(str(item.get(key)) for key in keys) if keys and isinstance(item, dict) else str(item)


def _with_defaults(value: Any, schema: Schema) -> Any:
    """Return a value with the defaults of its missing fields, as the API server sets them first."""
    if not isinstance(value, dict):
        return value
    defaults = {
        name: field["default"]
        for name, field in schema.get("properties", {}).items()
        if "default" in field and value.get(name) is None
    }
    return {**{name: part for name, part in value.items() if part is not None}, **defaults}


def _holds(rule: str, value: Any) -> bool:
    """Return whether a value satisfies a rule. An error of the evaluation is a violation."""
    result = _compiled(rule).eval(data={"self": cel_value(value)})
    return result.value() is True


@cache
def _compiled(rule: str) -> Expression:
    return _environment().compile(rule)


@cache
def _environment() -> Env:
    try:
        from cel_expr_python.cel import FunctionDecl, NewEnv, Overload, Type
    except ImportError:
        raise RulesUnavailable(
            "the CEL rules of the CRDs were not checked: pip install 'cloudrun-identity[lint]'"
        ) from None
    total = Overload("sum", Type.DYN, [Type.LIST], is_member=True, impl=sum)
    return NewEnv(variables={"self": Type.DYN}, functions=[FunctionDecl("sum", [total])])


_TYPES: Mapping[str, type | tuple[type, ...]] = {"object": dict, "array": list, "string": str}

_OLD = re.compile(r"\boldSelf\b")
