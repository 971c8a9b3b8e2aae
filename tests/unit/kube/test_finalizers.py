"""Our finalizer comes and goes, whatever others do to the object at the same time."""

from collections.abc import Callable
from typing import Any

import pytest

from cloudrun_identity.api.group import FINALIZER
from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.kube.finalizers import TRIES, Finalizers, has_finalizer
from cloudrun_identity.kube.objects import resource
from cloudrun_identity.kube.resources import Object
from tests.unit.kube.fake_api import FakeApi

BINDINGS = resource("IAMBinding")
FOREIGN = "example.com/other"


def binding(**metadata: Any) -> Object:
    return {"kind": "IAMBinding", "metadata": {"name": "web", "namespace": "payments", **metadata}}


def finalizers_in(api: FakeApi) -> list[str]:
    (stored,) = api.objects.values()
    return list(stored["metadata"].get("finalizers", ()))


def relabel(api: FakeApi) -> Callable[[], None]:
    def edit() -> None:
        (stored,) = api.objects.values()
        api.put(
            BINDINGS, {**stored, "metadata": {**stored["metadata"], "labels": {"v": str(len(api.requests))}}}
        )

    return edit


def add_foreign(api: FakeApi) -> Callable[[], None]:
    def edit() -> None:
        (stored,) = api.objects.values()
        mine = stored["metadata"].get("finalizers", [])
        api.put(BINDINGS, {**stored, "metadata": {**stored["metadata"], "finalizers": [*mine, FOREIGN]}})

    return edit


async def test_it_is_added_behind_those_of_others(api: FakeApi) -> None:
    obj = await Finalizers(api).add(api.put(BINDINGS, binding(finalizers=[FOREIGN])))
    assert obj is not None
    assert obj["metadata"]["finalizers"] == [FOREIGN, FINALIZER]


async def test_an_object_that_has_it_costs_no_request(api: FakeApi) -> None:
    obj = api.put(BINDINGS, binding(finalizers=[FINALIZER]))
    assert await Finalizers(api).add(obj) is obj
    assert api.requests == []


async def test_it_is_never_added_to_an_object_known_to_be_deleting(api: FakeApi) -> None:
    obj = api.put(BINDINGS, binding(deletionTimestamp="2030-01-01T00:00:00Z", finalizers=[FOREIGN]))
    assert await Finalizers(api).add(obj) is obj
    assert api.requests == []


async def test_a_deletion_that_came_first_is_answered_as_it_is(api: FakeApi) -> None:
    seen = api.put(BINDINGS, binding(finalizers=[FOREIGN]))
    deleting = {**seen["metadata"], "deletionTimestamp": "2030-01-01T00:00:00Z"}
    api.put(BINDINGS, {**seen, "metadata": deleting})
    obj = await Finalizers(api).add(seen)
    assert obj is not None
    assert "deletionTimestamp" in obj["metadata"]
    assert not has_finalizer(obj)


async def test_a_refusal_of_an_object_that_lives_is_raised(api: FakeApi) -> None:
    def refuse() -> None:
        raise KubeError(422, "Invalid", "spec.role: required")

    obj = api.put(BINDINGS, binding())
    api.interferences = [refuse]
    with pytest.raises(KubeError, match=r"spec\.role"):
        await Finalizers(api).add(obj)


async def test_a_concurrent_edit_survives_the_addition(api: FakeApi) -> None:
    obj = api.put(BINDINGS, binding())
    api.interferences = [add_foreign(api)]
    await Finalizers(api).add(obj)
    assert finalizers_in(api) == [FOREIGN, FINALIZER]


async def test_a_concurrent_edit_survives_the_removal(api: FakeApi) -> None:
    obj = api.put(BINDINGS, binding(finalizers=[FINALIZER]))
    api.interferences = [add_foreign(api)]
    await Finalizers(api).remove(obj)
    assert finalizers_in(api) == [FOREIGN]


async def test_objects_that_are_gone_are_no_error(api: FakeApi) -> None:
    without, with_it = api.put(BINDINGS, binding()), api.put(BINDINGS, binding(finalizers=[FINALIZER]))
    api.drop(BINDINGS, "web", "payments")
    assert await Finalizers(api).add(without) is None
    await Finalizers(api).remove(with_it)
    assert api.objects == {}


async def test_another_object_of_the_same_name_keeps_its_finalizer(api: FakeApi) -> None:
    gone = api.put(BINDINGS, binding(finalizers=[FINALIZER]))
    api.put(BINDINGS, binding(finalizers=[FINALIZER]))
    await Finalizers(api).remove(gone)
    assert finalizers_in(api) == [FINALIZER]


async def test_removing_what_is_not_there_costs_no_request(api: FakeApi) -> None:
    await Finalizers(api).remove(api.put(BINDINGS, binding(finalizers=[FOREIGN])))
    assert api.requests == []


async def test_endless_contention_ends_in_a_conflict(api: FakeApi) -> None:
    obj = api.put(BINDINGS, binding())
    api.interferences = [relabel(api)] * TRIES
    with pytest.raises(KubeError, match="IAMBinding payments/web changed") as raised:
        await Finalizers(api).add(obj)
    assert raised.value.is_conflict
