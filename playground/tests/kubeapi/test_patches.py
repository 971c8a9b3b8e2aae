"""Patches: JSON patch, merge patch, strategic merge patch, and server-side apply with owners of fields."""

from typing import Any

import pytest

from playground.tests.kubeapi.http import JSON_PATCH, MERGE, STRATEGIC, Answer, Object
from playground.tests.kubeapi.widgets import Widgets, widget


async def json_patch(widgets: Widgets, *operations: Object) -> Answer:
    return await widgets.api.call("PATCH", widgets.at("a"), list(operations), content_type=JSON_PATCH)


def owned_by(obj: Object, manager: str) -> Object:
    return next(
        entry["fieldsV1"] for entry in obj["metadata"]["managedFields"] if entry["manager"] == manager
    )


async def test_json_patch_is_applied(widgets: Widgets) -> None:
    created = await widgets.create(tags=["a"])
    version = created["metadata"]["resourceVersion"]

    patched = await json_patch(
        widgets,
        {"op": "test", "path": "/metadata/resourceVersion", "value": version},
        {"op": "add", "path": "/spec/tags/-", "value": "b"},
    )

    assert patched.body["spec"]["tags"] == ["a", "b"]


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/metadata/resourceVersion", "value": "1"},
        {"op": "remove", "path": "/spec/none"},
        {"op": "replace", "path": "/spec/tags/7", "value": "x"},
    ],
)
async def test_json_patch_that_fails_is_invalid(widgets: Widgets, operation: Object) -> None:
    await widgets.create(tags=["a"])

    refused = await json_patch(widgets, operation)

    assert (refused.code, refused.reason) == (422, "Invalid")


@pytest.mark.parametrize("body", [b"{bad", b'[{"op":"jump","path":"/spec"}]'])
async def test_invalid_json_patch_is_a_bad_request(widgets: Widgets, body: bytes) -> None:
    await widgets.create()

    refused = await widgets.api.call("PATCH", widgets.at("a"), body, content_type=JSON_PATCH)

    assert (refused.code, refused.reason) == (400, "BadRequest")


async def test_merge_patch_removes_by_null_and_replaces_lists(widgets: Widgets) -> None:
    await widgets.create(tags=["a", "b"], labels={"x": "1"}, pattern="a")

    patched = await widgets.api.merge(
        widgets.at("a"), {"spec": {"tags": ["c"], "labels": {"y": "2"}, "pattern": None}}
    )

    assert patched.body["spec"] == {"size": 1, "mode": "A", "tags": ["c"], "labels": {"x": "1", "y": "2"}}


async def test_merge_patch_with_an_old_version_conflicts(widgets: Widgets) -> None:
    await widgets.create()

    refused = await widgets.api.merge(widgets.at("a"), {"metadata": {"resourceVersion": "1"}})

    assert (refused.code, refused.reason) == (409, "Conflict")


async def test_patch_cannot_rename_or_change_the_uid(widgets: Widgets) -> None:
    await widgets.create()

    renamed = await widgets.api.merge(widgets.at("a"), {"metadata": {"name": "b"}})
    other = await widgets.api.merge(widgets.at("a"), {"metadata": {"uid": "other"}})

    assert (renamed.code, renamed.reason) == (400, "BadRequest")
    assert (other.code, other.causes[0][0]) == (422, "metadata.uid")


async def test_patch_of_a_missing_object_is_not_found(widgets: Widgets) -> None:
    assert (await widgets.api.merge(widgets.at("none"), {})).code == 404


@pytest.mark.parametrize("content_type", [STRATEGIC, "text/plain"])
async def test_custom_resource_refuses_strategic_merge_patch(widgets: Widgets, content_type: str) -> None:
    await widgets.create()

    refused = await widgets.api.call("PATCH", widgets.at("a"), {}, content_type=content_type)

    assert (refused.code, refused.reason) == (415, "UnsupportedMediaType")


async def test_strategic_merge_patch_merges_finalizers(widgets: Widgets) -> None:
    path = f"/api/v1/namespaces/{widgets.namespace}/configmaps"
    body = {"metadata": {"name": "c", "finalizers": ["x.test/a"]}, "data": {"a": "1", "b": "2"}}
    await widgets.api.post(path, body)

    patch = {"metadata": {"finalizers": ["x.test/b"]}, "data": {"b": None, "c": "3"}}
    patched = await widgets.api.call("PATCH", f"{path}/c", patch, content_type=STRATEGIC)

    assert set(patched.body["metadata"]["finalizers"]) == {"x.test/a", "x.test/b"}
    assert patched.body["data"] == {"a": "1", "c": "3"}
    await widgets.api.call("PATCH", f"{path}/c", {"metadata": {"finalizers": None}}, content_type=MERGE)


def config(**spec: Any) -> Object:
    """Return the configuration of a manager: only the given fields."""
    return {**widget(), "spec": spec}


async def test_apply_creates_and_then_updates(widgets: Widgets) -> None:
    created = await widgets.api.apply(widgets.at("a"), config(size=1, tags=["x"]), "me")
    updated = await widgets.api.apply(widgets.at("a"), config(size=2, tags=["x"]), "me")

    assert (created.code, updated.code) == (201, 200)
    assert updated.body["spec"] == {"size": 2, "tags": ["x"], "mode": "A"}
    assert owned_by(updated.body, "me")["f:spec"]["f:tags"]['v:"x"'] == {}


async def test_repeated_apply_creates_no_version(widgets: Widgets) -> None:
    first = await widgets.api.apply(widgets.at("a"), config(size=1, parts=[{"name": "p"}]), "me")

    again = await widgets.api.apply(widgets.at("a"), config(size=1, parts=[{"name": "p"}]), "me")

    assert again.version == first.version


async def test_apply_removes_omitted_fields_of_the_manager(widgets: Widgets) -> None:
    full = config(size=1, tags=["x", "y"], parts=[{"name": "p"}, {"name": "q"}], labels={"k": "v"})
    await widgets.api.apply(widgets.at("a"), full, "me")

    left = await widgets.api.apply(widgets.at("a"), config(size=1, tags=["y"], parts=[{"name": "q"}]), "me")

    assert left.body["spec"]["tags"] == ["y"]
    assert left.body["spec"]["parts"] == [{"name": "q", "count": 1}]
    assert "labels" not in left.body["spec"]


async def test_managers_share_sets_and_keyed_lists(widgets: Widgets) -> None:
    await widgets.api.apply(widgets.at("a"), config(size=1, tags=["x"], parts=[{"name": "p"}]), "one")
    await widgets.api.apply(widgets.at("a"), config(tags=["y"], parts=[{"name": "q", "count": 5}]), "two")

    left = await widgets.api.apply(widgets.at("a"), config(size=1), "one")

    assert left.body["spec"]["tags"] == ["y"]
    assert left.body["spec"]["parts"] == [{"name": "q", "count": 5}]


async def test_apply_keeps_fields_that_another_manager_owns(widgets: Widgets) -> None:
    await widgets.api.apply(widgets.at("a"), config(size=1, pattern="a"), "one")
    await widgets.api.apply(widgets.at("a"), config(pattern="a"), "two")

    left = await widgets.api.apply(widgets.at("a"), config(size=1), "one")

    assert left.body["spec"]["pattern"] == "a"


async def test_apply_of_another_managers_field_conflicts(widgets: Widgets) -> None:
    await widgets.api.apply(widgets.at("a"), config(size=1), "one")

    refused = await widgets.api.apply(widgets.at("a"), config(size=2), "two")

    assert (refused.code, refused.reason) == (409, "Conflict")
    message = 'conflict with "one"'
    assert refused.causes == [(".spec.size", "FieldManagerConflict", message)]
    assert refused.message == f"Apply failed with 1 conflict: {message}: .spec.size"


async def test_apply_reports_every_conflict(widgets: Widgets) -> None:
    await widgets.api.apply(widgets.at("a"), config(size=1, parts=[{"name": "p", "count": 1}]), "one")

    refused = await widgets.api.apply(
        widgets.at("a"), config(size=2, parts=[{"name": "p", "count": 2}]), "two"
    )

    assert refused.message.startswith("Apply failed with 2 conflicts: conflicts with")
    assert {field for field, _, _ in refused.causes} == {".spec.size", '.spec.parts[name="p"].count'}


async def test_forced_apply_takes_over_the_field(widgets: Widgets) -> None:
    await widgets.api.apply(widgets.at("a"), config(size=1, pattern="a"), "one")

    forced = await widgets.api.apply(widgets.at("a"), config(size=2), "two", force="true")

    assert forced.body["spec"]["size"] == 2
    assert "f:size" in owned_by(forced.body, "two")["f:spec"]
    assert "f:size" not in owned_by(forced.body, "one")["f:spec"]


async def test_update_takes_over_applied_fields(widgets: Widgets) -> None:
    await widgets.api.apply(widgets.at("a"), config(size=1), "one")
    await widgets.api.merge(widgets.at("a"), {"spec": {"size": 2}}, fieldManager="editor")

    refused = await widgets.api.apply(widgets.at("a"), config(size=1), "one")

    assert [field for field, _, _ in refused.causes] == [".spec.size"]
    assert 'conflict with "editor" using contract.test/v1' in refused.message


async def test_apply_to_status_owns_status_only(widgets: Widgets) -> None:
    await widgets.api.apply(widgets.at("a"), config(size=1), "one")
    status = {**config(size=5), "status": {"conditions": [{"type": "Ready", "status": "True"}]}}

    applied = await widgets.api.apply(widgets.at("a", "/status"), status, "controller")

    assert applied.body["spec"]["size"] == 1
    assert applied.body["status"] == status["status"]
    assert owned_by(applied.body, "controller").keys() == {"f:status"}


async def test_managed_fields_survive_a_read_and_update(widgets: Widgets) -> None:
    """A client that migrates from update to apply changes the owners, as kubectl does."""
    created = await widgets.create()
    managed = [
        entry | {"manager": "me", "operation": "Apply"} for entry in created["metadata"]["managedFields"]
    ]
    await widgets.api.merge(widgets.at("a"), {"metadata": {"managedFields": managed}})

    applied = await widgets.api.apply(widgets.at("a"), config(size=2, mode="A"), "me")

    assert applied.code == 200


async def test_apply_needs_manager_name_and_type(widgets: Widgets) -> None:
    nobody = await widgets.api.call(
        "PATCH", widgets.at("a"), config(size=1), content_type="application/apply-patch+yaml"
    )
    unnamed = await widgets.api.apply(widgets.at("a"), {**config(size=1), "metadata": {}}, "me")
    untyped = await widgets.api.apply(widgets.at("a"), {"kind": "Widget"}, "me")

    assert nobody.causes == [
        ("fieldManager", "FieldValueRequired", "Required value: is required for apply patch")
    ]
    assert (unnamed.code, unnamed.reason) == (400, "BadRequest")
    assert (untyped.code, untyped.reason) == (400, "BadRequest")


async def test_apply_accepts_yaml(widgets: Widgets) -> None:
    spec = b"spec: {size: 4, since: 2026-01-02T03:04:05Z}\n"
    text = b"apiVersion: contract.test/v1\nkind: Widget\nmetadata: {name: late}\n" + spec

    applied = await widgets.api.apply(widgets.at("late"), text, "me")

    assert applied.body["metadata"]["name"] == "late"
    assert applied.body["spec"]["since"] == "2026-01-02T03:04:05Z"
