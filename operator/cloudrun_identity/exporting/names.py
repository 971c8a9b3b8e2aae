"""Names for objects, made of what they declare: the same at every export."""

import hashlib
import re
from collections import Counter
from collections.abc import Hashable, Mapping
from typing import TypeVar

Thing = TypeVar("Thing", bound=Hashable)

MAX_LENGTH = 63
"""Kubernetes takes 253 characters of an object's name; labels and DNS, which often repeat it, take 63."""


def object_name(*parts: str) -> str:
    """Join `parts` as Kubernetes takes a name: `prefectRunner` becomes `prefect-runner`.

    What is too long is cut, and ends in a hash of the whole.
    """
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", "-".join(filter(None, parts)))
    name = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")
    if 0 < len(name) <= MAX_LENGTH:
        return name
    return f"{name[: MAX_LENGTH - _HASH - 1].strip('-') or 'x'}-{_hashed(*parts)}"


def distinct(wanted: Mapping[Thing, tuple[str, ...]]) -> dict[Thing, str]:
    """A name for each thing, of its parts; names that would be the same end in hashes of the things."""
    names = {thing: object_name(*parts) for thing, parts in wanted.items()}
    often = Counter(names.values())
    return {
        thing: name if often[name] == 1 else f"{name[: MAX_LENGTH - _HASH - 1]}-{_hashed(repr(thing))}"
        for thing, name in names.items()
    }


def _hashed(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:_HASH]


_HASH = 6
