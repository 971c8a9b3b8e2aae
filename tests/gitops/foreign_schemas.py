"""Schemas of the resources of Argo CD and Flux, as far as the documentation uses them.

`python -m tests.gitops.foreign_schemas CRD.yaml…` writes them from the CustomResourceDefinitions that both
projects publish: `manifests/crds` of argoproj/argo-cd, and `config/crd/bases` of fluxcd/kustomize-controller,
fluxcd/helm-controller and fluxcd/source-controller. A field that the documentation does not use is stored
without its schema, and may have any value.
"""

import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from cloudrun_identity_playground.kubeapi.schema import Schema
from tests.documented import ROOT, blocks

Object = dict[str, Any]
Kind = tuple[str, str]

PAGES: Final = (ROOT / "docs" / "how-to" / "argo-cd.md", ROOT / "docs" / "how-to" / "flux.md")
GROUPS: Final = ("argoproj.io", "toolkit.fluxcd.io")
STORED: Final = ROOT / "tests" / "data" / "gitops" / "schemas.yaml"
_KEPT: Final = ("type", "required", "enum", "pattern", "x-kubernetes-preserve-unknown-fields")
_ANY: Final = {"x-kubernetes-preserve-unknown-fields": True}


def documented() -> list[Object]:
    """Return the resources of Argo CD and Flux in the documentation."""
    found = [obj for page in PAGES for block in blocks(page) for obj in yaml.safe_load_all(block)]
    return [obj for obj in found if obj["apiVersion"].partition("/")[0].endswith(GROUPS)]


def kind_of(obj: Object) -> Kind:
    return obj["apiVersion"], obj["kind"]


@cache
def schemas() -> Mapping[Kind, Schema]:
    """Return the stored schemas."""
    stored = yaml.safe_load(STORED.read_text(encoding="utf-8"))
    return {kind_of(each): Schema.parse(each["schema"]) for each in stored}


def reduced(definitions: Iterable[Object]) -> list[Object]:
    """Return the reduced schemas of all kinds in the documentation."""
    published = {
        (f"{crd['spec']['group']}/{version['name']}", crd["spec"]["names"]["kind"]): version["schema"][
            "openAPIV3Schema"
        ]
        for crd in definitions
        for version in crd["spec"]["versions"]
    }
    used: dict[Kind, list[Object]] = {}
    for obj in documented():
        used.setdefault(kind_of(obj), []).append({"spec": obj["spec"]})
    return [
        {"apiVersion": kind[0], "kind": kind[1], "schema": _reduced(published[kind], values)}
        for kind, values in sorted(used.items())
    ]


def _reduced(schema: Object, values: list[Any]) -> Object:
    """Return a schema without the parts below fields that no value has."""
    found = {key: schema[key] for key in _KEPT if key in schema}
    objects = [value for value in values if isinstance(value, dict)]
    items = [item for value in values if isinstance(value, list) for item in value]
    if "properties" in schema:
        below = {name: [obj[name] for obj in objects if name in obj] for name in schema["properties"]}
        found["properties"] = {
            name: _reduced(schema["properties"][name], inner) if inner else _ANY
            for name, inner in below.items()
        }
    if isinstance(schema.get("additionalProperties"), dict):
        found["additionalProperties"] = _reduced(
            schema["additionalProperties"], [value for obj in objects for value in obj.values()]
        )
    if "items" in schema:
        found["items"] = _reduced(schema["items"], items) if items else _ANY
    return found


def main() -> None:
    """Store the reduced schemas of the definitions in the files that the arguments name."""
    definitions = [yaml.safe_load(Path(name).read_text(encoding="utf-8")) for name in sys.argv[1:]]
    header = "# Written by `python -m tests.gitops.foreign_schemas`. Do not edit.\n"
    text = yaml.dump(reduced(definitions), Dumper=_Dumper, sort_keys=False, width=110)
    STORED.write_text(header + text, encoding="utf-8")


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, _data: Any) -> bool:
        return True


if __name__ == "__main__":
    main()
