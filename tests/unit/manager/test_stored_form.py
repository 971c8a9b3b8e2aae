"""The form in which the cache keeps an object: what a version shares with the version before."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from cloudrun_identity.api import KINDS, IAMBinding, PolicyLedger, ReconciledResource
from cloudrun_identity.api.group import API_VERSION
from cloudrun_identity.kube.objects import compact
from cloudrun_identity.kube.resources import Object
from cloudrun_identity.manager.stored_form import compact_version, parse
from cloudrun_identity.reconcile.cluster_state import StoredObject

ROOT = Path(__file__).parents[3]
SPECS = yaml.safe_load((ROOT / "playground/tests/kubeapi/manifests.yaml").read_text(encoding="utf-8"))
RECONCILED = [kind for kind in KINDS if kind != PolicyLedger.__name__]
READY = {
    "type": "Ready",
    "status": "True",
    "reason": "UpToDate",
    "message": "",
    "lastTransitionTime": "2026-01-02T00:00:00Z",
}


def version(kind: str = "IAMBinding", number: int = 1, **parts: Any) -> Object:
    """Return a version of an object with its complete spec, decoded as a separate JSON text."""
    metadata = {"name": "web", "namespace": "payments", "uid": "u-1", "resourceVersion": str(number)}
    raw = {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": SPECS["complete"][kind]}
    decoded: Object = json.loads(json.dumps({**raw, **parts}))
    return decoded


def model(kind: str) -> type[ReconciledResource]:
    found = KINDS[kind]
    assert issubclass(found, ReconciledResource)
    return found


def first(kind: str = "IAMBinding", **parts: Any) -> StoredObject:
    raw = compact_version(version(kind, **parts), None)
    return StoredObject(raw, parse(model(kind), raw, None))


def after(known: StoredObject, raw: Object) -> StoredObject:
    kept = compact_version(raw, known)
    return StoredObject(kept, parse(model(raw["kind"]), kept, known))


@pytest.mark.parametrize("kind", RECONCILED)
@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"status": {"conditions": [READY], "observedGeneration": 3}},
        {"status": {}},
        {"metadata": {"name": "web", "uid": "u-1", "finalizers": ["a"], "labels": {"team": "b"}}},
    ],
    ids=["nothing", "status", "empty status", "metadata"],
)
def test_version_equals_the_same_version_parsed_as_a_whole(kind: str, parts: Any) -> None:
    known = first(kind, status={"conditions": [READY], "observedGeneration": 1})
    raw = version(kind, 2, **parts)
    stored = after(known, raw)
    assert stored.raw == compact(raw)
    assert stored.obj == model(kind).model_validate(raw)


def test_changed_status_keeps_the_parsed_spec() -> None:
    known = first()
    stored = after(known, version(number=2, status={"conditions": [READY]}))
    assert stored.obj
    assert known.obj
    assert stored.obj.spec is known.obj.spec
    assert stored.obj.status.conditions[0].reason == "UpToDate"
    assert stored.obj.metadata.resource_version == "2"


def test_changed_metadata_keeps_the_parsed_status() -> None:
    known = first(status={"conditions": [READY]})
    stored = after(known, version(number=2, status={"conditions": [READY]}))
    assert stored.obj
    assert known.obj
    assert stored.obj.status is known.obj.status
    assert stored.raw["status"] is known.raw["status"]


def test_changed_spec_is_parsed_again() -> None:
    known = first()
    stored = after(known, version(number=2, spec=SPECS["complete"]["IAMBinding"] | {"suspend": True}))
    assert stored.obj
    assert known.obj
    assert (known.obj.spec.suspend, stored.obj.spec.suspend) == (False, True)


def test_version_after_an_unparsed_one_is_parsed_as_a_whole() -> None:
    known = StoredObject(compact_version(version(), None), None)
    stored = after(known, version(number=2))
    assert stored.obj == IAMBinding.model_validate(version(number=2))


def test_invalid_status_of_a_known_spec_is_refused() -> None:
    known = first()
    raw = compact_version(version(number=2, status={"conditions": "none"}), known)
    with pytest.raises(ValidationError):
        parse(IAMBinding, raw, known)


def test_missing_spec_is_refused_as_after_no_version() -> None:
    raw = version()
    del raw["spec"]
    with pytest.raises(ValidationError):
        parse(IAMBinding, compact_version(raw, first()), first())


def test_equal_sets_of_field_names_are_one_object() -> None:
    conditions = [READY, READY | {"type": "InSync"}]
    one, other = (first(status={"conditions": conditions}).obj for _ in range(2))
    assert one
    assert other
    models = [*one.status.conditions, *other.status.conditions]
    assert len({id(each.__pydantic_fields_set__) for each in models}) == 1
    assert one.status.conditions[0].model_fields_set == {
        "type",
        "status",
        "reason",
        "message",
        "last_transition_time",
    }


def test_equal_parts_of_different_objects_are_one_object() -> None:
    one, other = (
        first(metadata={"name": name, "uid": name}, status={"conditions": [READY]}).obj
        for name in ("web", "api")
    )
    assert isinstance(one, IAMBinding)
    assert isinstance(other, IAMBinding)
    assert one.status.conditions[0] is other.status.conditions[0]
    assert one.spec.target is other.spec.target
    assert one.metadata.name != other.metadata.name


def test_parts_in_which_different_fields_are_set_stay_apart() -> None:
    conditions = [READY | {"observedGeneration": 0}], [READY]
    one, other = (first(status={"conditions": each}).obj for each in conditions)
    assert one
    assert other
    assert "observed_generation" in one.status.conditions[0].model_fields_set
    assert "observed_generation" not in other.status.conditions[0].model_fields_set
