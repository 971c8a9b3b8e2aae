"""Lists: pages, selectors, versions, tables."""

import pytest

from playground.tests.kubeapi.http import TABLE, Api
from playground.tests.kubeapi.widgets import Widgets

METADATA_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"


async def test_list_is_sorted_and_has_the_current_version(widgets: Widgets) -> None:
    for name in ("b", "a", "c"):
        last = await widgets.create(name)

    answer = await widgets.api.get(widgets.path)

    assert [item["metadata"]["name"] for item in answer.body["items"]] == ["a", "b", "c"]
    assert (answer.body["kind"], answer.body["apiVersion"]) == ("WidgetList", "contract.test/v1")
    assert int(answer.version) >= int(last["metadata"]["resourceVersion"])


async def test_list_returns_all_namespaces(widgets: Widgets) -> None:
    await widgets.create()

    answer = await widgets.api.get("/apis/contract.test/v1/widgets")

    owners = {item["metadata"]["namespace"] for item in answer.body["items"]}
    assert widgets.namespace in owners


async def test_pages_show_the_state_of_the_first_page(widgets: Widgets) -> None:
    for name in ("a", "b", "c", "d", "e"):
        await widgets.create(name)

    first = await widgets.api.get(widgets.path, limit="2")
    await widgets.create("aa")
    await widgets.api.delete(widgets.at("d"))
    seen = [item["metadata"]["name"] for item in first.body["items"]]
    token, page = first.body["metadata"]["continue"], first
    while token:
        page = await widgets.api.get(widgets.path, **{"limit": "2", "continue": token})
        seen += [item["metadata"]["name"] for item in page.body["items"]]
        token = page.body["metadata"].get("continue")

    assert first.body["metadata"]["remainingItemCount"] == 3
    assert seen == ["a", "b", "c", "d", "e"]
    assert page.version == first.version


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("app=x", ["a"]),
        ("app==x", ["a"]),
        ("app!=x", ["b", "c"]),
        ("app in (x,y)", ["a", "b"]),
        ("app notin (x)", ["b", "c"]),
        ("app", ["a", "b"]),
        ("!app", ["c"]),
        ("app,tier=1", ["b"]),
        ("x.test/k=v", ["c"]),
    ],
)
async def test_label_selector_filters_a_list(widgets: Widgets, selector: str, names: list[str]) -> None:
    await widgets.create("a", metadata={"labels": {"app": "x"}})
    await widgets.create("b", metadata={"labels": {"app": "y", "tier": "1"}})
    await widgets.create("c", metadata={"labels": {"x.test/k": "v"}})

    assert await widgets.names(labelSelector=selector) == names


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("metadata.name=a", ["a"]),
        ("metadata.name!=a", ["b"]),
        ("spec.mode=B", ["b"]),
        ("metadata.name=a,spec.mode=B", []),
    ],
)
async def test_field_selector_filters_a_list(widgets: Widgets, selector: str, names: list[str]) -> None:
    await widgets.create("a")
    await widgets.create("b", mode="B")

    assert await widgets.names(fieldSelector=selector) == names


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"fieldSelector": "spec.size=1"}, "field label not supported: spec.size"),
        ({"labelSelector": "a b"}, "unable to parse requirement"),
        ({"limit": "x"}, '"x"'),
        ({"resourceVersion": "x"}, '"x"'),
    ],
)
async def test_list_refuses_invalid_parameters(widgets: Widgets, query: dict[str, str], message: str) -> None:
    refused = await widgets.api.get(widgets.path, **query)

    assert (refused.code, refused.reason) == (400, "BadRequest")
    assert message in refused.message


async def test_list_of_a_future_version_times_out(widgets: Widgets) -> None:
    refused = await widgets.api.get(widgets.path, resourceVersion="99999999")

    assert (refused.code, refused.reason) == (504, "Timeout")
    assert refused.body["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


async def test_list_from_any_version_is_answered(widgets: Widgets) -> None:
    await widgets.create()

    assert await widgets.names(resourceVersion="0") == ["a"]


async def test_table_has_the_columns_of_the_definition(widgets: Widgets) -> None:
    await widgets.create(size=4)
    status = {"conditions": [{"type": "Other", "status": "False"}, {"type": "Ready", "status": "True"}]}
    await widgets.api.merge(widgets.at("a", "/status"), {"status": status})

    table = (await widgets.api.call("GET", widgets.path, accept=TABLE)).body

    columns = [(c["name"], c["type"], c["priority"]) for c in table["columnDefinitions"]]
    assert columns == [
        ("Name", "string", 0),
        ("Size", "integer", 0),
        ("Ready", "string", 0),
        ("Mode", "string", 1),
        ("Age", "date", 0),
    ]
    (row,) = table["rows"]
    assert row["cells"][:4] == ["a", 4, "True", "A"]
    assert row["cells"][4].endswith("s")
    assert row["object"]["kind"] == "PartialObjectMetadata"


async def test_table_cell_without_value_is_empty(widgets: Widgets) -> None:
    await widgets.create()

    table = (await widgets.api.call("GET", widgets.at("a"), accept=TABLE)).body

    assert table["rows"][0]["cells"][2] is None


@pytest.mark.parametrize(("include", "kind"), [("Object", "Widget"), ("Metadata", "PartialObjectMetadata")])
async def test_table_rows_include_the_requested_object(widgets: Widgets, include: str, kind: str) -> None:
    await widgets.create()

    table = (await widgets.api.call("GET", widgets.path, accept=TABLE, includeObject=include)).body

    assert table["rows"][0]["object"]["kind"] == kind


async def test_partial_metadata_list(widgets: Widgets) -> None:
    await widgets.create()

    partial = (await widgets.api.call("GET", widgets.path, accept=METADATA_LIST)).body

    assert partial["kind"] == "PartialObjectMetadataList"
    assert partial["items"][0].keys() == {"kind", "apiVersion", "metadata"}


@pytest.mark.parametrize(
    ("plural", "columns"),
    [
        ("namespaces", ["Name", "Status", "Age"]),
        ("secrets", ["Name", "Type", "Data", "Age"]),
        ("configmaps", ["Name", "Data", "Age"]),
    ],
)
async def test_table_of_a_built_in_kind(api: Api, plural: str, columns: list[str]) -> None:
    table = (await api.call("GET", f"/api/v1/{plural}", accept=TABLE)).body

    assert [column["name"] for column in table["columnDefinitions"]] == columns
