"""The Python clients that the operator uses: kopf and the official asynchronous client."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import kopf
import pytest
from kubernetes.aio import client, config

from playground.tests.kubeapi.http import MERGE
from playground.tests.kubeapi.widgets import Widgets, widget
from tests.servers.kube_apis import KubeApi
from tests.time_budget import time_budget


@pytest.fixture
async def connection(kube_api_with_widgets: KubeApi) -> AsyncIterator[client.ApiClient]:
    configuration = client.Configuration()
    load: Any = config.load_kube_config
    await load(str(kube_api_with_widgets.kubeconfig), client_configuration=configuration)
    async with client.ApiClient(configuration) as connection:
        yield connection


async def test_official_client_handles_custom_objects(connection: client.ApiClient, namespace: str) -> None:
    objects: Any = client.CustomObjectsApi(connection)
    place = ("contract.test", "v1", namespace, "widgets")

    await objects.create_namespaced_custom_object(*place, widget())
    await objects.patch_namespaced_custom_object(*place, "a", {"spec": {"size": 2}}, _content_type=MERGE)
    listed = await objects.list_namespaced_custom_object(*place)
    await objects.delete_namespaced_custom_object(*place, "a")

    assert [item["spec"]["size"] for item in listed["items"]] == [2]
    with pytest.raises(client.ApiException) as missing:
        await objects.get_namespaced_custom_object(*place, "a")
    assert missing.value.status == 404


async def test_official_client_writes_leases_secrets_and_events(
    connection: client.ApiClient, namespace: str
) -> None:
    leases: Any = client.CoordinationV1Api(connection)
    core: Any = client.CoreV1Api(connection)
    about = client.V1ObjectReference(kind="Widget", name="a", namespace=namespace)

    lease = await leases.create_namespaced_lease(
        namespace,
        client.V1Lease(
            metadata=client.V1ObjectMeta(name="l"), spec=client.V1LeaseSpec(holder_identity="one")
        ),
    )
    secret = await core.create_namespaced_secret(
        namespace, client.V1Secret(metadata=client.V1ObjectMeta(name="s"), string_data={"k": "v"})
    )
    event = await core.create_namespaced_event(
        namespace,
        client.CoreV1Event(
            metadata=client.V1ObjectMeta(name="e"), involved_object=about, reason="R", message="M"
        ),
    )

    assert lease.spec.holder_identity == "one"
    assert secret.data == {"k": "dg=="}
    assert event.involved_object.name == "a"


async def test_official_client_reports_a_conflict(connection: client.ApiClient, namespace: str) -> None:
    leases: Any = client.CoordinationV1Api(connection)
    body = client.V1Lease(metadata=client.V1ObjectMeta(name="l"), spec=client.V1LeaseSpec())
    lease = await leases.create_namespaced_lease(namespace, body)
    lease.spec.holder_identity = "one"
    await leases.replace_namespaced_lease("l", namespace, lease)

    with pytest.raises(client.ApiException) as conflict:
        await leases.replace_namespaced_lease("l", namespace, lease)

    assert conflict.value.status == 409


async def test_kopf_sees_every_event(
    widgets: Widgets, kube_api_with_widgets: KubeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kube_api_with_widgets.kubeconfig))
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry)(kopf.login_with_kubeconfig)
    seen: asyncio.Queue[tuple[str | None, str]] = asyncio.Queue()

    @kopf.on.event("contract.test", "v1", "widgets", registry=registry)
    async def remember(event: kopf.RawEvent, name: str, **_: Any) -> None:
        await seen.put((event["type"], name))

    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.scanning.disabled = True
    await widgets.create("before")
    ready, stop = asyncio.Event(), asyncio.Event()
    operator = asyncio.create_task(
        kopf.operator(
            registry=registry,
            settings=settings,
            namespaces=[widgets.namespace],
            ready_flag=ready,
            stop_flag=stop,
        )
    )
    try:
        async with time_budget():
            listed = await seen.get()
            await widgets.create("a")
            added = await seen.get()
            await widgets.api.merge(widgets.at("a"), {"spec": {"size": 2}})
            modified = await seen.get()
            await widgets.api.delete(widgets.at("a"))
            deleted = await seen.get()
    finally:
        stop.set()
        await operator

    assert listed == (None, "before")
    assert [added, modified, deleted] == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
