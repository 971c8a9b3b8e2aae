"""Label and field selectors as predicates of objects."""

import math
import re
from collections.abc import Callable
from typing import Any

from . import metadata
from .errors import bad_request
from .resources import Resource

Object = dict[str, Any]
Selector = Callable[[Object], bool]

_LABEL_TERMS = re.compile(r"[^,(]+(?:\([^)]*\))?")
_SET_TERM = re.compile(r"(\S+)\s+(in|notin)\s*\(([^)]*)\)")
_EQUALITY_TERM = re.compile(r"([^!=\s]+)\s*(==|=|!=)\s*([^=!\s]*)")
_NUMBER_TERM = re.compile(r"([^!=<>\s]+)\s*([<>])\s*(-?\d+)")
_EXISTENCE_TERM = re.compile(r"(!?)\s*([\w./-]+)")
_FIELD_TERM = re.compile(r"([\w.]+)(==|=|!=)(.*)")


def select(resource: Resource, labels: str, fields: str) -> Selector:
    """Return a predicate for both selectors; an empty selector is always true.

    Raises:
        ApiError: 400, a selector is invalid or names a field that the resource does not support.

    """
    terms = [*_label_terms(labels), *_field_terms(resource, fields)]
    return lambda obj: all(term(obj) for term in terms)


def _label_terms(text: str) -> list[Selector]:
    return [_label_term(term.strip()) for term in _LABEL_TERMS.findall(text) if term.strip()]


def _label_term(text: str) -> Selector:
    if matched := _SET_TERM.fullmatch(text):
        key, operator, listed = matched.groups()
        values = {value.strip() for value in listed.split(",")}
        if operator == "in":
            return lambda obj: _labels(obj).get(key) in values
        return lambda obj: _labels(obj).get(key) not in values
    if matched := _NUMBER_TERM.fullmatch(text):
        key, operator, number = matched.groups()
        least, most = (int(number) + 1, math.inf) if operator == ">" else (-math.inf, int(number) - 1)
        return lambda obj: _is_between(_labels(obj).get(key), least, most)
    if matched := _EQUALITY_TERM.fullmatch(text):
        key, operator, value = matched.groups()
        if why := metadata.refusal_of_key(key):
            raise bad_request(f'unable to parse requirement: <nil>: Invalid value: "{key}": {why}')
        if why := metadata.refusal_of_label(value):
            raise bad_request(
                f'unable to parse requirement: values[0][{key}]: Invalid value: "{value}": {why}'
            )
        if operator == "!=":
            return lambda obj: _labels(obj).get(key) != value
        return lambda obj: _labels(obj).get(key) == value
    if matched := _EXISTENCE_TERM.fullmatch(text):
        negation, key = matched.groups()
        return lambda obj: (key in _labels(obj)) is not bool(negation)
    raise bad_request(f"unable to parse requirement: {text!r} is not a label requirement")


def _is_between(label: str | None, least: float, most: float) -> bool:
    return label is not None and label.isdigit() and least <= int(label) <= most


def _labels(obj: Object) -> Object:
    return obj["metadata"].get("labels") or {}


def _field_terms(resource: Resource, text: str) -> list[Selector]:
    return [_field_term(resource, term.strip()) for term in text.split(",") if term.strip()]


def _field_term(resource: Resource, text: str) -> Selector:
    matched = _FIELD_TERM.fullmatch(text)
    if matched is None:
        raise bad_request(f'invalid selector: "{text}"; can\'t understand "{text}"')
    path, operator, value = matched.groups()
    if path not in resource.selectable | {"metadata.name", "metadata.namespace"}:
        raise bad_request(f"field label not supported: {path}")
    names = path.split(".")
    return lambda obj: (_field(obj, names) == value) is (operator != "!=")


def _field(obj: Object, names: list[str]) -> str:
    value: Any = obj
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        # The field `source` of an event selects by its component.
        case {"component": component}:
            return str(component)
        case _:
            return str(value)
