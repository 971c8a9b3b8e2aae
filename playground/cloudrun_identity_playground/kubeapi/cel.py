"""Validation rules in the Common Expression Language (`x-kubernetes-validations`).

cel-python implements the language; this module adds the string and list functions of Kubernetes that rules
use. Unlike a real API server, it does not check types and does not estimate costs.
"""

import itertools
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Self

import celpy
from celpy import celtypes
from celpy.adapter import json_to_cel
from celpy.celparser import CELParseError
from celpy.evaluation import CELEvalError
from lark.exceptions import LarkError

Object = dict[str, Any]

_CACHED_RESULTS = 20_000
_OPTIONAL_SYNTAX = re.compile(r"\.\?|\[\?|\boptional\.")


class InvalidRuleError(ValueError):
    """A rule that does not compile or uses a feature that is not supported."""


@dataclass(frozen=True)
class Rule:
    """One rule of a schema: an expression that must be true for a value."""

    expression: str
    message: str | None
    message_expression: str | None
    reason: str
    field_path: str

    @classmethod
    def parse(cls, source: Object) -> Self:
        """Parse and compile one entry of `x-kubernetes-validations`.

        Raises:
            InvalidRuleError: The rule does not compile, or uses optional types.

        """
        expression = source.get("rule") or ""
        if source.get("optionalOldSelf"):
            raise InvalidRuleError("optionalOldSelf is not supported by this server")
        for text in filter(None, (expression, source.get("messageExpression"))):
            if _OPTIONAL_SYNTAX.search(text):
                raise InvalidRuleError(f"optional types are not supported by this server: {text}")
            _compile(text)
        return cls(
            expression=expression,
            message=source.get("message"),
            message_expression=source.get("messageExpression"),
            reason=source.get("reason") or "FieldValueInvalid",
            field_path=source.get("fieldPath") or "",
        )

    @property
    def is_transition(self) -> bool:
        """True if the rule uses the old object. Such a rule does not apply to a new value."""
        return re.search(r"(?<![.\w])oldSelf\b", _without_literals(self.expression)) is not None

    def failure(self, value: Any, old: Any) -> str | None:
        """Return the reason why the value breaks the rule, or None; `old` is for transition rules."""
        if not self.is_transition:
            old = None
        named = _named_fields(self.expression)
        failure = _failure(self.expression, _text(value, named), _text(old, named))
        if failure is None:
            return None
        return failure or self._message(value, old)

    def _message(self, value: Any, old: Any) -> str:
        if self.message_expression:
            try:
                message = _evaluate(self.message_expression, value, old)
            except CELEvalError:
                message = ""
            if isinstance(message, str) and message.strip():
                return str(message)
        return self.message or f"failed rule: {self.expression}"


def _text(value: Any, named: frozenset[str] | None) -> str:
    if named is not None and isinstance(value, dict):
        value = {name: value[name] for name in sorted(named & value.keys())}
    return json.dumps(value, separators=(",", ":"))


@lru_cache(maxsize=_CACHED_RESULTS)
def _failure(expression: str, value: str, old: str) -> str | None:
    """Return None if the rule holds, an empty string if not, or the reason why it cannot be evaluated.

    Results are cached: rules are pure, most writes repeat most values, and an evaluation takes about half a
    millisecond.
    """
    try:
        holds = _evaluate(expression, json.loads(value), json.loads(old))
    except CELEvalError:
        return f"the rule cannot be evaluated on this value: {expression}"
    return None if holds else ""


def _evaluate(expression: str, value: Any, old: Any) -> Any:
    activation = {"self": json_to_cel(value), "oldSelf": json_to_cel(old)}
    return _compile(expression).evaluate(activation)


@cache
def _compile(expression: str) -> celpy.Runner:
    environment = celpy.Environment()
    try:
        tree = environment.compile(expression)
    except (CELParseError, LarkError) as error:
        raise InvalidRuleError(f"compilation failed: {error.args[0]}") from error
    return environment.program(tree, functions=_FUNCTIONS)


@cache
def _named_fields(expression: str) -> frozenset[str] | None:
    """Return the fields of `self` and `oldSelf` in the expression; None if these are used as a whole."""
    code = _without_literals(expression)
    if re.search(r"\b(?:self|oldSelf)\b(?!\.\w+\b(?!\s*\())", code):
        return None
    return frozenset(re.findall(r"\b(?:self|oldSelf)\.(\w+)", code))


@cache
def _without_literals(expression: str) -> str:
    return re.sub(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"", "''", expression)


def _strings(function: Callable[..., str]) -> Callable[..., celtypes.StringType]:
    return lambda *args: celtypes.StringType(function(*map(str, args)))


def _list(items: Any) -> celtypes.ListType:
    return celtypes.ListType([celtypes.StringType(item) for item in items])


def _replace(text: str, old: str, new: str, count: int = -1) -> celtypes.StringType:
    return celtypes.StringType(text.replace(old, new, int(count)))


def _substring(text: str, start: int, end: int | None = None) -> celtypes.StringType:
    return celtypes.StringType(text[int(start) : None if end is None else int(end)])


def _find(text: str, pattern: str) -> celtypes.StringType:
    found = re.search(pattern, text)
    return celtypes.StringType(found.group() if found else "")


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "lowerAscii": _strings(str.lower),
    "upperAscii": _strings(str.upper),
    "trim": _strings(str.strip),
    "replace": _replace,
    "substring": _substring,
    "find": _find,
    "findAll": lambda text, pattern: _list(m.group() for m in re.finditer(pattern, text)),
    "split": lambda text, separator: _list(str(text).split(separator)),
    "join": lambda items, separator="": celtypes.StringType(str(separator).join(items)),
    "indexOf": lambda text, part: celtypes.IntType(text.find(part)),
    "isSorted": lambda items: celtypes.BoolType(all(a <= b for a, b in itertools.pairwise(items))),
    "sum": lambda items: sum(items, start=celtypes.IntType(0)),
    "min": min,
    "max": max,
}
