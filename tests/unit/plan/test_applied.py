"""The merge of a manifest into a stored object, as `kubectl apply` makes it."""

import json
from typing import Any

import pytest

from cloudrun_identity.kube.objects import LAST_APPLIED
from cloudrun_identity.plan.applied import applied


def stored(spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {"kind": "X", "metadata": {"name": "x", "uid": "1", "generation": 3, **metadata}, "spec": spec}


def manifest(spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {"kind": "X", "metadata": {"name": "x", **metadata}, "spec": spec}


def last_applied(spec: dict[str, Any]) -> dict[str, Any]:
    return {"annotations": {LAST_APPLIED: json.dumps(manifest(spec))}}


def server_side(operation: str, **fields: Any) -> dict[str, Any]:
    return {"managedFields": [{"manager": "m", "operation": operation, "fieldsV1": {"f:spec": fields}}]}


def test_equal_manifest_keeps_the_generation() -> None:
    obj = stored({"a": 1, "defaulted": True})
    assert applied(obj, manifest({"a": 1})) == obj


def test_edit_raises_the_generation_and_keeps_the_uid() -> None:
    merged = applied(stored({"a": 1}), manifest({"a": 2}))
    assert merged["spec"] == {"a": 2}
    assert (merged["metadata"]["uid"], merged["metadata"]["generation"]) == ("1", 4)


def test_lists_are_replaced_as_a_whole() -> None:
    assert applied(stored({"a": [1, 2]}), manifest({"a": [2]}))["spec"] == {"a": [2]}


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        (last_applied({"a": 1, "b": {"c": 1, "d": 2}}), False),
        (server_side("Apply", **{"f:a": {}, "f:b": {"f:c": {}, "f:d": {"v:x": {}, ".": {}}}}), False),
        (server_side("Update", **{"f:a": {}, "f:b": {"f:c": {}, "f:d": {}}}), True),
        ({}, True),
    ],
)
def test_field_left_out_is_removed_if_it_was_applied(before: dict[str, Any], kept: bool) -> None:
    merged = applied(stored({"a": 1, "b": {"c": 1, "d": 2}}, **before), manifest({"b": {"c": 1}}))
    assert merged["spec"] == ({"a": 1, "b": {"c": 1, "d": 2}} if kept else {"b": {"c": 1}})


def test_null_in_a_manifest_removes_the_field_that_was_applied() -> None:
    obj = stored({"a": 1}, **last_applied({"a": 1}))
    assert applied(obj, manifest({"a": None}))["spec"] == {}


def test_labels_are_merged_and_status_is_kept() -> None:
    obj = {**stored({}, labels={"team": "a"}), "status": {"ready": True}}
    merged = applied(obj, manifest({}, labels={"tier": "b"}))
    assert merged["metadata"]["labels"] == {"team": "a", "tier": "b"}
    assert merged["status"] == {"ready": True}
    assert merged["metadata"]["generation"] == 3
