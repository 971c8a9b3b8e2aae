"""Building blocks of the models: wire names, CEL rules, list types, bounds and timestamps."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from .docstrings import field_docstrings

_ACRONYMS = {"id": "ID", "ids": "IDs", "uid": "UID"}


def wire_name(attribute: str) -> str:
    """Return the JSON name of a Python attribute: `ownerUID` for `owner_uid`."""
    first, *rest = attribute.split("_")
    return first + "".join(_ACRONYMS.get(word, word.capitalize()) for word in rest)


@dataclass(frozen=True, slots=True)
class Rule:
    """A CEL rule, as an annotation on a field or in `ApiModel.rules` on an object."""

    rule: str
    """CEL expression that is true for a valid value."""
    message: str
    """Static message. The API server counts a message expression as cost of the rule."""
    field_path: str | None = None
    """Field of the object that the message is about, such as `.accountID`."""
    reason: Literal["FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired"] = "FieldValueInvalid"
    """Reason in the API server's response."""
    holds: Callable[[Any], bool] | None = field(default=None, compare=False, repr=False)
    """The rule in Python, where that is simple, for use without an API server."""

    def to_dict(self) -> dict[str, str]:
        """Return the entry of `x-kubernetes-validations`."""
        entry = {"rule": self.rule, "message": self.message, "reason": self.reason}
        return entry | ({"fieldPath": self.field_path} if self.field_path else {})

    def __get_pydantic_json_schema__(
        self, inner: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(inner)
        schema.setdefault("x-kubernetes-validations", []).append(self.to_dict())
        return schema


def matches(pattern: str, message: str) -> Rule:
    """Return a rule that requires text to match.

    The schema keyword `pattern` would show users the expression.
    """
    whole = re.compile(pattern)
    return Rule(
        f"self.matches({cel_string(pattern)})",
        message,
        holds=lambda text: whole.search(text) is not None and "\n" not in text,
    )


def excludes(prefixes: Sequence[str], message: str) -> Rule:
    """Return a rule that forbids text to begin with one of the prefixes."""
    return Rule(
        " && ".join(f"!self.startsWith({cel_string(prefix)})" for prefix in prefixes),
        message,
        reason="FieldValueForbidden",
        holds=lambda text: not text.startswith(tuple(prefixes)),
    )


def matches_by_prefix(patterns: Mapping[str, str], message: str) -> Rule:
    """Return a rule that requires text to match the pattern of the first prefix that it has.

    The last prefix is empty. The API server estimates the cost of a rule by its longest branch, and that of a
    pattern by its length, so that long lists of texts with many forms stay within the budget.
    """
    compiled = {prefix: re.compile(pattern) for prefix, pattern in patterns.items()}
    *prefixes, _ = patterns
    branches = "".join(
        f"self.startsWith({cel_string(prefix)}) ? self.matches({cel_string(patterns[prefix])}) : "
        for prefix in prefixes
    )

    def holds(text: str) -> bool:
        whole = next(each for prefix, each in compiled.items() if text.startswith(prefix))
        return whole.search(text) is not None and "\n" not in text

    return Rule(f"{branches}self.matches({cel_string(patterns[''])})", message, holds=holds)


def at_most_bytes(count: int) -> Rule:
    """Return a rule that bounds the bytes of a text in UTF-8, as Google does. A schema counts characters."""
    return Rule(f"size(bytes(self)) <= {count}", f"must be at most {count} bytes long in UTF-8")


def immutable(field: str) -> Rule:
    """Return a rule that forbids changes of the value.

    An optional field also needs `set_once` on its object.
    """
    return Rule("self == oldSelf", f"{field} is immutable", reason="FieldValueForbidden")


def set_once(field: str) -> Rule:
    """Return a rule that forbids adding or removing an optional field. Rules of the field see neither."""
    return Rule(
        f"has(self.{field}) == has(oldSelf.{field})",
        f"{field} is immutable: it can be neither added nor removed",
        field_path=f".{field}",
        reason="FieldValueForbidden",
    )


def exactly_one_of(*fields: str) -> Rule:
    """Return a rule that requires exactly one of these optional fields."""
    flags = ", ".join(f"has(self.{field})" for field in fields)
    return Rule(
        f"[{flags}].exists_one(x, x)",
        f"exactly one of {', '.join(fields)} must be set",
        holds=lambda obj: len(obj.to_dict().keys() & set(fields)) == 1,
    )


def cel_string(text: str) -> str:
    """Return `text` as a CEL string literal."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


@dataclass(frozen=True, slots=True)
class Keyword:
    """A schema keyword that does not follow from the type, such as `x-kubernetes-list-type`."""

    name: str
    value: str | int | list[str]

    def __get_pydantic_json_schema__(
        self, inner: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(inner) | {self.name: self.value}


SET = Keyword("x-kubernetes-list-type", "set")
"""A list of distinct strings, in which each field manager can own some."""

MAP = Keyword("x-kubernetes-list-type", "map")
"""A list of objects with keys (`map_keys`)."""


def map_keys(*fields: str) -> Keyword:
    """Return the keyword for the required scalar fields that are the keys of a `MAP`."""
    return Keyword("x-kubernetes-list-map-keys", list(fields))


_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def legible(text: str) -> str:
    """Return text of other origin without characters that control a terminal or are invisible.

    White space becomes a space. Other control characters, invisible characters and changes of direction are
    escaped as in Python.
    """
    return _UNSEEN.sub(
        lambda found: " " if found[0].isspace() else found[0].encode("unicode_escape").decode(), text
    )


@dataclass(frozen=True, slots=True)
class Clipped:
    """Annotation that makes output legible and cuts it to the schema's bound.

    The API server refuses a whole status for one text that is too long.
    """

    limit: int
    """Maximum number of characters of a text, or of entries of a list."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._clip, handler(source))

    def __get_pydantic_json_schema__(
        self, inner: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(inner)
        return schema | {"maxItems" if schema.get("type") == "array" else "maxLength": self.limit}

    def _clip(self, value: Any) -> Any:
        match value:
            case str():
                return clip(value, self.limit)
            case list() | tuple():
                return value[: self.limit]
            case _:
                return value


def clip(text: str, limit: int) -> str:
    """Return text of other origin, legible and cut to `limit` characters, the last one an ellipsis."""
    shown = legible(text)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def _to_whole_seconds(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(microsecond=0)


Timestamp = Annotated[AwareDatetime, AfterValidator(_to_whole_seconds)]
"""A time in UTC, in whole seconds as Kubernetes writes it."""


Deadline = Annotated[Timestamp, Keyword("maxLength", 40)]
"""A time that a user writes. The bound limits the cost of CEL rules."""


class ApiModel(BaseModel):
    """Base of the models. `model_validate(raw)` ignores unknown fields and sets defaults."""

    model_config = ConfigDict(
        alias_generator=wire_name,
        validate_by_name=True,
        validate_by_alias=True,
        extra="ignore",
        frozen=True,
        defer_build=True,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()
    """CEL rules on the object."""

    atomic: ClassVar[bool] = False
    """True if server-side apply replaces the object as a whole instead of merging its fields."""

    def replace(self, **changes: Any) -> Self:
        """Return a validated copy of this value with these fields, by their Python names, changed."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        if unknown := changes.keys() - fields:
            raise TypeError(f"{type(self).__name__} has no field {min(unknown)}")
        return type(self)(**(fields | changes))

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object for the API server, with wire names and without unset fields."""
        return self.model_dump(by_alias=True, exclude_none=True, mode="json")

    @classmethod
    def __get_pydantic_json_schema__(
        cls, inner: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler.resolve_ref_schema(handler(inner))
        docstrings = field_docstrings(cls)
        for name, info in cls.model_fields.items():
            if info.description is None and name in docstrings:
                schema["properties"][info.alias]["description"] = docstrings[name]
        if cls.rules:
            schema["x-kubernetes-validations"] = [rule.to_dict() for rule in cls.rules]
        if cls.atomic:
            schema["x-kubernetes-map-type"] = "atomic"
        return schema
