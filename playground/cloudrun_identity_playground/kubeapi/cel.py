"""Validation rules in the Common Expression Language (`x-kubernetes-validations`).

cel-expr-python implements the language and its string functions; this module adds the functions of Kubernetes
that rules use: https://kubernetes.io/docs/reference/using-api/cel/#cel-options-language-features-and-libraries.
Unlike a real API server, it does not know the types of values, and does not estimate costs.
"""

import itertools
import re
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

from cel_expr_python.cel import Expression, NewEnv, Type
from cel_expr_python.ext.ext_optional import ExtOptional
from cel_expr_python.ext.ext_strings import ExtStrings

from cloudrun_identity.linting.cel_values import cel_value
from cloudrun_identity_playground.cel_functions import method

Object = dict[str, Any]


class InvalidRuleError(ValueError):
    """A rule that does not compile or uses a feature that is not supported."""


class _EvaluationError(Exception):
    """A rule that cannot be evaluated on a value, for example because of the type of a field."""


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
            InvalidRuleError: The rule does not compile, or uses `optionalOldSelf`.

        """
        expression = source.get("rule") or ""
        if source.get("optionalOldSelf"):
            raise InvalidRuleError("optionalOldSelf is not supported by this server")
        for text in filter(None, (expression, source.get("messageExpression"))):
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
        try:
            holds = _evaluate(self.expression, value, old)
        except _EvaluationError:
            return f"the rule cannot be evaluated on this value: {self.expression}"
        return None if holds else self._message(value, old)

    def _message(self, value: Any, old: Any) -> str:
        if self.message_expression:
            try:
                message = _evaluate(self.message_expression, value, old)
            except _EvaluationError:
                message = ""
            if isinstance(message, str) and message.strip():
                return str(message)
        return self.message or f"failed rule: {self.expression}"


def _evaluate(expression: str, value: Any, old: Any) -> Any:
    result = _compile(expression).eval(data={"self": cel_value(value), "oldSelf": cel_value(old)})
    if result.type() == Type.ERROR:
        raise _EvaluationError(result.value())
    return result.plain_value()


@cache
def _compile(expression: str) -> Expression:
    try:
        return _ENVIRONMENT.compile(expression)
    except RuntimeError as error:
        raise InvalidRuleError(f"compilation failed: {str(error).splitlines()[0]}") from error


@cache
def _without_literals(expression: str) -> str:
    return re.sub(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"", "''", expression)


def _find(text: str, pattern: str) -> str:
    found = re.search(pattern, text)
    return found.group() if found else ""


def _find_all(text: str, pattern: str) -> list[str]:
    return [found.group() for found in re.finditer(pattern, text)]


def _is_sorted(items: list[Any]) -> bool:
    return all(a <= b for a, b in itertools.pairwise(items))


_TWO_TEXTS = [Type.STRING, Type.STRING]

_ENVIRONMENT = NewEnv(
    variables={"self": Type.DYN, "oldSelf": Type.DYN},
    extensions=[ExtStrings(), ExtOptional()],
    functions=[
        method("find", _find, Type.STRING, _TWO_TEXTS),
        method("findAll", _find_all, Type.List(Type.STRING), _TWO_TEXTS),
        method("isSorted", _is_sorted, Type.BOOL, [Type.LIST]),
        method("sum", sum, Type.DYN, [Type.LIST]),
        method("min", min, Type.DYN, [Type.LIST]),
        method("max", max, Type.DYN, [Type.LIST]),
    ],
)
