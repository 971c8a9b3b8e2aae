"""Validation of objects against a schema, with the API server's messages.

Messages are those of Kubernetes 1.36: the error of a rule on a scalar includes the value, that of a rule on
an object or a list does not.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .errors import Cause, FieldError
from .schema import TYPE_META, Schema
from .string_formats import FORMATS

Object = dict[str, Any]

# Rules are not evaluated after one of these errors, because they rely on types and sizes of the schema.
_BLOCKS_RULES = frozenset({Cause.REQUIRED, Cause.TYPE, Cause.NOT_SUPPORTED, Cause.TOO_LONG, Cause.TOO_MANY})
_RULES_NOT_CHECKED = FieldError(
    "<nil>",
    Cause.INVALID,
    "Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation",
)
_INT_OR_STRING = "integer,string"


def validate(
    obj: Object, schema: Schema, old: Object | None = None, found: Iterable[FieldError] = ()
) -> list[FieldError]:
    """Return all errors of an object, after those `found` in its metadata.

    With `old`, unchanged parts are not validated again, so that a definition can become stricter without
    making its objects unwritable (ratcheting). Transition rules apply to every part.
    """
    before = _ABSENT if old is None else old
    errors = [*found, *_check(_Place("", obj, before, root=True), schema)]
    if not schema.has_rules:
        return errors
    if any(error.cause in _BLOCKS_RULES for error in errors):
        return [*errors, _RULES_NOT_CHECKED]
    return errors + list(_check_rules(_Place("", obj, before, root=True), schema))


def validate_part(value: Any, schema: Schema) -> list[FieldError]:
    """Return the errors of a field's value; rules are evaluated if there are no other errors."""
    place = _Place("", value, _ABSENT)
    return list(_check(place, schema)) or list(_check_rules(place, schema))


class _Absent:
    """Marker of a part that did not exist before."""


_ABSENT = _Absent()


@dataclass(frozen=True)
class _Place:
    path: str
    value: Any
    old: Any
    root: bool = False

    @property
    def unchanged(self) -> bool:
        return not isinstance(self.old, _Absent) and bool(self.old == self.value)

    @property
    def label(self) -> str:
        return self.path or "<nil>"

    def error(self, cause: Cause, message: str) -> FieldError:
        return FieldError(self.label, cause, message)

    def invalid(self, message: str) -> FieldError:
        shown = len(self.value) if isinstance(self.value, list | dict) else self.value
        return self.error(Cause.INVALID, f"Invalid value: {_json(shown)}: {self.path} in body {message}")

    def fields(self, schema: Schema) -> Iterator[tuple["_Place", Schema]]:
        for name in sorted(self.value):
            below = schema.at(name)
            if below is None or (self.root and name in TYPE_META):
                continue
            old = self.old.get(name, _ABSENT) if isinstance(self.old, dict) else _ABSENT
            yield _Place(f"{self.path}.{name}" if self.path else name, self.value[name], old), below

    def items(self, schema: Schema) -> Iterator[tuple["_Place", Schema]]:
        if schema.items is None:
            return
        before: dict[str, Any] = {}
        if schema.list_type == "map" and isinstance(self.old, list):
            before = {_json(schema.key_of(item)): item for item in self.old}
        for index, item in enumerate(self.value):
            old = before.get(_json(schema.key_of(item)), _ABSENT) if before else _ABSENT
            yield _Place(f"{self.path}[{index}]", item, old), schema.items

    def below(self, schema: Schema) -> Iterator[tuple["_Place", Schema]]:
        if isinstance(self.value, dict):
            yield from self.fields(schema)
        elif isinstance(self.value, list):
            yield from self.items(schema)


def _check(place: _Place, schema: Schema) -> Iterator[FieldError]:
    if place.unchanged:
        return
    wrong_type = _type_error(place, schema)
    if wrong_type is not None:
        yield wrong_type
        return
    if place.value is None:
        return
    yield from _enum_error(place, schema)
    match place.value:
        case bool():
            pass
        case str():
            yield from _string_errors(place, schema)
        case int() | float():
            yield from _number_errors(place, schema)
        case list():
            yield from _list_errors(place, schema)
        case dict():
            yield from _object_errors(place, schema)
    for part, below in place.below(schema):
        yield from _check(part, below)
    yield from _combined_errors(place, schema)


def _type_error(place: _Place, schema: Schema) -> FieldError | None:
    if place.value is None and schema.nullable:
        return None
    expected = _INT_OR_STRING if schema.int_or_string else schema.type
    actual = _type_of(place.value)
    if expected is None or actual in expected.split(",") or (actual, expected) == ("integer", "number"):
        return None
    if actual == "number" and expected == "integer" and float(place.value).is_integer():
        return None
    return place.error(
        Cause.TYPE, f'Invalid value: "{actual}": {place.path} in body must be of type {expected}: "{actual}"'
    )


def _enum_error(place: _Place, schema: Schema) -> Iterator[FieldError]:
    allowed = schema.source.get("enum")
    if allowed is not None and place.value not in allowed:
        choices = ", ".join(_json(choice) for choice in allowed)
        yield place.error(
            Cause.NOT_SUPPORTED, f"Unsupported value: {_json(place.value)}: supported values: {choices}"
        )


def _string_errors(place: _Place, schema: Schema) -> Iterator[FieldError]:
    limits, value = schema.source, place.value
    if len(value) > limits.get("maxLength", len(value)):
        yield place.error(Cause.TOO_LONG, f"Too long: may not be more than {limits['maxLength']} bytes")
    if len(value) < limits.get("minLength", 0):
        yield place.invalid(f"should be at least {limits['minLength']} chars long")
    if schema.pattern is not None and not schema.pattern.search(value):
        yield place.invalid(f"should match '{schema.pattern.pattern}'")
    is_valid = FORMATS.get(limits.get("format", ""))
    if is_valid is not None and not is_valid(value):
        shown = _json(value)
        yield place.error(
            Cause.TYPE,
            f"Invalid value: {shown}: {place.path} in body must be of type {limits['format']}: {shown}",
        )


def _number_errors(place: _Place, schema: Schema) -> Iterator[FieldError]:
    limits, value = schema.source, place.value
    if value < limits.get("minimum", value) or (
        limits.get("exclusiveMinimum") and value == limits["minimum"]
    ):
        bound = "greater than" if limits.get("exclusiveMinimum") else "greater than or equal to"
        yield place.invalid(f"should be {bound} {limits['minimum']}")
    if value > limits.get("maximum", value) or (
        limits.get("exclusiveMaximum") and value == limits["maximum"]
    ):
        bound = "less than" if limits.get("exclusiveMaximum") else "less than or equal to"
        yield place.invalid(f"should be {bound} {limits['maximum']}")
    if "multipleOf" in limits and value % limits["multipleOf"]:
        yield place.invalid(f"should be a multiple of {limits['multipleOf']}")


def _list_errors(place: _Place, schema: Schema) -> Iterator[FieldError]:
    limits, value = schema.source, place.value
    yield from _too_many(place, "maxItems", limits)
    if len(value) < limits.get("minItems", 0):
        yield place.invalid(f"should have at least {limits['minItems']} items")
    if schema.list_type in ("set", "map"):
        seen: set[str] = set()
        for index, item in enumerate(value):
            key = _json(schema.key_of(item))
            if key in seen:
                yield FieldError(f"{place.path}[{index}]", Cause.DUPLICATE, f"Duplicate value: {key}")
            seen.add(key)


def _object_errors(place: _Place, schema: Schema) -> Iterator[FieldError]:
    limits, value = schema.source, place.value
    for name in schema.required:
        if name not in value:
            path = f"{place.path}.{name}" if place.path else name
            yield FieldError(path, Cause.REQUIRED, "Required value")
    yield from _too_many(place, "maxProperties", limits)
    if len(value) < limits.get("minProperties", 0):
        yield place.invalid(f"should have at least {limits['minProperties']} properties")


def _too_many(place: _Place, limit: str, limits: Object) -> Iterator[FieldError]:
    count = len(place.value)
    most = limits.get(limit, count)
    if count > most:
        items = "item" if most == 1 else "items"
        yield place.error(Cause.TOO_MANY, f"Too many: {count}: must have at most {most} {items}")


def _combined_errors(place: _Place, schema: Schema) -> Iterator[FieldError]:
    def holds(branch: Schema) -> bool:
        return not any(_check(_Place(place.path, place.value, _ABSENT, place.root), branch))

    for branch in schema.all_of:
        yield from _check(_Place(place.path, place.value, _ABSENT, place.root), branch)
    if schema.any_of and not any(map(holds, schema.any_of)):
        yield place.invalid("must validate at least one schema (anyOf)")
    if schema.one_of and sum(map(holds, schema.one_of)) != 1:
        yield place.invalid("must validate one and only one schema (oneOf)")
    if schema.negated is not None and holds(schema.negated):
        yield place.invalid("must not validate the schema (not)")


def _check_rules(place: _Place, schema: Schema) -> Iterator[FieldError]:
    if place.value is None or not schema.has_rules:
        return
    if place.unchanged and not schema.has_transition_rules:
        return
    for rule in schema.rules:
        if (rule.is_transition and isinstance(place.old, _Absent)) or (
            place.unchanged and not rule.is_transition
        ):
            continue
        value, old = (_at_root(place.value), _at_root(place.old)) if place.root else (place.value, place.old)
        message = rule.failure(value, old)
        if message is not None:
            path = (place.path + rule.field_path).lstrip(".") or "<nil>"
            yield FieldError(
                path, Cause(rule.reason), _rule_message(Cause(rule.reason), place.value, message)
            )
    for part, below in place.below(schema):
        yield from _check_rules(part, below)


def _at_root(obj: Any) -> Any:
    """Return the object for a rule at the root, with `name` and `generateName` as its only metadata."""
    if not isinstance(obj, dict):
        return None
    metadata = obj.get("metadata") or {}
    visible = {name: metadata[name] for name in ("name", "generateName") if name in metadata}
    return {**obj, "metadata": visible}


def _rule_message(cause: Cause, value: Any, message: str) -> str:
    scalar = not isinstance(value, list | dict)
    match cause:
        case Cause.FORBIDDEN:
            return f"Forbidden: {message}"
        case Cause.REQUIRED:
            return f"Required value: {message}"
        case Cause.DUPLICATE:
            return f"Duplicate value: {_json(value)}"
        case _:
            return f"Invalid value: {_json(value)}: {message}" if scalar else f"Invalid value: {message}"


def _type_of(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
