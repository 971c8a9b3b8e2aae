"""The Logging query language, as far as filters of sinks use it.

https://cloud.google.com/logging/docs/view/logging-query-language: comparisons (`=`, `!=`, `:`, `=~`, `!~`,
`<`, `<=`, `>`, `>=`), values in parentheses, text terms, `log_id`, `NOT` or `-`, `OR`, `AND` or a line
break, and comments. NOT binds strongest, then OR, then AND. Equality and `:` ignore case. A comparison with a
missing field is false.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from cloudrun_identity_playground.emulator.errors import invalid

Entry = Mapping[str, Any]
Query = Callable[[Entry], bool]
"""Returns whether an entry matches."""

_TOKEN: Final = re.compile(
    r"""\s+|--[^\n]*|(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
    r"""|(?P<operator>!=|=~|!~|<=|>=|[=<>:()\-])"""
    r"""|(?P<word>(?:[^\s"'=!<>:()\-]|(?<=\w)-|(?<=\.)"(?:[^"\\]|\\.)*")+)|(?P<other>.)"""
)
_COMPARISONS: Final = frozenset({"=", "!=", ":", "=~", "!~", "<", "<=", ">", ">="})
_SEVERITIES: Final = (
    "DEFAULT", "DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL", "ALERT", "EMERGENCY",
)  # fmt: skip


def parse(text: str) -> Query:
    """Return the query of a filter; an empty one matches every entry.

    Raises GoogleError: INVALID_ARGUMENT.
    """
    tokens = _Tokens(text)
    if tokens.next is None:
        return lambda _: True
    query = _all_of(tokens)
    if tokens.next is not None:
        raise tokens.unexpected()
    return query


class _Tokens:
    """The tokens of a filter, with one token of look-ahead. A quoted string keeps its quotes."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._rest = self._split()
        self.next: str | None = next(self._rest, None)

    def take(self) -> str:
        """Return the next token and go on to the one after it."""
        token = self.next
        if token is None:
            raise self.unexpected()
        self.next = next(self._rest, None)
        return token

    def skip(self, token: str) -> bool:
        """Take the next token if it is `token`."""
        if self.next != token:
            return False
        self.take()
        return True

    def unexpected(self) -> Exception:
        """Return INVALID_ARGUMENT for the next token."""
        found = "end of filter" if self.next is None else f"'{self.next}'"
        return invalid(f"Unparseable filter: syntax error at {found} in filter: {self._text}")

    def _split(self) -> Iterator[str]:
        for match in _TOKEN.finditer(self._text):
            if match["other"]:
                raise invalid(f"Unparseable filter: syntax error at '{match[0]}' in filter: {self._text}")
            if match.lastgroup is not None:
                yield match[0]


def _all_of(tokens: _Tokens) -> Query:
    parts = [_any_of(tokens)]
    while tokens.next not in (None, ")"):
        tokens.skip("AND")
        parts.append(_any_of(tokens))
    return parts[0] if len(parts) == 1 else lambda entry: all(part(entry) for part in parts)


def _any_of(tokens: _Tokens) -> Query:
    parts = [_term(tokens)]
    while tokens.skip("OR"):
        parts.append(_term(tokens))
    return parts[0] if len(parts) == 1 else lambda entry: any(part(entry) for part in parts)


def _term(tokens: _Tokens) -> Query:
    if tokens.skip("NOT") or tokens.skip("-"):
        negated = _term(tokens)
        return lambda entry: not negated(entry)
    if tokens.skip("("):
        inner = _all_of(tokens)
        if not tokens.skip(")"):
            raise tokens.unexpected()
        return inner
    left = tokens.take()
    if left == "log_id" and tokens.skip("("):
        log = _unquoted(tokens.take())
        if not tokens.skip(")"):
            raise tokens.unexpected()
        suffix = "/logs/" + log.replace("/", "%2F")
        return lambda entry: str(entry.get("logName", "")).endswith(suffix)
    if tokens.next not in _COMPARISONS:
        return _text(_unquoted(left))
    operator = tokens.take()
    path = _path(left)
    if tokens.skip("("):
        values = _values(tokens, lambda value: _comparison(path, operator, value))
        if not tokens.skip(")"):
            raise tokens.unexpected()
        return values
    return _comparison(path, operator, _unquoted(tokens.take()))


def _values(tokens: _Tokens, comparison: Callable[[str], Query]) -> Query:
    """Return the query of values in parentheses, such as `("a" OR "b")`."""

    def value() -> Query:
        if tokens.skip("NOT") or tokens.skip("-"):
            negated = value()
            return lambda entry: not negated(entry)
        if tokens.skip("("):
            inner = _values(tokens, comparison)
            if not tokens.skip(")"):
                raise tokens.unexpected()
            return inner
        return comparison(_unquoted(tokens.take()))

    def any_of() -> Query:
        parts = [value()]
        while tokens.skip("OR"):
            parts.append(value())
        return lambda entry: any(part(entry) for part in parts)

    parts = [any_of()]
    while tokens.next not in (None, ")"):
        tokens.skip("AND")
        parts.append(any_of())
    return lambda entry: all(part(entry) for part in parts)


def _path(text: str) -> Sequence[str]:
    """Split a field path such as `labels."k8s-pod/app"` or `protoPayload.methodName`."""
    return [_unquoted(part) for part in re.findall(r'"(?:[^"\\]|\\.)*"|[^.]+', text)]


def _found(node: Any, path: Sequence[str]) -> Iterator[Any]:
    """Yield the values at a path. A list stands for each of its elements."""
    if isinstance(node, list):
        for each in node:
            yield from _found(each, path)
    elif not path:
        yield node
    elif isinstance(node, Mapping) and path[0] in node:
        yield from _found(node[path[0]], path[1:])


def _comparison(path: Sequence[str], operator: str, value: str) -> Query:
    if operator == "!=":
        equal = _comparison(path, "=", value)
        return lambda entry: not equal(entry)
    if operator == "!~":
        similar = _comparison(path, "=~", value)
        return lambda entry: not similar(entry)
    matches = _matcher(path, operator, value)
    return lambda entry: any(matches(found) for found in _found(entry, path))


def _matcher(path: Sequence[str], operator: str, value: str) -> Callable[[Any], bool]:
    match operator:
        case "=~":
            try:
                pattern = re.compile(value)
            except re.error as error:
                raise invalid(f"Unparseable filter: invalid regular expression: {error}") from error
            return lambda found: pattern.search(_shown(found)) is not None
        case "=":
            return lambda found: _shown(found).lower() == value.lower()
        case ":":
            # `:*` asks whether the field exists.
            return lambda found: value == "*" or value.lower() in _shown(found).lower()
        case _:
            return lambda found: _ordered(path, operator, found, value)


def _ordered(path: Sequence[str], operator: str, found: Any, value: str) -> bool:
    left: Any = _shown(found)
    right: Any = value
    if list(path) == ["severity"] and left in _SEVERITIES and value.upper() in _SEVERITIES:
        left, right = _SEVERITIES.index(left), _SEVERITIES.index(value.upper())
    elif isinstance(found, int | float) and not isinstance(found, bool):
        try:
            left, right = float(found), float(value)
        except ValueError:
            return False
    match operator:
        case "<":
            return bool(left < right)
        case "<=":
            return bool(left <= right)
        case ">":
            return bool(left > right)
        case _:
            return bool(left >= right)


def _text(term: str) -> Query:
    """Return the query of a text term, which any value of the entry may contain."""
    wanted = term.lower()

    def contains(node: Any) -> bool:
        if isinstance(node, Mapping):
            return any(contains(each) for each in node.values())
        if isinstance(node, list):
            return any(contains(each) for each in node)
        return wanted in _shown(node).lower()

    return contains


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _unquoted(token: str) -> str:
    if token[:1] in ('"', "'"):
        return re.sub(r"\\(.)", r"\1", token[1:-1])
    return token
