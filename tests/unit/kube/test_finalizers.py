"""The operator's finalizer is added and removed under concurrent edits of other clients."""

from collections.abc import Callable
from typing import Any

import pytest

from cloudrun_identity.api.group import FINALIZER
from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.kube.finalizers import (
    TRIES,
    Finalizers,
    has_finalizer,
    remove_finalizers_of_deleted_kinds,
)
from cloudrun_identity.kube.objects import resource
from cloudrun_identity.kube.resources import Object
from tests.unit.kube.fake_api import FakeApi
from tests.unit.kube.test_crds import install

BINDINGS = resource("IAMBinding")
OTHER = "example.com/other"


def binding(**metadata: Any) -> Object:
    return {"kind": "IAMBinding", "metadata": {"name": "web", "namespace": "payments", **metadata}}


def finalizers_in(api: FakeApi) -> list[str]:
    (stored,) = api.objects.values()
    return list(stored["metadata"].get("finalizers", ()))


def edit_labels(api: FakeApi) -> Callable[[], None]:
    def edit() -> None:
        (stored,) = api.objects.values()
        api.put(
            BINDINGS, {**stored, "metadata": {**stored["metadata"], "labels": {"v": str(len(api.requests))}}}
        )

    return edit


def add_other(api: FakeApi) -> Callable[[], None]:
    def edit() -> None:
        (stored,) = api.objects.values()
        present = stored["metadata"].get("finalizers", [])
        api.put(BINDINGS, {**stored, "metadata": {**stored["metadata"], "finalizers": [*present, OTHER]}})

    return edit


async def test_finalizer_is_appended_to_others(api: FakeApi) -> None:
    obj = await Finalizers(api).add(api.put(BINDINGS, binding(finalizers=[OTHER])))
    assert obj is not None
    assert obj["metadata"]["finalizers"] == [OTHER, FINALIZER]


async def test_object_with_the_finalizer_needs_no_request(api: FakeApi) -> None:
    obj = api.put(BINDINGS, binding(finalizers=[FINALIZER]))
    assert await Finalizers(api).add(obj) is obj
    assert api.requests == []


async def test_object_being_deleted_gets_no_finalizer(api: FakeApi) -> None:
    obj = api.put(BINDINGS, binding(deletionTimestamp="2030-01-01T00:00:00Z", finalizers=[OTHER]))
    assert await Finalizers(api).add(obj) is obj
    assert api.requests == []


async def test_concurrent_deletion_returns_the_deleting_object(api: FakeApi) -> None:
    seen = api.put(BINDINGS, binding(finalizers=[OTHER]))
    deleting = {**seen["metadata"], "deletionTimestamp": "2030-01-01T00:00:00Z"}
    api.put(BINDINGS, {**seen, "metadata": deleting})
    obj = await Finalizers(api).add(seen)
    assert obj is not None
    assert "deletionTimestamp" in obj["metadata"]
    assert not has_finalizer(obj)


async def test_rejected_patch_raises(api: FakeApi) -> None:
    def reject() -> None:
        raise KubeError(422, "Invalid", "spec.role: required")

    obj = api.put(BINDINGS, binding())
    api.interferences = [reject]
    with pytest.raises(KubeError, match=r"spec\.role"):
        await Finalizers(api).add(obj)


async def test_concurrent_edit_survives_the_addition(api: FakeApi) -> None:
    obj = api.put(BINDINGS, binding())
    api.interferences = [add_other(api)]
    await Finalizers(api).add(obj)
    assert finalizers_in(api) == [OTHER, FINALIZER]


async def test_concurrent_edit_survives_the_removal(api: FakeApi) -> None:
    obj = api.put(BINDINGS, binding(finalizers=[FINALIZER]))
    api.interferences = [add_other(api)]
    await Finalizers(api).remove(obj)
    assert finalizers_in(api) == [OTHER]


async def test_deleted_object_is_no_error(api: FakeApi) -> None:
    without, with_it = api.put(BINDINGS, binding()), api.put(BINDINGS, binding(finalizers=[FINALIZER]))
    api.drop(BINDINGS, "web", "payments")
    assert await Finalizers(api).add(without) is None
    await Finalizers(api).remove(with_it)
    assert api.objects == {}


async def test_recreated_object_keeps_its_finalizer(api: FakeApi) -> None:
    deleted = api.put(BINDINGS, binding(finalizers=[FINALIZER]))
    api.put(BINDINGS, binding(finalizers=[FINALIZER]))
    await Finalizers(api).remove(deleted)
    assert finalizers_in(api) == [FINALIZER]


async def test_removing_an_absent_finalizer_needs_no_request(api: FakeApi) -> None:
    await Finalizers(api).remove(api.put(BINDINGS, binding(finalizers=[OTHER])))
    assert api.requests == []


async def test_edit_during_each_attempt_is_a_conflict(api: FakeApi) -> None:
    obj = api.put(BINDINGS, binding())
    api.interferences = [edit_labels(api)] * TRIES
    with pytest.raises(KubeError, match="finalizers of IAMBinding payments/web were not written") as raised:
        await Finalizers(api).add(obj)
    assert raised.value.is_conflict


def put_with_finalizers(api: FakeApi, kind: str, name: str, **metadata: Any) -> None:
    metadata |= {"name": name, "namespace": "payments", "finalizers": [OTHER, FINALIZER]}
    api.put(resource(kind), {"kind": kind, "metadata": metadata, "spec": {}})


def finalizers_of(api: FakeApi, kind: str, name: str) -> list[str]:
    found: list[str] = api.objects[resource(kind).plural, "payments", name]["metadata"]["finalizers"]
    return found


async def test_finalizers_are_removed_only_for_kinds_being_deleted(api: FakeApi) -> None:
    install(api, "IAMBinding", deletionTimestamp="2030-01-01T00:00:00Z")
    install(api, "CloudRunIdentity")
    put_with_finalizers(api, "IAMBinding", "web")
    put_with_finalizers(api, "IAMBinding", "ops", deletionTimestamp="2030-01-01T00:00:00Z")
    put_with_finalizers(api, "CloudRunIdentity", "checkout", deletionTimestamp="2030-01-01T00:00:00Z")

    assert await remove_finalizers_of_deleted_kinds(api) == 2

    assert finalizers_of(api, "IAMBinding", "web") == finalizers_of(api, "IAMBinding", "ops") == [OTHER]
    assert finalizers_of(api, "CloudRunIdentity", "checkout") == [OTHER, FINALIZER]
