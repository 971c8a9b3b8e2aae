"""Validation of objects without an API server.

It covers the forms of texts and mutually exclusive fields. The other rules of the schema are CEL, which only
the API server evaluates.
"""

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import ValidationError

from .schema import ApiModel, Rule, clip


def complaints(model: ApiModel, path: str = "") -> list[str]:
    """Return one line for each value that violates a rule: `spec.role: "viewer": must be …`."""
    return list(_in_model(model, path))


def misfits(error: ValidationError) -> list[str]:
    """Return one line for each value of a wrong type or out of bounds: `spec.role: Field required`.

    A short value is shown.
    """
    return [
        f"{_path(each['loc'])}: {_shown(each['input'])}{each['msg']}"
        for each in error.errors(include_url=False)
    ]


def _in_model(model: ApiModel, path: str) -> Iterator[str]:
    yield from _broken(type(model).rules, model, path or "object")
    for name, info in type(model).model_fields.items():
        value = getattr(model, name)
        if value is not None:
            field_path = f"{path}.{info.alias}".lstrip(".")
            yield from _broken(info.metadata, value, field_path)
            yield from _in_value(info.annotation, value, field_path)


def _in_value(annotation: Any, value: Any, path: str) -> Iterator[str]:
    """Yield a line for each violation in a value that is declared as `annotation`."""
    if isinstance(value, ApiModel):
        yield from _in_model(value, path)
    elif get_origin(annotation) is Annotated:
        declared, *metadata = get_args(annotation)
        yield from _broken(metadata, value, path)
        yield from _in_value(declared, value, path)
    elif get_origin(annotation) in (Union, UnionType):
        for choice in get_args(annotation):
            if choice is not type(None):
                yield from _in_value(choice, value, path)
    elif isinstance(value, tuple):
        declared = (get_args(annotation) or (Any,))[0]
        for index, item in enumerate(value):
            yield from _in_value(declared, item, f"{path}[{index}]")


def _broken(rules: Any, value: Any, path: str) -> Iterator[str]:
    for rule in rules:
        if isinstance(rule, Rule) and rule.holds is not None and not rule.holds(value):
            shown = f'"{value}": ' if isinstance(value, str) else ""
            yield f"{path}: {shown}{rule.message}"


def _path(location: tuple[int | str, ...]) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return path.lstrip(".")


def _shown(value: Any) -> str:
    return f"{clip(repr(value), _SHOWN)}: " if isinstance(value, str | int | bool) else ""


_SHOWN = 128
"""Maximum number of characters of a value that are shown."""
