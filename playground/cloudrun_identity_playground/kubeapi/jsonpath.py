"""JSONPath of printer columns: a field, an item, or the condition of a type."""

import json
import re
from typing import Any

_STEP = re.compile(
    r"""\.(?P<name>(?:\\.|[^.\[\\])+)
      | \[\?\(@\.(?P<key>[\w.\-]+)\s*==\s*(?P<quote>["']?)(?P<wanted>[^"')]*)(?P=quote)\)\]
      | \[(?P<mark>['"])(?P<quoted>[^'"]+)(?P=mark)\]
      | \[(?P<index>\d+|\*)\]""",
    re.VERBOSE,
)


def json_path(obj: Any, path: str) -> list[Any]:
    """Return the values at a path of fields, `[N]`, `[*]`, `['name']` and `[?(@.type=="Ready")]`.

    Raises:
        ValueError: The path has another element.

    """
    values, end = [obj], 0
    for step in _STEP.finditer(path):
        if step.start() != end:
            break
        end = step.end()
        values = [found for value in values for found in _follow(value, step)]
    if end != len(path):
        raise ValueError(
            f"must be a simple json path starting with ., and cannot be read from {path[end:]} on"
        )
    return values


def _follow(value: Any, step: re.Match[str]) -> list[Any]:
    if step["key"]:
        return [item for item in _items(value) if _is_wanted(item, step)]
    if step["index"]:
        items = _items(value)
        return items if step["index"] == "*" else items[int(step["index"]) :][:1]
    name = step["quoted"] or re.sub(r"\\(.)", r"\1", step["name"])
    if name == "*":
        return list(value.values()) if isinstance(value, dict) else _items(value)
    return [value[name]] if isinstance(value, dict) and name in value else []


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_wanted(item: Any, step: re.Match[str]) -> bool:
    found = json_path(item, f".{step['key']}")
    if not found:
        return False
    text = found[0] if isinstance(found[0], str) else json.dumps(found[0])
    return bool(text == step["wanted"])
