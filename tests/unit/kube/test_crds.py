"""State of the installed CRDs, and compatibility of their schemas."""

import asyncio
import copy
import gc
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from cloudrun_identity.api import KINDS
from cloudrun_identity.api.crd import generate
from cloudrun_identity.api.schema import ApiModel
from cloudrun_identity.kube.crds import (
    SERVED,
    CrdReader,
    CrdState,
    CrdsUnsuitable,
    check_compatible,
    installed,
    missing_fields,
)
from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.kube.resources import CUSTOM_RESOURCE_DEFINITIONS, Object, Resource
from tests.unit.kube.fake_api import FakeApi

ESTABLISHED = {"conditions": [{"type": "Established", "status": "True"}]}


@cache
def definitions() -> dict[str, Object]:
    return generate()


def install(api: FakeApi, kind: str, *, status: Object = ESTABLISHED, **metadata: Any) -> Object:
    definition = copy.deepcopy(definitions()[kind])
    definition["metadata"].update(metadata)
    return api.put(CUSTOM_RESOURCE_DEFINITIONS, {**definition, "status": status})


def spec_properties(definition: Object) -> Object:
    schema: Object = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    fields: Object = schema["properties"]["spec"]["properties"]
    return fields


async def test_missing_crds_are_absent(api: FakeApi) -> None:
    assert set((await installed(api)).values()) == {CrdState.ABSENT}


async def test_states_follow_conditions_and_deletion_timestamp(api: FakeApi) -> None:
    install(api, "ManagedProject")
    install(api, "IAMBinding", status={"conditions": [{"type": "Established", "status": "False"}]})
    install(api, "PolicyLedger", deletionTimestamp="2030-01-01T00:00:00Z")
    assert await installed(api) == dict.fromkeys(KINDS, CrdState.ABSENT) | {
        "ManagedProject": CrdState.ESTABLISHED,
        "IAMBinding": CrdState.PENDING,
        "PolicyLedger": CrdState.DELETING,
    }


async def test_crd_with_null_conditions_is_pending(api: FakeApi) -> None:
    install(api, "IAMBinding", status={"conditions": None})
    assert (await installed(api))["IAMBinding"] is CrdState.PENDING


async def test_generated_crds_are_compatible(api: FakeApi) -> None:
    for kind in KINDS:
        install(api, kind)
    assert await check_compatible(api) == list(KINDS)
    assert api.writes == []


@pytest.mark.parametrize("kind", ["ManagedProject", "PolicyLedger"])
async def test_missing_required_crd_is_an_error(api: FakeApi, kind: str) -> None:
    for other in KINDS.keys() - {kind}:
        install(api, other)
    with pytest.raises(
        CrdsUnsuitable, match=rf"the {kind} CRD is not installed: run `cloudrun-identity crds \|"
    ):
        await check_compatible(api)


@pytest.mark.parametrize("kind", ["ManagedProject", "PolicyLedger"])
async def test_crd_being_deleted_is_still_served(api: FakeApi, kind: str) -> None:
    for each in KINDS:
        install(api, each)
    install(api, kind, deletionTimestamp="2030-01-01T00:00:00Z")
    assert kind in await check_compatible(api)
    assert (await installed(api))[kind] in SERVED


async def test_optional_crds_may_be_missing(api: FakeApi) -> None:
    install(api, "ManagedProject")
    install(api, "PolicyLedger")
    assert await check_compatible(api) == ["ManagedProject", "PolicyLedger"]
    assert api.writes == []


async def test_older_crd_is_an_error_that_names_the_missing_field(api: FakeApi) -> None:
    for kind in KINDS:
        install(api, kind)
    older = install(api, "ManagedProject")
    del spec_properties(older)["guardrails"]["properties"]["grants"]["items"]["properties"]["allowEscalation"]
    api.put(CUSTOM_RESOURCE_DEFINITIONS, older)
    with pytest.raises(
        CrdsUnsuitable, match=r"it has no \.spec\.guardrails\.grants\[\]\.allowEscalation; run `"
    ):
        await check_compatible(api)


async def test_newer_crd_is_compatible(api: FakeApi) -> None:
    for kind in KINDS:
        install(api, kind)
    newer = install(api, "ManagedProject")
    spec_properties(newer)["newField"] = {"type": "string"}
    api.put(CUSTOM_RESOURCE_DEFINITIONS, newer)
    await check_compatible(api)
    assert api.writes == []


async def test_crd_without_the_api_version_is_an_error(api: FakeApi) -> None:
    definition = install(api, "ManagedProject")
    definition["spec"]["versions"][0]["name"] = "v1beta1"
    api.put(CUSTOM_RESOURCE_DEFINITIONS, definition)
    with pytest.raises(CrdsUnsuitable, match="it has no version v1alpha1"):
        await check_compatible(api)


class Leaf(ApiModel):
    a: str


class Tree(ApiModel):
    leaves: tuple[Leaf, ...] = ()
    by_name: dict[str, Leaf] | None = None


def test_missing_fields_are_found_in_lists_and_maps() -> None:
    served = {"properties": {"leaves": {"items": {}}, "byName": {"additionalProperties": {"type": "object"}}}}
    assert list(missing_fields(Tree, served)) == [".leaves[].a", ".byName{}.a"]


def test_schema_that_preserves_unknown_fields_has_no_missing_fields() -> None:
    assert list(missing_fields(Tree, {"x-kubernetes-preserve-unknown-fields": True})) == []


def removals(schema: Object, path: str = "") -> Iterator[str]:
    """Yield the path of each field below spec and status, while the schema is without it."""
    for name, child in list(schema.get("properties", {}).items()):
        if path or name in ("spec", "status"):
            yield from removals(child, f"{path}.{name}")
            del schema["properties"][name]
            yield f"{path}.{name}"
            schema["properties"][name] = child
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(schema.get(key), dict):
            yield from removals(schema[key], f"{path}{mark}")


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_that_is_missing_from_a_crd_is_found(kind: str) -> None:
    schema = copy.deepcopy(definitions()[kind])["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert list(missing_fields(KINDS[kind], schema)) == []
    for removed in removals(schema):
        assert list(missing_fields(KINDS[kind], schema)) == [removed]


async def test_callers_that_wait_together_share_a_read_that_starts_later() -> None:
    reads, proceed = 0, asyncio.Event()

    class Slow(FakeApi):
        async def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
            nonlocal reads
            reads += 1
            await proceed.wait()
            return await super().get(resource, name, namespace)

    api = Slow()
    install(api, "IAMBinding")
    reader = CrdReader(api)
    first = asyncio.create_task(reader.state_of("IAMBinding"))
    await asyncio.sleep(0.01)
    later = [asyncio.create_task(reader.state_of("IAMBinding")) for _ in range(50)]
    await asyncio.sleep(0.01)
    assert reads == 1, "later callers wait, because the read that runs may not show their change"
    proceed.set()
    assert set(await asyncio.gather(first, *later)) == {CrdState.ESTABLISHED}
    assert reads == 2


async def test_failed_read_without_a_caller_is_not_reported_by_asyncio() -> None:
    proceed, reports = asyncio.Event(), list[str]()

    class Failing(FakeApi):
        async def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
            await proceed.wait()
            raise KubeError(500, "InternalError", "a test")

    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context["message"]))
    caller = asyncio.create_task(CrdReader(Failing()).state_of("IAMBinding"))
    await asyncio.sleep(0)
    (read,) = (task for task in asyncio.all_tasks() if task.get_name() == "CRD of IAMBinding")
    caller.cancel()
    await asyncio.wait([caller])
    proceed.set()
    await asyncio.wait([read])
    del read, caller
    gc.collect()
    assert reports == []
