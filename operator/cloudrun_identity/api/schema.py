"""What every model of the API is made of: wire names, CEL rules, list types, bounds and timestamps."""

import re
from collections.abc import Callable
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

_ACRONYMS = {"id": "ID", "ids": "IDs", "uid": "UID"}


def wire_name(attribute: str) -> str:
    """Name a Python attribute as JSON does: `owner_uid` is `ownerUID`, `display_name` is `displayName`."""
    first, *rest = attribute.split("_")
    return first + "".join(_ACRONYMS.get(word, word.capitalize()) for word in rest)


@dataclass(frozen=True, slots=True)
class Rule:
    """A CEL rule. As an annotation it speaks of the field's value, in `ApiModel.rules` of the object.

    `message` is static: the API server charges a message expression to the rule's cost.
    `field_path` (such as `.accountID`) names the field of the object that the message is about. `holds` is
    the same rule in Python, where that is simple, for whoever has no API server to ask.
    """

    rule: str
    message: str
    field_path: str | None = None
    reason: Literal["FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired"] = "FieldValueInvalid"
    holds: Callable[[Any], bool] | None = field(default=None, compare=False, repr=False)

    def to_dict(self) -> dict[str, str]:
        """Write the entry of `x-kubernetes-validations`."""
        entry = {"rule": self.rule, "message": self.message, "reason": self.reason}
        return entry | ({"fieldPath": self.field_path} if self.field_path else {})

    def __get_pydantic_json_schema__(
        self, inner: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(inner)
        schema.setdefault("x-kubernetes-validations", []).append(self.to_dict())
        return schema


def matches(pattern: str, message: str) -> Rule:
    """Demand text of this form; a schema's own `pattern` would show users the raw expression."""
    whole = re.compile(pattern)
    return Rule(
        f"self.matches({cel_string(pattern)})",
        message,
        holds=lambda text: whole.search(text) is not None and "\n" not in text,
    )


def at_most_bytes(count: int) -> Rule:
    """Bound text as Google does, who counts its bytes in UTF-8 where a schema counts characters."""
    return Rule(f"size(bytes(self)) <= {count}", f"must be at most {count} bytes long in UTF-8")


def immutable(field: str) -> Rule:
    """Forbid changes of the value; an optional field needs `set_once` on its object as well."""
    return Rule("self == oldSelf", f"{field} is immutable", reason="FieldValueForbidden")


def set_once(field: str) -> Rule:
    """Forbid adding or removing an optional field of the object: the field's own rules see neither."""
    return Rule(
        f"has(self.{field}) == has(oldSelf.{field})",
        f"{field} is immutable: it can be neither added nor removed",
        field_path=f".{field}",
        reason="FieldValueForbidden",
    )


def exactly_one_of(*fields: str) -> Rule:
    """Demand that one of these optional fields of the object is set, and only one."""
    flags = ", ".join(f"has(self.{field})" for field in fields)
    return Rule(
        f"[{flags}].exists_one(x, x)",
        f"exactly one of {', '.join(fields)} must be set",
        holds=lambda obj: len(obj.to_dict().keys() & set(fields)) == 1,
    )


def cel_string(text: str) -> str:
    """Quote `text` as a CEL string literal."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


@dataclass(frozen=True, slots=True)
class Keyword:
    """A schema keyword that the type alone does not give, such as `x-kubernetes-list-type`."""

    name: str
    value: str | list[str]

    def __get_pydantic_json_schema__(
        self, inner: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(inner) | {self.name: self.value}


SET = Keyword("x-kubernetes-list-type", "set")
"""A list of strings: no value twice, and several appliers may each own some of them."""

MAP = Keyword("x-kubernetes-list-type", "map")
"""A list of objects told apart by keys (`map_keys`)."""


def map_keys(*fields: str) -> Keyword:
    """Name the required scalar fields that tell the entries of a `MAP` apart."""
    return Keyword("x-kubernetes-list-map-keys", list(fields))


_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def legible(text: str) -> str:
    """Show what a terminal would obey, or nobody see: other people's texts are quoted in what we tell.

    Line ends and the like become spaces; other control characters, invisible ones and changes of direction
    are spelt out as Python would.
    """
    return _UNSEEN.sub(
        lambda found: " " if found[0].isspace() else found[0].encode("unicode_escape").decode(), text
    )


@dataclass(frozen=True, slots=True)
class Clipped:
    """Output is legible, and cut to the schema's bound: one text too long would have all of it refused.

    `limit` counts characters of a text (the last one becomes an ellipsis) or entries of a list.
    """

    limit: int

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
    """Fit other people's text into so many characters, the last one an ellipsis if there are more."""
    shown = legible(text)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def _to_whole_seconds(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(microsecond=0)


Timestamp = Annotated[AwareDatetime, AfterValidator(_to_whole_seconds)]
"""A moment in UTC, in whole seconds as Kubernetes writes them: what is read is what was written."""


class ApiModel(BaseModel):
    """An object of the API. Read with `model_validate(raw)`: unknown fields are ignored, defaults filled."""

    model_config = ConfigDict(
        alias_generator=wire_name,
        validate_by_name=True,
        validate_by_alias=True,
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()
    """CEL rules over the object as a whole."""

    atomic: ClassVar[bool] = False
    """Server-side apply replaces the object as a whole instead of merging its fields."""

    def replace(self, **changes: Any) -> Self:
        """Return a validated copy of this value with these fields, by their Python names, changed."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        if unknown := changes.keys() - fields:
            raise TypeError(f"{type(self).__name__} has no field {min(unknown)}")
        return type(self)(**(fields | changes))

    def to_dict(self) -> dict[str, Any]:
        """Write the JSON object that the API server takes: wire names, unset fields left out."""
        return self.model_dump(by_alias=True, exclude_none=True, mode="json")

    @classmethod
    def __get_pydantic_json_schema__(
        cls, inner: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler.resolve_ref_schema(handler(inner))
        if cls.rules:
            schema["x-kubernetes-validations"] = [rule.to_dict() for rule in cls.rules]
        if cls.atomic:
            schema["x-kubernetes-map-type"] = "atomic"
        return schema
