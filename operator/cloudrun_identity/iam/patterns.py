"""The pattern language of guardrails: `*` is any run of characters, or none; the rest is literal."""

from collections.abc import Iterable


def matches(text: str, pattern: str) -> bool:
    """Whether the pattern covers the whole text.

    In linear time: tenants choose the texts, and a regular expression of many `.*` would let them choose how
    long a decision takes.
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


def matches_any(text: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns covers the whole text."""
    return any(matches(text, pattern) for pattern in patterns)
