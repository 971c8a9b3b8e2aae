"""Changes of the entries of `spec.roles`: in objects, and in the text of manifests.

Text is changed in place: every byte outside a changed entry stays as it is, with its comments, quotes and
indentation. The changed text is read again and compared with the changed objects, so that a manifest of an
unforeseen form is refused instead of spoiled.
"""

import copy
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import yaml

from .role_change import DeclaredKey, RoleChange

Manifest = dict[str, Any]


class CannotEdit(Exception):
    """A manifest cannot be changed in place; one line with the reason."""


def entries_of(change: RoleChange) -> list[Manifest]:
    """Return the fields that replace the role of the entry, for each entry; empty to remove it."""
    if change.custom_role:
        return [{"customRoleRef": {"name": change.custom_role.name}}]
    return [{"role": role} for role in change.replace_by]


def changed_object(raw: Mapping[str, Any], changes: Iterable[RoleChange]) -> Manifest:
    """Return an object with its changed entries. Raises CannotEdit."""
    changed: Manifest = copy.deepcopy(dict(raw))
    roles = changed["spec"]["roles"]
    for change in _last_first(changes):
        entry = roles[change.index]
        roles[change.index : change.index + 1] = [_replaced(entry, each) for each in entries_of(change)]
    return changed


def changed_text(text: str, changes: Iterable[RoleChange], namespace: str) -> str:
    """Return the text of a file of manifests with its changed entries.

    `namespace` is that of objects without one. JSON stays JSON. Raises CannotEdit.
    """
    listed = list(changes)
    before = _documents(text)
    expected = [_expected(each, listed, namespace) for each in before or ()]
    changed = text
    try:
        for change in _last_first(listed):
            changed = _with_change(changed, change, namespace)
    except yaml.YAMLError:  # the change before it spoiled the text
        changed = ""
    after = _documents(changed, as_json=_is_json(text))
    if after is None or list(map(_without_empty_roles, after)) != expected:
        keys = ", ".join(dict.fromkeys(str(each.identity) for each in listed))
        raise CannotEdit(f"{keys} has a form that cannot be changed in place; change it by hand")
    return changed


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _documents(text: str, *, as_json: bool = False) -> list[Any] | None:
    """Return the documents of a file; None if it cannot be read."""
    try:
        return [json.loads(text)] if as_json else list(yaml.safe_load_all(text))
    except (ValueError, yaml.YAMLError):
        return None


def _last_first(changes: Iterable[RoleChange]) -> list[RoleChange]:
    """Return the changes so that each leaves the indexes of the later ones as they are.

    Raises CannotEdit if two change one entry: the second would meet another entry.
    """
    ordered = sorted(changes, key=lambda change: (change.identity, change.index), reverse=True)
    for change, following in pairwise(ordered):
        if (change.identity, change.index) == (following.identity, following.index):
            raise CannotEdit(f"{change.path} of {change.identity} has two changes; change it by hand")
    return ordered


def _replaced(entry: Mapping[str, Any], by: Mapping[str, Any]) -> Manifest:
    """Return an entry with another role, in the place of the role."""
    fields: Manifest = {}
    for name, value in entry.items():
        fields |= by if name in _ROLE_FIELDS else {name: value}
    return fields


def _expected(document: Any, changes: list[RoleChange], namespace: str) -> Any:
    """Return a document as it should read after the changes."""
    if isinstance(document, dict) and document.get("kind") == "List" and document.get("items"):
        return {**document, "items": [_expected(each, changes, namespace) for each in document["items"]]}
    own = [
        each for each in changes if isinstance(document, dict) and each.identity == _key(document, namespace)
    ]
    return _without_empty_roles(changed_object(document, own) if own else document)


def _without_empty_roles(document: Any) -> Any:
    """Return a document without the field of a list that lost its last entry: it means the same."""
    if isinstance(document, dict) and document.get("kind") == "List" and document.get("items"):
        return {**document, "items": list(map(_without_empty_roles, document["items"]))}
    spec = document.get("spec") if isinstance(document, dict) else None
    if not isinstance(spec, dict) or spec.get("roles", True):
        return document
    return {**document, "spec": {name: value for name, value in spec.items() if name != "roles"}}


def _key(document: Mapping[str, Any], namespace: str) -> DeclaredKey | None:
    metadata = document.get("metadata")
    if not isinstance(metadata, dict):
        return None
    return DeclaredKey(
        str(document.get("kind")), str(metadata.get("namespace", namespace)), str(metadata.get("name"))
    )


# Text


@dataclass(frozen=True, slots=True)
class _Place:
    """Place of the list of roles of an identity in the text."""

    key: yaml.Node
    """The key `roles`."""
    roles: yaml.SequenceNode
    """The list."""


def _with_change(text: str, change: RoleChange, namespace: str) -> str:
    place = _place(text, change.identity, namespace)
    if place is None or change.index >= len(place.roles.value):
        raise CannotEdit(f"{change.identity} has no {change.path} in this file")
    item = place.roles.value[change.index]
    by = entries_of(change)
    if not isinstance(item, yaml.MappingNode):
        raise CannotEdit(f"{change.path} of {change.identity} is not an object")
    if by:
        return _with_entries(text, place, item, by)
    return _without(text, place, change.index)


def _with_entries(text: str, place: _Place, item: yaml.MappingNode, by: list[Manifest]) -> str:
    """Replace the role of an entry, and add a copy of the entry for each further role."""
    start, end = item.start_mark.index, _end(text, item)
    fields = {key.value: (key, value) for key, value in item.value}
    key, value = next(fields[name] for name in _ROLE_FIELDS if name in fields)
    from_, to = key.start_mark.index, _end(text, value)
    is_quoted = text[from_] == '"'
    copies = [text[start:from_] + _dumped(each, is_quoted=is_quoted) + text[to:end] for each in by]
    if place.roles.flow_style:
        separator = ", "
    else:
        line = text.rfind("\n", 0, start) + 1
        separator = f"\n{text[line:start]}"
    return text[:start] + separator.join(copies) + text[end:]


def _without(text: str, place: _Place, index: int) -> str:
    """Remove an entry, and the key with the last entry of a block list."""
    items = place.roles.value
    item = items[index]
    start, end = item.start_mark.index, _end(text, item)
    if place.roles.flow_style:
        if index + 1 < len(items):
            return text[:start] + text[items[index + 1].start_mark.index :]
        before = _end(text, items[index - 1]) if index else start
        return text[:before] + text[end:]
    first = place.key.start_mark.index if len(items) == 1 else start
    line = text.rfind("\n", 0, first) + 1
    after = text.find("\n", end)
    return text[:line] + (text[after + 1 :] if after >= 0 else "")


def _place(text: str, key: DeclaredKey, namespace: str) -> _Place | None:
    for document in yaml.compose_all(text, Loader=yaml.SafeLoader):
        for node in _objects(document):
            fields = _fields(node)
            metadata = _fields(fields.get("metadata"))
            found = DeclaredKey(
                _scalar(fields.get("kind")),
                _scalar(metadata.get("namespace")) or namespace,
                _scalar(metadata.get("name")),
            )
            spec = fields.get("spec")
            if found == key and isinstance(spec, yaml.MappingNode):
                for name, value in spec.value:
                    if _scalar(name) == "roles" and isinstance(value, yaml.SequenceNode):
                        return _Place(name, value)
    return None


def _objects(document: yaml.Node | None) -> list[yaml.Node]:
    """Return the objects in a document: itself, or the items of a list."""
    fields = _fields(document)
    items = fields.get("items")
    if _scalar(fields.get("kind")) == "List" and isinstance(items, yaml.SequenceNode):
        return [each for item in items.value for each in _objects(item)]
    return [document] if document is not None else []


def _fields(node: yaml.Node | None) -> dict[str, yaml.Node]:
    return {_scalar(key): value for key, value in node.value} if isinstance(node, yaml.MappingNode) else {}


def _scalar(node: yaml.Node | None) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else ""


def _end(text: str, node: yaml.Node) -> int:
    """Return the end of a node without the blanks and comments after it, which its mark includes."""
    end: int = node.end_mark.index
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        end = _end(text, last[1] if isinstance(node, yaml.MappingNode) else last)
    start: int = node.start_mark.index
    return start + len(re.sub(r"\s+\Z", "", text[start:end]))


def _dumped(fields: Manifest, *, is_quoted: bool) -> str:
    """Return one field in flow style, to follow the dash or the comma of an entry.

    With `is_quoted`, it is JSON.
    """
    if is_quoted:
        return json.dumps(fields)[1:-1]
    [(name, value)] = fields.items()
    return f"{name}: {{name: {value['name']}}}" if isinstance(value, dict) else f"{name}: {value}"


_ROLE_FIELDS = ("role", "customRoleRef")
