"""The status is written only if it differs, and never over a newer object."""

from typing import Any

import pytest

from cloudrun_identity.kube.errors import KubeError, OlderVersion
from cloudrun_identity.kube.objects import resource
from cloudrun_identity.kube.resources import Object
from cloudrun_identity.kube.status_writer import StatusWriter
from tests.unit.kube.fake_api import FakeApi

BINDINGS = resource("IAMBinding")


def binding(**more: Any) -> Object:
    metadata = {"name": "web", "namespace": "payments"}
    return {
        "apiVersion": "cloudrun-identity.dev/v1alpha1",
        "kind": "IAMBinding",
        "metadata": metadata,
        **more,
    }


async def test_first_status_is_written(api: FakeApi) -> None:
    obj = api.put(BINDINGS, binding())
    written = await StatusWriter(api).write(obj, {"role": "roles/run.invoker"})
    assert written is not None
    assert written["status"] == {"role": "roles/run.invoker"}


async def test_equal_status_needs_no_request(api: FakeApi) -> None:
    obj = api.put(BINDINGS, binding(status={"issues": ["one"]}))
    assert await StatusWriter(api).write(obj, {"issues": ["one"]}) is obj
    assert api.requests == []


async def test_removed_keys_are_deleted_and_lists_replaced(api: FakeApi) -> None:
    obj = api.put(
        BINDINGS, binding(status={"drift": {"count": 1, "changes": ["x"]}, "issues": ["one", "two"]})
    )
    status = {"drift": {"count": 1}, "issues": ["two"]}
    written = await StatusWriter(api).write(obj, status)
    assert written is not None
    assert written["status"] == status


async def test_newer_object_is_returned_and_not_written(api: FakeApi) -> None:
    stale = api.put(BINDINGS, binding())
    latest = api.put(BINDINGS, {**stale, "spec": {"suspend": True}})
    assert await StatusWriter(api).write(stale, {"role": "roles/viewer"}) == latest
    assert "status" not in await api.get(BINDINGS, "web", "payments")


async def test_older_object_shows_a_restored_backup(api: FakeApi) -> None:
    backup = api.put(BINDINGS, binding())
    newer = {**backup, "metadata": {**backup["metadata"], "resourceVersion": "9"}}
    with pytest.raises(OlderVersion, match="iambindings payments/web is older than before"):
        await StatusWriter(api).write(newer, {"role": "roles/viewer"})


async def test_deleted_object_is_none(api: FakeApi) -> None:
    obj = api.put(BINDINGS, binding())
    api.drop(BINDINGS, "web", "payments")
    assert await StatusWriter(api).write(obj, {"role": "roles/viewer"}) is None


async def test_recreated_object_is_none(api: FakeApi) -> None:
    obj = api.put(BINDINGS, binding())
    api.put(BINDINGS, binding())
    assert await StatusWriter(api).write(obj, {"role": "roles/viewer"}) is None


async def test_rejected_status_raises(api: FakeApi) -> None:
    obj = api.put(BINDINGS, binding())
    api.outage = KubeError(422, "Invalid", "status.role: too long")
    with pytest.raises(KubeError, match="too long"):
        await StatusWriter(api).write(obj, {"role": "roles/viewer"})


async def test_field_that_the_server_drops_is_logged_once_and_not_rewritten(
    api: FakeApi, caplog: pytest.LogCaptureFixture
) -> None:
    api.prune = lambda obj: obj["status"].pop("target", None)
    obj, writer = api.put(BINDINGS, binding()), StatusWriter(api)
    status = {"role": "roles/viewer", "target": "Project acme"}

    written = await writer.write(obj, status)
    assert written is not None
    assert written["status"] == status
    assert await writer.write(written, status) is written
    assert api.writes == ["patch"]

    pruned = await api.get(BINDINGS, "web", "payments")
    assert pruned["status"] == {"role": "roles/viewer"}
    await writer.write(pruned, status)
    [record] = caplog.records
    assert "status.target of IAMBinding" in record.message
    assert "cloudrun-identity crds" in record.message
