"""Lists in pages."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import TypeVar

from cloudrun_identity_playground.emulator.errors import invalid

_Item = TypeVar("_Item")


def page(items: Mapping[str, _Item], token: str, size: int) -> tuple[Sequence[_Item], str]:
    """The items whose keys follow `token`, in the order of the keys, at most `size`; and the next token.

    A token names the last key of the page before, so that deletions between two pages skip nothing.
    """
    after = _decode(token)
    keys = sorted(key for key in items if key > after)
    shown = keys[:size]
    more = len(keys) > size
    return [items[key] for key in shown], _encode(shown[-1]) if more else ""


def page_size(requested: int, default: int, most: int) -> int:
    """The size of a page that an API grants: its default when none is asked for, never above its maximum."""
    return min(requested or default, most)


def _encode(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode()


def _decode(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise invalid("Invalid page token.") from error
