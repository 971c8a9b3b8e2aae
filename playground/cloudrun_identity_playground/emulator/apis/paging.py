"""Pages of lists."""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import TypeVar

from cloudrun_identity_playground.emulator.errors import invalid

_Item = TypeVar("_Item")


def page(items: Mapping[str, _Item], token: str, size: int) -> tuple[Sequence[_Item], str]:
    """Return at most `size` items with keys after `token`, in the order of the keys, and the next token.

    A token is the last key of a page, so that deletions between two pages skip no item.
    """
    after = _decode(token)
    keys = sorted(items)
    keys = keys[bisect_right(keys, after) :]
    shown = keys[:size]
    more = len(keys) > size
    return [items[key] for key in shown], _encode(shown[-1]) if more else ""


def page_size(requested: int, default: int, most: int) -> int:
    """Return the page size: the API's default if the request has none, and at most its maximum."""
    return min(requested or default, most)


def _encode(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode()


def _decode(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise invalid("Invalid page token.") from error
