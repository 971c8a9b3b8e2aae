"""Structural schemas: parsed once per definition, then used to prune and validate objects.

The format is that of `openAPIV3Schema` in a CustomResourceDefinition. The schemas of built-in kinds have the
same format (`builtin.yaml`).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

from .cel import InvalidRuleError, Rule

Object = dict[str, Any]

_TYPE_WORDS = ("type", "x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields")
TYPE_META = frozenset({"apiVersion", "kind", "metadata"})


class InvalidSchemaError(ValueError):
    """A schema that cannot be served; `path` is relative to the schema."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(reason)
        self.path = path
        self.reason = reason


@dataclass(frozen=True)
class Schema:
    """One node of a structural schema."""

    source: Object = field(repr=False)
    type: str | None = None
    properties: Mapping[str, "Schema"] = field(default_factory=dict)
    additional: "Schema | None" = None
    items: "Schema | None" = None
    required: tuple[str, ...] = ()
    pattern: re.Pattern[str] | None = None
    rules: tuple[Rule, ...] = ()
    all_of: tuple["Schema", ...] = ()
    any_of: tuple["Schema", ...] = ()
    one_of: tuple["Schema", ...] = ()
    negated: "Schema | None" = None
    list_type: str = "atomic"
    list_keys: tuple[str, ...] = ()
    atomic_map: bool = False
    int_or_string: bool = False
    keeps_unknown: bool = False
    embedded: bool = False
    nullable: bool = False

    @classmethod
    def parse(cls, source: Object, path: str = "", *, typed: bool = True) -> Self:
        """Parse an OpenAPI schema and compile its rules and patterns.

        Args:
            source: The schema as JSON.
            path: Its path, for errors.
            typed: True for the schema of a field, which must have a type; False for a branch of `anyOf`
                and the like.

        Raises:
            InvalidSchemaError: It is not a structural schema, or a rule or pattern does not compile.

        """
        if not isinstance(source, dict):
            raise InvalidSchemaError(path, "must be an object")
        if "$ref" in source:
            raise InvalidSchemaError(f"{path}.$ref", "references are not supported")
        if typed and not any(source.get(word) for word in _TYPE_WORDS):
            raise InvalidSchemaError(f"{path}.type", "must not be empty for specified object fields")

        def child(name: str, *, typed: bool = True) -> "Self | None":
            value = source.get(name)
            return cls.parse(value, f"{path}.{name}", typed=typed) if isinstance(value, dict) else None

        def branches(name: str) -> tuple[Self, ...]:
            return tuple(
                cls.parse(branch, f"{path}.{name}[{index}]", typed=False)
                for index, branch in enumerate(source.get(name) or ())
            )

        any_extra = source.get("additionalProperties") is True
        return cls(
            source=source,
            type=source.get("type"),
            properties={
                name: cls.parse(value, f"{path}.properties[{name}]")
                for name, value in (source.get("properties") or {}).items()
            },
            additional=cls(source={}, keeps_unknown=True) if any_extra else child("additionalProperties"),
            items=child("items"),
            required=tuple(source.get("required") or ()),
            pattern=_pattern(source, path),
            rules=_rules(source, path),
            all_of=branches("allOf"),
            any_of=branches("anyOf"),
            one_of=branches("oneOf"),
            negated=child("not", typed=False),
            list_type=source.get("x-kubernetes-list-type", "atomic"),
            list_keys=tuple(source.get("x-kubernetes-list-map-keys") or ()),
            atomic_map=source.get("x-kubernetes-map-type") == "atomic",
            int_or_string=bool(source.get("x-kubernetes-int-or-string")),
            keeps_unknown=bool(source.get("x-kubernetes-preserve-unknown-fields")),
            embedded=bool(source.get("x-kubernetes-embedded-resource")),
            nullable=bool(source.get("nullable")),
        )

    def at(self, name: str) -> "Schema | None":
        """Return the schema of a field of an object, if it has one."""
        return self.properties.get(name) or self.additional

    @cached_property
    def has_rules(self) -> bool:
        """True if there is a rule here or below."""
        return bool(self.rules) or any(schema.has_rules for schema in self._below())

    @cached_property
    def has_transition_rules(self) -> bool:
        """True if a rule here or below uses `oldSelf`."""
        return any(rule.is_transition for rule in self.rules) or any(
            schema.has_transition_rules for schema in self._below()
        )

    def key_of(self, item: Any) -> Any:
        """Return the key of an item in a list of type map or set."""
        if self.list_type == "map" and isinstance(item, dict):
            return {key: item[key] for key in self.list_keys if key in item}
        return item

    def _below(self) -> Iterator["Schema"]:
        yield from self.properties.values()
        if self.additional is not None:
            yield self.additional
        if self.items is not None:
            yield self.items


def prune(value: Any, schema: Schema, *, root: bool = True) -> list[str]:
    """Remove, in place, the fields that the schema does not have; return their paths."""
    return list(_prune(value, schema, "", root=root))


def _prune(value: Any, schema: Schema, path: str, *, root: bool = False) -> Iterator[str]:
    if isinstance(value, list) and schema.items is not None:
        for index, item in enumerate(value):
            yield from _prune(item, schema.items, f"{path}[{index}]")
    if not isinstance(value, dict):
        return
    for name in list(value):
        if (root or schema.embedded) and name in TYPE_META:
            continue
        below = schema.at(name)
        here = f"{path}.{name}" if path else name
        if below is not None:
            yield from _prune(value[name], below, here)
        elif not schema.keeps_unknown:
            del value[name]
            yield here


def _pattern(source: Object, path: str) -> re.Pattern[str] | None:
    if "pattern" not in source:
        return None
    try:
        return re.compile(source["pattern"])
    except re.error as error:
        raise InvalidSchemaError(f"{path}.pattern", f"must be a valid regular expression: {error}") from error


def _rules(source: Object, path: str) -> tuple[Rule, ...]:
    rules = []
    for index, rule in enumerate(source.get("x-kubernetes-validations") or ()):
        try:
            rules.append(Rule.parse(rule))
        except InvalidRuleError as error:
            raise InvalidSchemaError(f"{path}.x-kubernetes-validations[{index}].rule", str(error)) from error
    return tuple(rules)
