"""One form for lists in messages that would be too long in full."""

from collections.abc import Sequence
from typing import Final

SHOWN: Final = 3
"""Number of items that a message names before it counts the rest."""


def some(items: Sequence[str]) -> str:
    """Return the first items, and the count of the others."""
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return f"{', '.join(items[:SHOWN])}{more}"
