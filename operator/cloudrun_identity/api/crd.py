"""CustomResourceDefinitions, generated from the models.

Kubernetes requires structural schemas: no references, no `anyOf` for an optional field, and no
`additionalProperties` beside `properties`. The models contain everything else.

A list without merge keys is atomic: server-side apply, client-side apply and Argo CD compare it as a whole. A
default that the API server sets inside such a list is a difference from the manifest. So the schema has no
defaults there; the models supply them when the operator reads an object, and the description states them.
"""

import json
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from . import KINDS
from .group import GROUP, VERSION
from .resource import Column, Resource
from .status import NOT_OBSERVED

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
    """Return the CustomResourceDefinition of every kind, by kind. The caller may change the result."""
    return {name: deepcopy(_definition(name, kind)) for name, kind in KINDS.items()}


def render(kind: str) -> str:
    """Return the CustomResourceDefinition of a kind as YAML. Raises KeyError for an unknown kind."""
    definition = _definition(kind, KINDS[kind])
    return _HEADER + yaml.safe_dump(definition, sort_keys=False, allow_unicode=True, width=110)


def file_name(kind: str) -> str:
    """Return the file name of a kind's definition, such as `cloudrunidentities.yaml`."""
    return f"{KINDS[kind].plural}.yaml"


def write(directory: Path) -> list[Path]:
    """Write one file per kind into `directory`, which is created if it is missing. Return the paths."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for kind in KINDS:
        path = directory / file_name(kind)
        path.write_text(render(kind), encoding="utf-8")
        paths.append(path)
    return paths


def literal(value: object) -> str:
    """Return a default as it is written in a manifest."""
    return json.dumps(value) if isinstance(value, bool | list) else str(value)


@cache  # takes a fifth of a second for all kinds
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
                "categories": [kind.category],
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
        # Tools that compute the status of an object (kstatus) then report a new object as in progress.
        # A default on the property alone has no effect while the status object is absent.
        parts["status"]["default"] = {"observedGeneration": NOT_OBSERVED}
    return _readable(
        {
            "type": "object",
            "description": _one_line(raw["description"]),
            "required": ["spec"],
            "properties": _OBJECT_FIELDS | parts,
        }
        | {key: raw[key] for key in (_VALIDATIONS,) if key in raw}
    )


def _structural(raw: Schema, definitions: dict[str, Schema], *, in_atomic_list: bool = False) -> Schema:
    node = _described(_flattened(raw, definitions))
    node.pop("title", None)
    match node.get("type"):
        case "object":
            _structure_object(node, definitions, in_atomic_list)
        case "array":
            node.setdefault("x-kubernetes-list-type", "atomic")
            atomic = in_atomic_list or node["x-kubernetes-list-type"] == "atomic"
            node["items"] = _structural(node["items"], definitions, in_atomic_list=atomic)
        case "integer":
            node["format"] = "int64"
    node = _with_static_default(node)
    return _readable(_with_described_default(node) if in_atomic_list else node)


def _flattened(raw: Schema, definitions: dict[str, Schema]) -> Schema:
    """Inline a referenced definition, or the one alternative to null. Keywords beside the reference win."""
    if "$ref" in raw:
        # A copy each time: YAML writes a shared object as an anchor.
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
    """Join the lines of the description."""
    text = node.pop("description", None)
    return node | ({"description": _one_line(text)} if text else {})


def _structure_object(node: Schema, definitions: dict[str, Schema], in_atomic_list: bool) -> None:
    properties = node.get("properties")
    if properties is None:
        node["additionalProperties"] = _structural(
            node["additionalProperties"], definitions, in_atomic_list=in_atomic_list
        )
        return
    node.pop("additionalProperties", None)
    node["properties"] = {
        name: _structural(child, definitions, in_atomic_list=in_atomic_list)
        for name, child in properties.items()
    }


def _with_static_default(node: Schema) -> Schema:
    """Drop a default that is empty. The default of an object is `{}` if one of its fields has a default."""
    default = node.pop("default", None)
    if isinstance(default, dict):
        default = {} if any("default" in child for child in node.get("properties", {}).values()) else None
    if default is None or default in ([], ""):
        return node
    return node | {"default": default}


def _with_described_default(node: Schema) -> Schema:
    """Move the default of a field into its description."""
    default = node.pop("default", None)
    if default is None or isinstance(default, dict):
        return node
    text = f"{node.get('description', '')} Defaults to {literal(default)}.".lstrip()
    return node | {"description": text}


def _readable(node: Schema) -> Schema:
    """Order the keys of a node so that a reader finds the most important ones first."""
    if _VALIDATIONS in node:
        node[_VALIDATIONS] = [_in_order(rule, _RULE_ORDER) for rule in node[_VALIDATIONS]]
    return _in_order(node, _READING_ORDER)


def _in_order(entry: Schema, first: tuple[str, ...]) -> Schema:
    return {key: entry[key] for key in first if key in entry} | entry


def _one_line(text: str) -> str:
    return " ".join(text.split())
