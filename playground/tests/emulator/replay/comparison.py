"""Comparison of two responses: status, form of an error, fields of the body."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

# Generated values: only their presence can be compared.
_MADE_UP = frozenset(
    {
        *("etag", "uid", "uniqueId", "oauth2ClientId", "uri", "urls", "logUri", "creator", "lastModifier"),
        *("createTime", "updateTime", "deleteTime", "lastTransitionTime", "completionTime", "startTime"),
        *("validAfterTime", "validBeforeTime", "publicKeyData", "privateKeyData"),
        *("latestCreatedRevision", "latestReadyRevision", "expireTime"),
    }
)
_OPERATION = re.compile(r"projects/[^/]+/(?:locations/[^/]+/operations|serviceAccounts/[^/]+/keys)/.+")
_NORMALIZED_GENERATION = "12345678901234"  # Config Connector's tests write it in place of some generations


def differences(recorded: Any, shown: Any, path: str = "") -> Iterator[str]:
    """Yield the paths at which `shown` differs from `recorded`, with the difference; items are `[]`."""
    match recorded, shown:
        case dict(), dict():
            yield from _of_objects(recorded, shown, path)
        case list(), list():
            yield from _of_lists(recorded, shown, path)
        case str(), str() if _is_made_up(path, recorded):
            return
        case _ if recorded != shown:
            yield f"{path}: {_brief(recorded)} → {_brief(shown)}"


def _of_objects(recorded: dict[str, Any], shown: dict[str, Any], path: str) -> Iterator[str]:
    for name in recorded.keys() | shown.keys():
        below = f"{path}.{name}".lstrip(".")
        if name not in shown:
            yield f"{below}: missing"
        elif name not in recorded:
            yield f"{below}: not Google's"
        else:
            yield from differences(recorded[name], shown[name], below)


def _of_lists(recorded: list[Any], shown: list[Any], path: str) -> Iterator[str]:
    if len(recorded) != len(shown):
        yield f"{path}: other items"
        return
    for one, other in zip(recorded, shown, strict=True):
        yield from differences(one, other, f"{path}[]")


def _is_made_up(path: str, recorded: str) -> bool:
    last = path.rpartition(".")[2].removesuffix("[]")
    if last == "generation" and recorded == _NORMALIZED_GENERATION:
        return True
    return last in _MADE_UP or _OPERATION.fullmatch(recorded) is not None


def _brief(value: Any) -> str:
    return str(value) if isinstance(value, int | float) else repr(str(value)[:60])
