"""Answers to unusual requests, which a careless stand-in gets wrong. They are those of a real API server."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from playground.tests.kubeapi.http import STRATEGIC, Answer, Api, Object
from playground.tests.kubeapi.widgets import API_VERSION, Widgets, widget

UNKNOWN_UID = "00000000-0000-0000-0000-000000000000"
CONFIG_MAPS = "/api/v1/namespaces/{}/configmaps"
EVENTS = "/api/v1/namespaces/{}/events"
SIZE_TWICE = b'{"spec":{"size":1,"size":2}}'
LABEL_TWICE = b'{"metadata":{"labels":{"a":"b","a":"c"}}}'
DATA_TWICE = b'{"data":{"a":"1","a":"2"}}'

Request = Callable[[Widgets], Awaitable[Answer]]


def create(metadata: Object | None = None, name: str = "b", **query: str) -> Request:
    return lambda widgets: widgets.api.post(widgets.path, widget(name, metadata=metadata), **query)


def merge(patch: Any, name: str = "a", subresource: str = "", **query: str) -> Request:
    return lambda widgets: widgets.api.merge(widgets.at(name, subresource), patch, **query)


def apply(spec: Object, metadata: Object | None = None, name: str = "a", **query: str) -> Request:
    config = {**widget(name, metadata=metadata), "spec": spec}
    return lambda widgets: widgets.api.apply(widgets.at(name), config, "other", **query)


def listed(**query: str) -> Request:
    return lambda widgets: widgets.api.get(widgets.path, **query)


class TestStrictPatches:
    """A patch is decoded with the object that it results in, so the error is that of the patch."""

    @pytest.mark.parametrize(
        ("request_", "problem"),
        [
            (merge(SIZE_TWICE, fieldValidation="Strict"), 'duplicate field "spec.size"'),
            (merge(LABEL_TWICE, fieldValidation="Strict"), 'duplicate field "metadata.labels.a"'),
            (merge({"spec": {"nope": 1}}, fieldValidation="Strict"), 'unknown field "spec.nope"'),
            (merge({"metadata": {"nope": 1}}, fieldValidation="Strict"), 'unknown field "metadata.nope"'),
            (
                merge({"status": {"nope": 1}}, subresource="/status", fieldValidation="Strict"),
                'unknown field "status.nope"',
            ),
        ],
        ids=["twice", "label twice", "unknown", "unknown metadata", "unknown status"],
    )
    async def test_patch_of_a_custom_resource_is_refused(
        self, widgets: Widgets, request_: Request, problem: str
    ) -> None:
        await widgets.create()
        refused = await request_(widgets)
        assert (refused.code, refused.causes[0][0]) == (422, "patch")
        assert refused.message.startswith(' "" is invalid: patch: ')
        assert f"strict decoding error: {problem}" in refused.message

    @pytest.mark.parametrize("content_type", ["application/merge-patch+json", STRATEGIC])
    async def test_patch_of_a_built_in_kind_is_refused(
        self, api: Api, namespace: str, content_type: str
    ) -> None:
        path = CONFIG_MAPS.format(namespace)
        await api.post(path, {"metadata": {"name": "a"}})
        refused = await api.call(
            "PATCH", f"{path}/a", DATA_TWICE, content_type=content_type, fieldValidation="Strict"
        )
        assert (refused.code, refused.causes[0][0]) == (422, "patch")
        assert 'strict decoding error: duplicate field "data.a"' in refused.message

    async def test_duplicate_is_a_warning_by_default(self, widgets: Widgets) -> None:
        await widgets.create()
        warned = await merge(SIZE_TWICE)(widgets)
        assert warned.body["spec"]["size"] == 2
        assert warned.headers["Warning"] == ['299 - "duplicate field \\"spec.size\\""']
        silent = await merge(SIZE_TWICE, fieldValidation="Ignore")(widgets)
        assert "Warning" not in silent.headers

    async def test_wrong_type_in_a_built_in_kind_is_an_invalid_patch(self, api: Api, namespace: str) -> None:
        path = CONFIG_MAPS.format(namespace)
        await api.post(path, {"metadata": {"name": "a"}})
        refused = await api.merge(f"{path}/a", {"data": {"a": 1}})
        assert (refused.code, refused.causes[0][0]) == (422, "patch")


class TestMetadata:
    async def test_unknown_field_is_dropped_with_a_warning(self, widgets: Widgets) -> None:
        created = await create({"nope": 1})(widgets)
        assert created.code == 201
        assert "nope" not in created.body["metadata"]
        assert created.headers["Warning"] == ['299 - "unknown field \\"metadata.nope\\""']

    async def test_unknown_field_is_refused_under_strict(self, widgets: Widgets) -> None:
        refused = await create({"nope": 1}, fieldValidation="Strict")(widgets)
        assert refused.code == 400
        assert refused.message.endswith('strict decoding error: unknown field "metadata.nope"')

    @pytest.mark.parametrize(
        ("request_", "field"),
        [
            (create({"finalizers": ["a b"]}), "metadata.finalizers"),
            (create({"labels": {"a": "x" * 64}}), "metadata.labels"),
            (create(name="x" * 254), "metadata.name"),
            (create({"name": "", "generateName": "Bad_"}), "metadata.generateName"),
            (create(fieldValidation="Odd"), "fieldValidation"),
            (merge({"spec": {"size": 1}}, force="true"), "force"),
        ],
        ids=["finalizer", "label", "name", "generateName", "fieldValidation", "force"],
    )
    async def test_invalid_request_is_refused_by_its_field(
        self, widgets: Widgets, request_: Request, field: str
    ) -> None:
        await widgets.create()
        refused = await request_(widgets)
        assert refused.code == 422
        assert field in [cause[0] for cause in refused.causes]

    async def test_finalizer_without_a_domain_is_a_warning(self, widgets: Widgets) -> None:
        created = await create({"finalizers": ["cleanup"]})(widgets)
        assert created.code == 201
        assert "prefer a domain-qualified finalizer name" in created.headers["Warning"][0]

    async def test_generated_name_has_at_most_63_characters(self, widgets: Widgets) -> None:
        body = widget("", metadata={"generateName": "g" * 80}, id="ab")
        created = await widgets.api.post(widgets.path, body)
        assert len(created.body["metadata"]["name"]) == 63

    async def test_invalid_object_is_refused_before_one_that_exists(self, widgets: Widgets) -> None:
        await widgets.create()
        assert (await widgets.api.post(widgets.path, widget(size=99))).code == 422
        assert (await widgets.api.post(widgets.path, widget())).code == 409

    @pytest.mark.parametrize("version", ["0", ""])
    async def test_update_names_the_version_that_it_replaces(self, widgets: Widgets, version: str) -> None:
        await widgets.create()
        refused = await widgets.api.put(widgets.at("a"), widget(metadata={"resourceVersion": version}))
        assert (refused.code, refused.causes[0][0]) == (422, "metadata.resourceVersion")

    async def test_name_of_a_namespace_has_no_dots(self, api: Api) -> None:
        refused = await api.post("/api/v1/namespaces", {"metadata": {"name": "a.b"}}, dryRun="All")
        assert (refused.code, refused.causes[0][0]) == (422, "metadata.name")

    @pytest.mark.parametrize("involved", ["elsewhere", ""])
    async def test_event_is_in_the_namespace_of_its_object(
        self, api: Api, namespace: str, involved: str
    ) -> None:
        about = {"kind": "Widget", "namespace": involved, "name": "a"}
        event = {"metadata": {"name": "e"}, "involvedObject": about, "reason": "R"}
        refused = await api.post(EVENTS.format(namespace), event)
        assert (refused.code, refused.causes[0][0]) == (422, "involvedObject.namespace")
        if not involved:
            stored = await api.post(EVENTS.format("default"), {**event, "metadata": {"generateName": "e-"}})
            assert stored.code == 201


class TestServerSideApply:
    """A configuration must have the types of its kind, or it cannot be merged."""

    @pytest.mark.parametrize(
        ("spec", "problem"),
        [
            ({"size": 1, "nope": 1}, ".spec.nope: field not declared in schema"),
            ({"size": "x"}, ".spec.size: expected numeric (int or float), got string"),
            ({"size": 1, "tags": ["q", "q"]}, '.spec.tags: duplicate entries for key [="q"]'),
            (
                {"size": 1, "parts": [{"name": "p"}, {"name": "p"}]},
                '.spec.parts: duplicate entries for key [name="p"]',
            ),
            (
                {"size": 1, "parts": [{"count": 3}]},
                ".spec.parts: element 0: associative list with keys has an element that omits all key fields "
                '["name"] (and doesn\'t have default values for any key fields)',
            ),
        ],
        ids=["unknown", "type", "set", "map", "key"],
    )
    async def test_configuration_of_another_type_is_refused(
        self, widgets: Widgets, spec: Object, problem: str
    ) -> None:
        await widgets.create()
        refused = await apply(spec, force="true")(widgets)
        assert refused.code == 500
        typed = f"failed to create typed patch object (/a; {API_VERSION}, Kind=Widget): "
        assert refused.message == typed + problem

    async def test_uid_prevents_that_a_deleted_object_is_created_again(self, widgets: Widgets) -> None:
        refused = await apply({"size": 1}, {"uid": UNKNOWN_UID}, name="absent")(widgets)
        assert (refused.code, refused.reason) == (409, "Conflict")
        assert "uid mismatch" in refused.message

    async def test_version_does_not_prevent_the_creation(self, widgets: Widgets) -> None:
        assert (await apply({"size": 1}, {"resourceVersion": "1"}, name="absent")(widgets)).code == 201


class TestLists:
    @pytest.fixture
    async def five(self, widgets: Widgets) -> Widgets:
        for number in range(5):
            labels = {"app": f"x{number % 2}", "n": str(number)}
            await widgets.create(f"l{number}", metadata={"labels": labels})
        return widgets

    async def test_page_of_a_selection_does_not_count_the_rest(self, five: Widgets) -> None:
        whole, selected = await listed(limit="1")(five), await listed(limit="1", labelSelector="app=x0")(five)
        assert whole.body["metadata"]["remainingItemCount"] == 4
        assert "remainingItemCount" not in selected.body["metadata"]
        assert selected.body["metadata"]["continue"]

    async def test_page_has_no_version_of_its_own(self, five: Widgets) -> None:
        page = await listed(limit="1")(five)
        following = {"limit": "1", "continue": page.body["metadata"]["continue"]}
        assert (await listed(**following)(five)).code == 200
        assert (await listed(**following, resourceVersion="5")(five)).code == 400

    @pytest.mark.parametrize(
        "query",
        [
            {"resourceVersionMatch": "Exact"},
            {"resourceVersionMatch": "Exact", "resourceVersion": "0"},
            {"resourceVersionMatch": "Odd", "resourceVersion": "1"},
            {"resourceVersionMatch": "NotOlderThan", "resourceVersion": "1", "watch": "true"},
        ],
    )
    async def test_version_match_that_does_not_fit_is_refused(
        self, widgets: Widgets, query: dict[str, str]
    ) -> None:
        refused = await listed(**query)(widgets)
        assert refused.code == 422
        assert "resourceVersionMatch" in refused.message

    @pytest.mark.parametrize(("selector", "names"), [("n>2", ["l3", "l4"]), ("n<2,app=x0", ["l0"])])
    async def test_numbers_in_labels_are_compared(
        self, five: Widgets, selector: str, names: list[str]
    ) -> None:
        assert await five.names(labelSelector=selector) == names

    @pytest.mark.parametrize("selector", ["-a=b", "app=-", "a/b/c=d"])
    async def test_selector_that_no_label_can_match_is_refused(self, widgets: Widgets, selector: str) -> None:
        assert (await listed(labelSelector=selector)(widgets)).code == 400

    @pytest.mark.parametrize(("query", "code"), [({"limit": "-1"}, 200), ({"continue": "garbage"}, 400)])
    async def test_odd_page_is_answered(self, widgets: Widgets, query: dict[str, str], code: int) -> None:
        assert (await listed(**query)(widgets)).code == code

    async def test_object_that_leaves_a_selection_is_shown_as_it_was(self, widgets: Widgets) -> None:
        created = await widgets.create(metadata={"labels": {"in": "yes"}})
        version = created["metadata"]["resourceVersion"]
        async with widgets.api.watch(
            widgets.path, labelSelector="in=yes", resourceVersion=version
        ) as watched:
            left = await merge({"metadata": {"labels": {"in": "no"}}})(widgets)
            event = await watched.next()
        assert event is not None
        assert (event["type"], event["object"]["metadata"]["labels"]) == ("DELETED", {"in": "yes"})
        assert event["object"]["metadata"]["resourceVersion"] == left.version
