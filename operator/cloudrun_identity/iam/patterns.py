"""Patterns of guardrails: `*` matches any run of characters, also an empty one; the rest is literal."""

from collections.abc import Collection


def matches(text: str, pattern: str) -> bool:
    """Return whether the pattern matches the whole text.

    It takes linear time. Tenants choose the texts, and with a regular expression of many `.*` they could
    choose how long a decision takes.
    """
    head, *rest = pattern.split("*")
    if not rest:
        return text == pattern
    *between, tail = rest
    if not text.startswith(head):
        return False
    position = len(head)
    for part in between:
        found = text.find(part, position)
        if found < 0:
            return False
        position = found + len(part)
    return text.endswith(tail) and position <= len(text) - len(tail)


def matches_any(text: str, patterns: Collection[str]) -> bool:
    """Return whether one of the patterns matches the whole text.

    Most patterns are literal: guardrails of a large project list thousands.
    """
    return text in patterns or any("*" in pattern and matches(text, pattern) for pattern in patterns)
