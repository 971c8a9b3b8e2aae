"""CEL rules of the CRDs, evaluated by cel-expr-python."""

import builtins
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloudrun_identity.api import API_VERSION
from cloudrun_identity.kube.manifest_files import read_manifests
from cloudrun_identity.linting import schema_rules
from cloudrun_identity.linting.schema_rules import RulesUnavailable, violations

ROOT = Path(__file__).parents[3]
MANIFESTS = yaml.safe_load((ROOT / "playground/tests/kubeapi/manifests.yaml").read_text(encoding="utf-8"))


def binding(**spec: Any) -> dict[str, Any]:
    declared = {
        "projectRef": {"name": "shop"},
        "target": {"kind": "Project"},
        "role": "roles/viewer",
        "members": [{"principal": "group:ops@example.com"}],
    }
    return {"kind": "IAMBinding", "metadata": {"name": "x", "namespace": "shop"}, "spec": declared | spec}


@pytest.mark.parametrize("form", ["minimal", "complete"])
def test_valid_objects_of_every_kind_satisfy_all_rules(form: str) -> None:
    for kind, spec in MANIFESTS[form].items():
        assert violations({"kind": kind, "metadata": {"name": "payments-prod"}, "spec": spec}) == []


@pytest.mark.parametrize("case", MANIFESTS["refused"], ids=lambda case: f"{case['kind']}: {case['case']}")
def test_every_refusal_of_the_api_server_is_found(case: dict[str, Any], tmp_path: Path) -> None:
    spec = {**MANIFESTS["minimal"][case["kind"]], **case["change"]}
    repeated = {
        key: spec[key] * case.get("repeat", 1) for key in case["change"] if isinstance(spec[key], list)
    }
    obj = {
        "apiVersion": API_VERSION,
        "kind": case["kind"],
        "metadata": {"name": case.get("name", "checkout")},
        "spec": {key: value for key, value in (spec | repeated).items() if value is not None},
    }
    file = tmp_path / "object.yaml"
    file.write_text(yaml.safe_dump(obj))
    assert read_manifests([file], "shop").problems or violations(obj)


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        (
            {"target": {"kind": "Service", "name": "web"}},
            "spec.target.location: must be set for kinds Service",
        ),
        ({"target": {"kind": "Project", "name": "web"}}, "spec.target.name: must be set for kind"),
        ({"members": [{"principal": "a", "identityRef": {"name": "b"}}]}, "spec.members[0]: exactly one of"),
        ({"progressDeadline": "1 minute"}, "spec.progressDeadline: must be a duration"),
    ],
)
def test_violation_names_the_field_and_the_rule(spec: dict[str, Any], found: str) -> None:
    assert [each for each in violations(binding(**spec)) if found in each], violations(binding(**spec))


def test_rules_about_edits_do_not_apply() -> None:
    assert violations(binding()) == []


def test_rules_need_an_optional_package(monkeypatch: pytest.MonkeyPatch) -> None:
    found = builtins.__import__

    def imported(name: str, *arguments: Any) -> Any:
        if name.startswith("cel_expr_python"):
            raise ImportError(name)
        return found(name, *arguments)

    schema_rules._environment.cache_clear()
    schema_rules._compiled.cache_clear()
    monkeypatch.setattr(builtins, "__import__", imported)
    with pytest.raises(RulesUnavailable, match=r"cloudrun-identity\[lint\]"):
        violations(binding())
    schema_rules._environment.cache_clear()
