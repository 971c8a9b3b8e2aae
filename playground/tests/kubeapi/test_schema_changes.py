"""A new schema of a CustomResourceDefinition applies to stored objects when they are read."""

from typing import Any

from playground.tests.kubeapi.http import Answer, Object
from playground.tests.kubeapi.widgets import DEFINITIONS, Widgets, definition

STATUS = {"type": "object", "properties": {"observedGeneration": {"type": "integer"}}}


async def test_stored_object_is_read_with_new_defaults(widgets: Widgets) -> None:
    made = definition(version=_with_schema(status=STATUS))
    path, stored = await _stored(widgets, made, {"size": 1})
    assert "status" not in stored

    await _replace_schema(widgets, made, status=STATUS | {"default": {"observedGeneration": -1}})

    read = await widgets.api.until(f"{path}/a", lambda answer: answer.code == 200 and "status" in answer.body)
    assert read.body["status"] == {"observedGeneration": -1}
    assert read.version == stored["metadata"]["resourceVersion"], "reading writes nothing"
    # While the server replaces the handlers of the kind, it may answer with an error.
    await widgets.api.until(path, lambda answer: _statuses(answer) == [{"observedGeneration": -1}])
    async with widgets.api.watch(path) as watched:
        event = await watched.next()
    assert event is not None
    assert event["object"]["status"] == {"observedGeneration": -1}
    await _remove(widgets, made)


async def test_stored_object_is_read_without_removed_fields(widgets: Widgets) -> None:
    made = definition(version=_with_schema(status=STATUS))
    path, _ = await _stored(widgets, made, {"size": 1, "net": "a"})

    await _replace_schema(widgets, made, spec={"type": "object", "properties": {"size": {"type": "integer"}}})

    def is_pruned(answer: Answer) -> bool:
        return answer.code == 200 and "net" not in answer.body["spec"]

    assert (await widgets.api.until(f"{path}/a", is_pruned)).body["spec"] == {"size": 1}
    await _remove(widgets, made)


async def test_new_object_is_stored_with_the_default_of_status(widgets: Widgets) -> None:
    made = definition(version=_with_schema(status=STATUS | {"default": {"observedGeneration": -1}}))
    path, _ = await _stored(widgets, made, {"size": 1})

    assert (await widgets.api.get(f"{path}/a")).body["status"] == {"observedGeneration": -1}
    written = await widgets.api.merge(f"{path}/a/status", {"status": {"observedGeneration": 1}})
    assert written.body["status"] == {"observedGeneration": 1}
    await _remove(widgets, made)


def _statuses(listed: Answer) -> list[Object | None]:
    return [each.get("status") for each in listed.body.get("items", ())]


def _with_schema(**properties: Any) -> Object:
    spec = {"type": "object", "properties": {"size": {"type": "integer"}, "net": {"type": "string"}}}
    schema = {"type": "object", "properties": {"spec": spec} | properties}
    return {"schema": {"openAPIV3Schema": schema}, "subresources": {"status": {}}}


async def _stored(widgets: Widgets, made: Object, spec: Object) -> tuple[str, Object]:
    """Install a definition and store an instance. Return the path of the instances, and the instance."""
    names = made["spec"]["names"]
    path = f"/apis/contract.test/v1/namespaces/{widgets.namespace}/{names['plural']}"
    created = await widgets.api.post(DEFINITIONS, made)
    assert created.code == 201, created.body
    await widgets.api.eventually(path, 200)
    body = {"apiVersion": "contract.test/v1", "kind": names["kind"], "metadata": {"name": "a"}, "spec": spec}
    answer = await widgets.api.post(path, body)
    assert answer.code == 201, answer.body
    return path, answer.body


async def _replace_schema(widgets: Widgets, made: Object, **properties: Any) -> None:
    at = f"{DEFINITIONS}/{made['metadata']['name']}"
    (version,) = made["spec"]["versions"]
    changed = version | _with_schema(**properties)
    answer = await widgets.api.merge(at, {"spec": {"versions": [changed]}})
    assert answer.code == 200, answer.body


async def _remove(widgets: Widgets, made: Object) -> None:
    await widgets.api.delete(f"{DEFINITIONS}/{made['metadata']['name']}")
