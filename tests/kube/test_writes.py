"""Status, finalizers and Events on API servers."""

import asyncio
from typing import Any

import pytest

from cloudrun_identity.api.group import FINALIZER
from cloudrun_identity.kube.client import KubeClient
from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.kube.event_recorder import CLUSTER_SCOPED_NAMESPACE, EventRecorder, EventType
from cloudrun_identity.kube.finalizers import Finalizers, has_finalizer, is_deleting
from cloudrun_identity.kube.objects import resource
from cloudrun_identity.kube.resources import EVENTS, NAMESPACES, Object
from cloudrun_identity.kube.status_writer import StatusWriter
from tests.kube.objects import binding, managed_project

BINDINGS = resource("IAMBinding")
PROJECTS = resource("ManagedProject")
READY = {
    "type": "Ready",
    "status": "True",
    "reason": "UpToDate",
    "message": "",
    "lastTransitionTime": "2030-01-01T00:00:00Z",
    "observedGeneration": 1,
}


def status(**more: Any) -> Object:
    return {"observedGeneration": 1, "conditions": [READY], "projectID": "payments-prod-1234", **more}


async def events_about(client: KubeClient, namespace: str, uid: str) -> list[Object]:
    listed = await client.list(EVENTS, namespace)
    return [event for event in listed if event["involvedObject"].get("uid") == uid]


async def test_status_is_stored_as_given(client: KubeClient, namespace: str) -> None:
    writer = StatusWriter(client)
    obj = await client.create(BINDINGS, binding(namespace))
    first = await writer.write(obj, status(issues=["one", "two"], role="roles/viewer"))
    assert first is not None
    second = await writer.write(first, status(issues=["two"]))
    assert second is not None
    assert (await client.get(BINDINGS, "web", namespace))["status"] == status(issues=["two"])
    assert second["metadata"]["generation"] == 1


async def test_stale_object_gets_no_status(client: KubeClient, namespace: str) -> None:
    obj = await client.create(BINDINGS, binding(namespace))
    latest = await client.patch(BINDINGS, "web", namespace, {"spec": {"suspend": True}})
    assert await StatusWriter(client).write(obj, status()) == latest


async def test_deleted_object_gets_no_status(client: KubeClient, namespace: str) -> None:
    obj = await client.create(BINDINGS, binding(namespace))
    await client.delete(BINDINGS, "web", namespace)
    assert await StatusWriter(client).write(obj, status()) is None


async def test_object_is_deleted_after_its_finalizer_is_removed(client: KubeClient, namespace: str) -> None:
    finalizers = Finalizers(client)
    held = await finalizers.add(await client.create(BINDINGS, binding(namespace)))
    assert held is not None
    await client.delete(BINDINGS, "web", namespace)
    deleting = await client.get(BINDINGS, "web", namespace)
    assert is_deleting(deleting)
    assert has_finalizer(deleting)
    await finalizers.remove(held)
    with pytest.raises(KubeError) as gone:
        await client.get(BINDINGS, "web", namespace)
    assert gone.value.is_not_found


async def test_finalizer_is_not_added_to_an_object_being_deleted(client: KubeClient, namespace: str) -> None:
    other = "example.com/other"
    obj = await client.create(BINDINGS, binding(namespace, finalizers=[other]))
    await client.delete(BINDINGS, "web", namespace)
    unaware = {**obj, "metadata": {**obj["metadata"]}}
    latest = await Finalizers(client).add(unaware)
    assert latest is not None
    assert latest["metadata"]["finalizers"] == [other]
    await client.patch(BINDINGS, "web", namespace, {"metadata": {"finalizers": []}})


async def test_finalizers_of_other_clients_survive(client: KubeClient, namespace: str) -> None:
    obj = await client.create(BINDINGS, binding(namespace))
    await client.patch(BINDINGS, "web", namespace, {"metadata": {"finalizers": ["example.com/other"]}})
    held = await Finalizers(client).add(obj)
    assert held is not None
    assert held["metadata"]["finalizers"] == ["example.com/other", FINALIZER]
    await Finalizers(client).remove(held)
    latest = await client.get(BINDINGS, "web", namespace)
    assert latest["metadata"]["finalizers"] == ["example.com/other"]
    await client.patch(BINDINGS, "web", namespace, {"metadata": {"finalizers": []}})


async def test_equal_events_are_counted_up(client: KubeClient, namespace: str) -> None:
    obj = await client.create(BINDINGS, binding(namespace))
    recorder = EventRecorder(client, instance="pod-1")
    recorder.start()
    for _ in range(3):
        recorder.record(obj, EventType.WARNING, "DriftDetected", "a binding was removed")
    await recorder.close()
    (event,) = await events_about(client, namespace, obj["metadata"]["uid"])
    assert (event["type"], event["reason"], event["message"], event["count"]) == (
        "Warning",
        "DriftDetected",
        "a binding was removed",
        3,
    )


async def test_events_about_a_project_are_in_the_default_namespace(
    client: KubeClient, namespace: str
) -> None:
    obj = await client.create(PROJECTS, managed_project(namespace))
    recorder = EventRecorder(client)
    recorder.start()
    recorder.record(obj, EventType.NORMAL, "Ready", "x" * 5_000)
    await recorder.close()
    (event,) = await events_about(client, CLUSTER_SCOPED_NAMESPACE, obj["metadata"]["uid"])
    assert len(event["message"]) == 1_024
    await client.delete(PROJECTS, namespace)


async def test_terminating_namespace_loses_its_own_events_only(client: KubeClient, namespace: str) -> None:
    terminating = f"{namespace}-terminating"
    await client.create(NAMESPACES, {"metadata": {"name": terminating}})
    stuck = await client.create(BINDINGS, binding(terminating, finalizers=["example.com/stuck"]))
    fine = await client.create(BINDINGS, binding(namespace))
    await client.delete(NAMESPACES, terminating)
    recorder = EventRecorder(client)
    recorder.start()
    recorder.record(stuck, EventType.WARNING, "Abandoned", "the namespace is deleted")
    recorder.record(fine, EventType.NORMAL, "Ready", "all is well")
    await recorder.close()
    await client.patch(BINDINGS, "web", terminating, {"metadata": {"finalizers": []}})
    assert len(await events_about(client, namespace, fine["metadata"]["uid"])) == 1


async def test_concurrent_status_writes_do_not_mix(client: KubeClient, namespace: str) -> None:
    obj = await client.create(BINDINGS, binding(namespace))
    writer = StatusWriter(client)
    await asyncio.gather(*(writer.write(obj, status(issues=[str(number)] * 2)) for number in range(4)))
    issues = (await client.get(BINDINGS, "web", namespace))["status"]["issues"]
    assert issues[0] == issues[1]
