"""Sharing of equal parts: thousands of objects have the same conditions, references and targets.

Parts of cached objects are never changed, so that several objects may have one of them.
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

Part = TypeVar("Part")

SIZE = 1024
"""Different parts that are remembered. All are forgotten then, so that parts of deleted objects are freed."""


class SharedParts(Generic[Part]):
    """The first of equal parts, for the last thousand different ones."""

    def __init__(self, size: int = SIZE) -> None:
        self._size = size
        self._parts: dict[Hashable, Part] = {}

    def one_of(self, content: Hashable, part: Part) -> Part:
        """Return the first part with this content, which is `part` if it is new.

        `content` contains the types of values, because 1 and True are equal.
        """
        if len(self._parts) >= self._size:
            self._parts.clear()
        return self._parts.setdefault(content, part)
