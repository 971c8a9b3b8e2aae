"""Built-in kinds, discovery and OpenAPI."""

import asyncio
from typing import Any

import pytest
import yaml

from playground.tests.kubeapi.http import POLL_EVERY, Api, Object
from playground.tests.kubeapi.widgets import DEFINITION, DEFINITIONS, Widgets
from tests.time_budget import time_budget

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
CLEANUP = "customresourcecleanup.apiextensions.k8s.io"


def gadget_definition(**names: str) -> Object:
    definition: Object = yaml.safe_load(DEFINITION.read_text(encoding="utf-8"))
    definition["metadata"]["name"] = "gadgets.contract.test"
    definition["spec"]["names"] = {"plural": "gadgets", "kind": "Gadget", **names}
    return definition


def schema_of(definition: Object) -> Any:
    return definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


async def test_string_data_of_a_secret_is_encoded(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/secrets"

    created = await api.post(
        path, {"metadata": {"name": "s"}, "stringData": {"k": "v"}, "data": {"b": "dg=="}}
    )

    assert created.body["data"] == {"k": "dg==", "b": "dg=="}
    assert created.body["type"] == "Opaque"
    assert "stringData" not in created.body


async def test_immutable_config_map_cannot_change(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    await api.post(path, {"metadata": {"name": "c"}, "data": {"k": "v"}, "immutable": True})

    refused = await api.merge(f"{path}/c", {"data": {"k": "w"}})

    assert refused.code == 422
    assert "field is immutable when `immutable` is set" in refused.message


async def test_only_one_of_two_clients_gets_a_lease(api: Api, namespace: str) -> None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    spec = {"holderIdentity": "one", "renewTime": "2026-01-02T03:04:05.000000Z", "leaseDurationSeconds": 15}
    created = await api.post(path, {"metadata": {"name": "l"}, "spec": spec})

    first = await api.put(f"{path}/l", created.body | {"spec": spec | {"holderIdentity": "two"}})
    second = await api.put(f"{path}/l", created.body | {"spec": spec | {"holderIdentity": "three"}})

    assert (created.code, first.code, second.code) == (201, 200, 409)
    assert first.body["spec"]["holderIdentity"] == "two"


async def test_lease_time_without_microseconds_is_refused(api: Api, namespace: str) -> None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"

    refused = await api.post(
        path,
        {"metadata": {"name": "l"}, "spec": {"holderIdentity": "one", "renewTime": "2026-01-02T03:04:05Z"}},
    )

    assert (refused.code, refused.reason) == (400, "BadRequest")


async def test_event_is_served_in_both_groups(api: Api, namespace: str) -> None:
    event = {
        "metadata": {"generateName": "e-"},
        "involvedObject": {"kind": "Widget", "name": "a", "namespace": namespace},
        "reason": "Created",
        "message": "text",
        "type": "Normal",
    }
    created = await api.post(f"/api/v1/namespaces/{namespace}/events", event)
    assert created.code == 201, created.body

    newer = await api.get(
        f"/apis/events.k8s.io/v1/namespaces/{namespace}/events/{created.body['metadata']['name']}"
    )

    assert (newer.body["apiVersion"], newer.body["note"]) == ("events.k8s.io/v1", "text")
    assert newer.body["regarding"]["name"] == "a"


@pytest.mark.parametrize(("name", "count"), [("a", 1), ("b", 0)])
async def test_events_are_selected_by_their_object(api: Api, namespace: str, name: str, count: int) -> None:
    path = f"/api/v1/namespaces/{namespace}/events"
    involved = {"kind": "Widget", "name": "a", "namespace": namespace}
    await api.post(path, {"metadata": {"name": "e"}, "involvedObject": involved, "reason": "R"})

    found = await api.get(path, fieldSelector=f"involvedObject.kind=Widget,involvedObject.name={name}")

    assert len(found.body["items"]) == count


async def test_namespace_is_active_and_has_its_name_label(api: Api, namespace: str) -> None:
    body = (await api.get(f"/api/v1/namespaces/{namespace}")).body

    assert body["status"]["phase"] == "Active"
    assert body["spec"]["finalizers"] == ["kubernetes"]
    assert body["metadata"]["labels"]["kubernetes.io/metadata.name"] == namespace


async def test_namespace_is_deleted_with_its_objects(widgets: Widgets) -> None:
    await widgets.create("held", metadata={"finalizers": ["x.test/y"]})
    await widgets.create("free")
    path = f"/api/v1/namespaces/{widgets.namespace}"

    await widgets.api.delete(path)

    await widgets.api.eventually(widgets.at("free"), 404)
    assert (await widgets.api.get(path)).body["status"]["phase"] == "Terminating"
    await widgets.api.until(widgets.at("held"), lambda answer: "deletionTimestamp" in answer.body["metadata"])

    await widgets.api.merge(widgets.at("held"), {"metadata": {"finalizers": None}})

    await widgets.api.eventually(path, 404)


async def test_terminating_namespace_refuses_new_objects(widgets: Widgets) -> None:
    await widgets.create("held", metadata={"finalizers": ["x.test/y"]})
    await widgets.api.delete(f"/api/v1/namespaces/{widgets.namespace}")

    refused = await widgets.try_create("late")

    assert (refused.code, refused.reason) == (403, "Forbidden")
    assert "because it is being terminated" in refused.message

    await widgets.api.merge(widgets.at("held"), {"metadata": {"finalizers": None}})


async def test_definition_is_established_and_completed(api: Api) -> None:
    body = (await api.get(f"{DEFINITIONS}/widgets.contract.test")).body

    conditions = {c["type"]: c["status"] for c in body["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}
    assert body["status"]["storedVersions"] == ["v1"]
    assert body["status"]["acceptedNames"]["listKind"] == "WidgetList"


async def test_deleted_definition_waits_for_its_instances(api: Api, namespace: str) -> None:
    await api.post(DEFINITIONS, gadget_definition())
    collection = f"/apis/contract.test/v1/namespaces/{namespace}/gadgets"
    await api.eventually(collection, 200)
    body = {"apiVersion": "contract.test/v1", "kind": "Gadget", "spec": {"size": 1}}
    await api.post(collection, {**body, "metadata": {"name": "held", "finalizers": ["x.test/y"]}})
    await api.post(collection, {**body, "metadata": {"name": "free"}})

    async with api.watch(collection, resourceVersion="0") as watched:
        await api.delete(f"{DEFINITIONS}/gadgets.contract.test")
        await api.eventually(f"{collection}/free", 404)
        definition = (await api.get(f"{DEFINITIONS}/gadgets.contract.test")).body
        await api.merge(f"{collection}/held", {"metadata": {"finalizers": None}})
        await api.eventually(f"{DEFINITIONS}/gadgets.contract.test", 404)
        while await watched.next() is not None:
            pass

    assert definition["metadata"]["finalizers"] == [CLEANUP]
    assert "Terminating" in {c["type"] for c in definition["status"]["conditions"]}
    await api.eventually(collection, 404)


async def test_stricter_definition_leaves_old_objects_writable(api: Api, namespace: str) -> None:
    definition = gadget_definition()
    await api.post(DEFINITIONS, definition)
    collection = f"/apis/contract.test/v1/namespaces/{namespace}/gadgets"
    await api.eventually(collection, 200)
    old = {"apiVersion": "contract.test/v1", "kind": "Gadget", "metadata": {"name": "old"}}
    await api.post(collection, {**old, "spec": {"size": 5, "pattern": "a"}})

    schema_of(definition)["properties"]["spec"]["properties"]["size"]["maximum"] = 2
    await api.merge(f"{DEFINITIONS}/gadgets.contract.test", {"spec": definition["spec"]})
    await _until_refused(api, collection, {**old, "metadata": {"name": "new"}, "spec": {"size": 5}})
    elsewhere = await api.merge(f"{collection}/old", {"spec": {"pattern": "aa"}})
    status = await api.merge(f"{collection}/old/status", {"status": {"text": "x"}})
    larger = await api.merge(f"{collection}/old", {"spec": {"size": 4}})

    assert (elsewhere.code, status.code, larger.code) == (200, 200, 422)
    await api.delete(f"{DEFINITIONS}/gadgets.contract.test")
    await api.eventually(f"{DEFINITIONS}/gadgets.contract.test", 404)


async def _until_refused(api: Api, collection: str, body: Object) -> None:
    """Write until the server refuses it: a new schema applies a moment after the definition has it."""
    async with time_budget():
        while True:
            if (await api.post(collection, body, dryRun="All")).code == 422:
                return
            await asyncio.sleep(POLL_EVERY)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda d: d["metadata"].update(name="other.contract.test"), "metadata.name"),
        (lambda d: d["spec"]["versions"][0].update(storage=False), "spec.versions"),
        (
            lambda d: d["spec"]["versions"][0].pop("schema"),
            "spec.versions[0].schema.openAPIV3Schema",
        ),
        (
            lambda d: schema_of(d).update({"x-kubernetes-validations": [{"rule": "self.("}]}),
            "spec.validation.openAPIV3Schema.x-kubernetes-validations[0].rule",
        ),
        (
            lambda d: schema_of(d)["properties"]["spec"]["properties"]["pattern"].update(pattern="("),
            "spec.validation.openAPIV3Schema.properties[spec].properties[pattern].pattern",
        ),
        (
            lambda d: schema_of(d)["properties"]["spec"]["properties"]["pattern"].pop("type"),
            "spec.validation.openAPIV3Schema.properties[spec].properties[pattern].type",
        ),
        (
            lambda d: d["spec"]["versions"][0].update(
                additionalPrinterColumns=[{"name": "X", "type": "string", "jsonPath": "a"}]
            ),
            "spec.additionalPrinterColumns[0].JSONPath",
        ),
    ],
)
async def test_invalid_definition_is_refused(api: Api, change: Any, field: str) -> None:
    definition = gadget_definition()
    change(definition)

    refused = await api.post(DEFINITIONS, definition, dryRun="All")

    assert refused.code == 422
    assert field in [cause for cause, _, _ in refused.causes]


async def test_discovery_names_the_resource(api: Api) -> None:
    groups = (await api.get("/apis")).body
    listed = (await api.get("/apis/contract.test/v1")).body

    assert "contract.test" in {group["name"] for group in groups["groups"]}
    entries = {entry["name"]: entry for entry in listed["resources"]}
    assert entries["widgets"]["shortNames"] == ["wdg"]
    assert entries["widgets"]["categories"] == ["contract"]
    assert {"create", "patch", "watch", "deletecollection"} <= set(entries["widgets"]["verbs"])
    assert set(entries["widgets/status"]["verbs"]) == {"get", "patch", "update"}


@pytest.mark.parametrize("path", ["/api", "/apis"])
async def test_aggregated_discovery(api: Api, path: str) -> None:
    document = (await api.call("GET", path, accept=AGGREGATED)).body

    assert document["kind"] == "APIGroupDiscoveryList"
    resources = {
        resource["resource"]
        for group in document["items"]
        for version in group["versions"]
        for resource in version["resources"]
    }
    assert ("secrets" if path == "/api" else "widgets") in resources


async def test_openapi_describes_the_fields_and_how_to_patch_them(api: Api) -> None:
    await api.eventually("/openapi/v3/apis/contract.test/v1", 200)
    document = (await api.get("/openapi/v3/apis/contract.test/v1")).body

    schemas = {
        schema["x-kubernetes-group-version-kind"][0]["kind"]: schema
        for schema in document["components"]["schemas"].values()
        if schema.get("x-kubernetes-group-version-kind")
    }
    size = schemas["Widget"]["properties"]["spec"]["properties"]["size"]
    assert size["description"] == "How large it is."
    patch = document["paths"]["/apis/contract.test/v1/namespaces/{namespace}/widgets/{name}"]["patch"]
    assert "fieldValidation" in {parameter["name"] for parameter in patch["parameters"]}


async def test_openapi_index_leads_to_the_documents(api: Api) -> None:
    index = (await api.get("/openapi/v3")).body["paths"]

    document = await api.get(index["api/v1"]["serverRelativeURL"])

    assert document.body["openapi"].startswith("3.")


async def test_all_namespaces_cannot_be_deleted_at_once(api: Api) -> None:
    refused = await api.delete("/api/v1/namespaces")

    assert (refused.code, refused.reason) == (405, "MethodNotAllowed")


@pytest.mark.parametrize("path", ["/apis/none.test/v1", "/apis/contract.test/v1/none", "/none"])
async def test_unserved_path_is_not_found(api: Api, path: str) -> None:
    assert (await api.get(path)).code == 404


async def test_access_review_allows_the_administrator(api: Api) -> None:
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "create", "resource": "secrets"}},
    }

    answer = await api.post(path, review)

    assert (answer.code, answer.body["status"]["allowed"]) == (201, True)
