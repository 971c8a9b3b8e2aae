"""Object names that depend only on the declared resource, so that every export chooses the same."""

import hashlib
import re
from collections import Counter
from collections.abc import Hashable, Mapping
from typing import TypeVar

Thing = TypeVar("Thing", bound=Hashable)

MAX_LENGTH = 63
"""Maximum length of a label value and of a DNS label. Kubernetes allows names of 253 characters."""


def object_name(*parts: str) -> str:
    """Join `parts` into a valid object name: `prefectRunner` becomes `prefect-runner`.

    A name that is too long is shortened, and ends in a hash of the parts.
    """
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", "-".join(filter(None, parts)))
    name = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")
    if 0 < len(name) <= MAX_LENGTH:
        return name
    return f"{name[: MAX_LENGTH - _HASH - 1].strip('-') or 'x'}-{_hashed(*parts)}"


def kind_words(kind: str) -> str:
    """Return a target kind with its words separated, for `object_name`: `KMSCryptoKey` is `KMS-CryptoKey`."""
    return re.sub(r"(?<=[A-Z])(?=[A-Z][a-z])", "-", kind)


def is_namespace(name: str) -> bool:
    """Return whether the text can be the name of a namespace."""
    return bool(_NAMESPACE.fullmatch(name))


def distinct(wanted: Mapping[Thing, tuple[str, ...]]) -> dict[Thing, str]:
    """Return a distinct name for each thing, from its parts. Equal names get a hash as suffix."""
    names = {thing: object_name(*parts) for thing, parts in wanted.items()}
    counts = Counter(names.values())
    return {
        thing: name if counts[name] == 1 else f"{name[: MAX_LENGTH - _HASH - 1]}-{_hashed(repr(thing))}"
        for thing, name in names.items()
    }


def _hashed(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:_HASH]


_HASH = 6
_NAMESPACE = re.compile(rf"[a-z0-9]([-a-z0-9]{{0,{MAX_LENGTH - 2}}}[a-z0-9])?")
