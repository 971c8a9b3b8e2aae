"""Fragments of manifests in the documentation fit the CRDs. Whole ones are applied in tests/kube."""

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cache
from typing import Any

import pytest
import yaml

from cloudrun_identity.api import API_VERSION
from cloudrun_identity_playground.kubeapi.schema import Schema, prune
from cloudrun_identity_playground.kubeapi.validation import validate_part
from tests.documented import GROUP, PAGES, ROOT, blocks

Object = Mapping[str, Any]

FOREIGN = {
    "ci.md": {"name", "repos"},  # a workflow of GitHub Actions, and hooks of pre-commit
    "emulator.md": {"strict"},  # a seed
    "keys.md": {"keys"},  # values of the chart
    "operations.md": {"volumes"},  # values of the chart
    "status.md": {"spec"},  # health checks of a Kustomization of Flux; see tests/gitops
}
"""The first field of YAML that is no manifest, by page."""


@cache
def schemas() -> Mapping[str, Schema]:
    """Return the schema of each kind."""
    found = {}
    for path in (ROOT / "crds").glob("*.yaml"):
        crd = yaml.safe_load(path.read_text(encoding="utf-8"))
        source = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        found[crd["spec"]["names"]["kind"]] = Schema.parse(source)
    return found


def completed(fragment: Any) -> Iterator[tuple[str, Object]]:
    """Yield the kind of a fragment, and an object that contains it."""
    match fragment:
        case {"kind": str() as kind, "spec": _}:
            yield kind, {"apiVersion": API_VERSION, **fragment}
        case {"guardrails": _}:
            yield "ManagedProject", {"spec": {"projectID": "acme-shop-1234", **fragment}}
        case {"workload": _}:
            yield "IdentityAttachment", {"spec": fragment}
        case {"adoptableRoles": _}:
            yield from completed({"guardrails": fragment})
        case [{"roles": _, "targetKinds": _}, *_]:
            yield from completed({"guardrails": {"grants": fragment}})


def fragments() -> Iterator[Any]:
    """Yield each fragment as a test case."""
    for page in PAGES:
        for number, block in enumerate(blocks(page)):
            if re.search(r"^apiVersion: ", block, flags=re.MULTILINE):
                continue
            for fragment in filter(None, yaml.safe_load_all(block)):
                is_foreign = isinstance(fragment, dict) and next(iter(fragment)) in FOREIGN.get(page.name, ())
                if not is_foreign:
                    yield pytest.param(fragment, id=f"{page.name}-{number}")


@pytest.mark.parametrize("fragment", list(fragments()))
def test_documented_fragment_fits_the_schema(fragment: Any) -> None:
    found = list(completed(fragment))
    assert found, "a fragment of an unknown kind"
    for kind, obj in found:
        spec = schemas()[kind].at("spec")
        assert spec is not None
        copy = deepcopy(obj["spec"])
        assert prune(copy, spec, root=False) == [], "a field is unknown"
        missing = re.compile(r"required|must be set|exactly one", re.IGNORECASE)
        errors = [str(each) for each in validate_part(copy, spec) if not missing.search(str(each))]
        assert errors == []


def test_every_manifest_of_the_documentation_is_whole_or_a_fragment() -> None:
    """A block with an indented apiVersion would be neither."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert not re.search(rf"^ +apiVersion: {GROUP}", text, flags=re.MULTILINE), page.name
