"""CustomResourceDefinitions, generated from the models.

Kubernetes takes structural schemas: no references, no `anyOf` for what may be unset, and no
`additionalProperties` beside `properties`. Everything else is in the models already, beside the fields.
"""

from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from . import KINDS
from .group import CATEGORY, GROUP, VERSION
from .resource import Column, Resource

Schema = dict[str, Any]

_HEADER: Final = "# Generated from cloudrun_identity.api by `make generate`. Do not edit.\n"
_VALIDATIONS: Final = "x-kubernetes-validations"
_READING_ORDER: Final = ("type", "description", "enum", "default", "required", "properties")
_RULE_ORDER: Final = ("rule", "message", "reason", "fieldPath")
_OBJECT_FIELDS: Final = {
    "apiVersion": {"type": "string"},
    "kind": {"type": "string"},
    "metadata": {"type": "object"},
}


def generate() -> dict[str, dict[str, Any]]:
    """Make the CustomResourceDefinition of every kind, by the kind's name; the caller's own to change."""
    return {name: deepcopy(_definition(name, kind)) for name, kind in KINDS.items()}


def render(kind: str) -> str:
    """Write the CustomResourceDefinition of a kind as YAML. Raises KeyError for a kind that is not ours."""
    definition = _definition(kind, KINDS[kind])
    return _HEADER + yaml.safe_dump(definition, sort_keys=False, allow_unicode=True, width=110)


def file_name(kind: str) -> str:
    """Name the file of a kind's definition, such as `cloudrunidentities.yaml`."""
    return f"{KINDS[kind].plural}.yaml"


def write(directory: Path) -> list[Path]:
    """Write one file a kind into `directory`, made where it is missing, and answer their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for kind in KINDS:
        path = directory / file_name(kind)
        path.write_text(render(kind), encoding="utf-8")
        paths.append(path)
    return paths


@cache  # made in tens of milliseconds, and asked for twice by each start of the operator
def _definition(name: str, kind: type[Resource]) -> dict[str, Any]:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": kind.scope.value,
            "names": {
                "kind": name,
                "listKind": f"{name}List",
                "plural": kind.plural,
                "singular": kind.singular,
                "shortNames": list(kind.short_names),
                "categories": [CATEGORY],
            },
            "versions": [_version(kind)],
        },
    }


def _version(kind: type[Resource]) -> dict[str, Any]:
    version: dict[str, Any] = {"name": VERSION, "served": True, "storage": True}
    if "status" in kind.model_fields:
        version["subresources"] = {"status": {}}
    version["additionalPrinterColumns"] = [_printer_column(column) for column in kind.columns]
    version["schema"] = {"openAPIV3Schema": _object_schema(kind)}
    return version


def _printer_column(column: Column) -> dict[str, Any]:
    entry = {"name": column.name, "type": column.type, "jsonPath": column.json_path}
    return entry | ({"priority": 1} if column.wide else {})


def _object_schema(kind: type[Resource]) -> Schema:
    raw = kind.model_json_schema()
    parts = {
        part: _structural(raw["properties"][part], raw["$defs"])
        for part in ("spec", "status")
        if part in raw["properties"]
    }
    if "status" in parts:
        # The API server would store a default status with every new object, before anybody looked at it.
        parts["status"].pop("default", None)
    return _readable(
        {
            "type": "object",
            "description": _one_line(raw["description"]),
            "required": ["spec"],
            "properties": _OBJECT_FIELDS | parts,
        }
        | {key: raw[key] for key in (_VALIDATIONS,) if key in raw}
    )


def _structural(raw: Schema, definitions: dict[str, Schema]) -> Schema:
    node = _described(_flattened(raw, definitions))
    node.pop("title", None)
    match node.get("type"):
        case "object":
            _structure_object(node, definitions)
        case "array":
            node.setdefault("x-kubernetes-list-type", "atomic")
            node["items"] = _structural(node["items"], definitions)
        case "integer":
            node["format"] = "int64"
    return _readable(_with_static_default(node))


def _flattened(raw: Schema, definitions: dict[str, Schema]) -> Schema:
    """Put a referenced definition, or the one alternative to null, in place; what stands beside it wins."""
    if "$ref" in raw:
        # A copy each time: YAML would write what is shared as anchors.
        inner = deepcopy(definitions[raw["$ref"].rpartition("/")[2]])
    elif "anyOf" in raw:
        (inner,) = (option for option in raw["anyOf"] if option != {"type": "null"})
    else:
        return dict(raw)
    flat = _flattened(inner, definitions)
    beside = {key: value for key, value in raw.items() if key not in ("$ref", "anyOf")}
    rules = [*flat.get(_VALIDATIONS, ()), *beside.get(_VALIDATIONS, ())]
    return flat | beside | ({_VALIDATIONS: rules} if rules else {})


def _described(node: Schema) -> Schema:
    """Put the description in one line."""
    text = node.pop("description", None)
    return node | ({"description": _one_line(text)} if text else {})


def _structure_object(node: Schema, definitions: dict[str, Schema]) -> None:
    properties = node.get("properties")
    if properties is None:
        node["additionalProperties"] = _structural(node["additionalProperties"], definitions)
        return
    node.pop("additionalProperties", None)
    node["properties"] = {name: _structural(child, definitions) for name, child in properties.items()}


def _with_static_default(node: Schema) -> Schema:
    """Keep a default that says something; an object's own is empty, and its fields' defaults fill it."""
    default = node.pop("default", None)
    if isinstance(default, dict):
        default = {} if any("default" in child for child in node.get("properties", {}).values()) else None
    if default is None or default in ([], ""):
        return node
    return node | {"default": default}


def _readable(node: Schema) -> Schema:
    """Put the keys that a reader looks for first in front."""
    if _VALIDATIONS in node:
        node[_VALIDATIONS] = [_in_order(rule, _RULE_ORDER) for rule in node[_VALIDATIONS]]
    return _in_order(node, _READING_ORDER)


def _in_order(entry: Schema, first: tuple[str, ...]) -> Schema:
    return {key: entry[key] for key in first if key in entry} | entry


def _one_line(text: str) -> str:
    return " ".join(text.split())
