"""One object: created, read, replaced, deleted."""

import pytest

from playground.tests.kubeapi.http import Api, connect
from playground.tests.kubeapi.widgets import Widgets, widget
from tests.servers.kube_apis import KubeApi


async def test_create_sets_uid_version_and_generation(widgets: Widgets) -> None:
    created = await widgets.create()

    assert created["metadata"]["generation"] == 1
    assert created["metadata"]["namespace"] == widgets.namespace
    assert {"uid", "creationTimestamp", "resourceVersion"} <= created["metadata"].keys()
    assert await widgets.read() == created


async def test_create_ignores_status_and_server_fields(widgets: Widgets) -> None:
    sent = widget(metadata={"uid": "mine", "generation": 9, "deletionTimestamp": "2020-01-01T00:00:00Z"})

    created = (await widgets.api.post(widgets.path, {**sent, "status": {"text": "x"}})).body

    assert "status" not in created
    assert created["metadata"]["generation"] == 1
    assert created["metadata"]["uid"] != "mine"
    assert "deletionTimestamp" not in created["metadata"]


async def test_create_of_an_existing_name_conflicts(widgets: Widgets) -> None:
    await widgets.create()

    again = await widgets.api.post(widgets.path, widget())

    assert (again.code, again.reason) == (409, "AlreadyExists")
    assert again.message == 'widgets.contract.test "a" already exists'


async def test_generate_name_creates_distinct_names(widgets: Widgets) -> None:
    unnamed = widget(metadata={"generateName": "w-"})
    del unnamed["metadata"]["name"]

    names = [(await widgets.api.post(widgets.path, unnamed)).body["metadata"]["name"] for _ in range(2)]

    assert len(set(names)) == 2
    assert all(name.startswith("w-") for name in names)


async def test_missing_object_is_not_found(widgets: Widgets) -> None:
    answer = await widgets.api.get(widgets.at("none"))

    assert (answer.code, answer.reason) == (404, "NotFound")
    assert answer.message == 'widgets.contract.test "none" not found'
    assert answer.body["details"] == {"name": "none", "group": "contract.test", "kind": "widgets"}


async def test_create_in_a_missing_namespace_is_refused(api: Api) -> None:
    answer = await api.post("/apis/contract.test/v1/namespaces/ghost/widgets", widget())

    assert (answer.code, answer.message) == (404, 'namespaces "ghost" not found')


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"kind": "Gadget"}, 422, 'Gadget.contract.test "a" is invalid: kind: Invalid value: "Gadget"'),
        ({"apiVersion": "contract.test/v2"}, 400, "the API version in the data (contract.test/v2)"),
        ({"kind": None}, 400, "the object provided is unrecognized (must be of type Widget)"),
        ({"metadata": {}}, 422, "metadata.name: Required value: name or generateName is required"),
        ({"metadata": {"name": "Upper"}}, 422, "a lowercase RFC 1123 subdomain must consist of"),
        ({"metadata": {"name": "a", "namespace": "other"}}, 400, "the namespace of the provided object"),
        ({"metadata": {"name": "a", "labels": {"k": "b c"}}}, 422, "metadata.labels: Invalid value"),
        ({"metadata": {"name": "a", "labels": {"k": 5}}}, 400, "labels"),
    ],
)
async def test_create_refuses_a_wrong_type_or_name(
    widgets: Widgets, change: dict[str, object], code: int, message: str
) -> None:
    sent = {name: value for name, value in (widget() | change).items() if value is not None}

    answer = await widgets.api.post(widgets.path, sent)

    assert (answer.code, message in answer.message) == (code, True), answer.message


@pytest.mark.parametrize("body", [b"{x", b"[1]"])
async def test_create_refuses_a_body_that_is_not_an_object(widgets: Widgets, body: bytes) -> None:
    assert (await widgets.api.post(widgets.path, body)).reason == "BadRequest"


async def test_replace_needs_the_latest_version(widgets: Widgets) -> None:
    old = await widgets.create()
    new = await widgets.api.put(widgets.at("a"), {**old, "spec": {"size": 2}})

    stale = await widgets.api.put(widgets.at("a"), {**old, "spec": {"size": 4}})
    unversioned = await widgets.api.put(widgets.at("a"), widget(size=4))

    assert new.code == 200
    assert (stale.code, stale.reason) == (409, "Conflict")
    assert "the object has been modified; please apply your changes to the latest" in stale.message
    assert (unversioned.code, unversioned.causes[0][0]) == (422, "metadata.resourceVersion")


async def test_replace_refuses_another_name_and_another_uid(widgets: Widgets) -> None:
    old = await widgets.create()

    renamed = await widgets.api.put(widgets.at("a"), old | {"metadata": old["metadata"] | {"name": "b"}})
    other = await widgets.api.put(widgets.at("a"), old | {"metadata": old["metadata"] | {"uid": "other"}})

    assert (renamed.code, renamed.reason) == (400, "BadRequest")
    assert (other.code, other.reason) == (409, "Conflict")


async def test_generation_changes_with_the_spec_only(widgets: Widgets) -> None:
    await widgets.create()

    labelled = await widgets.api.merge(widgets.at("a"), {"metadata": {"labels": {"k": "v"}}})
    resized = await widgets.api.merge(widgets.at("a"), {"spec": {"size": 2}})
    reported = await widgets.api.merge(widgets.at("a", "/status"), {"status": {"text": "x"}})

    generations = [answer.body["metadata"]["generation"] for answer in (labelled, resized, reported)]
    assert generations == [1, 2, 2]


async def test_unchanged_write_creates_no_version(widgets: Widgets) -> None:
    created = await widgets.create()

    same = await widgets.api.merge(widgets.at("a"), {"spec": {"size": 1}})
    replaced = await widgets.api.put(widgets.at("a"), created)

    assert same.version == replaced.version == created["metadata"]["resourceVersion"]


async def test_status_is_written_through_the_subresource_only(widgets: Widgets) -> None:
    await widgets.create()

    by_status = await widgets.api.merge(
        widgets.at("a", "/status"),
        {"status": {"text": "new"}, "spec": {"size": 5}, "metadata": {"labels": {"k": "v"}}},
    )
    by_object = await widgets.api.merge(widgets.at("a"), {"status": {"text": "stolen"}})

    assert by_status.body["status"] == by_object.body["status"] == {"text": "new"}
    assert by_object.body["spec"]["size"] == 1
    assert "labels" not in by_object.body["metadata"]


async def test_status_write_is_checked_against_the_version_and_not_the_uid(widgets: Widgets) -> None:
    created = await widgets.create()
    version = created["metadata"]["resourceVersion"]
    first = await widgets.api.merge(
        widgets.at("a", "/status"),
        {"metadata": {"resourceVersion": version, "uid": "other"}, "status": {"text": "1"}},
    )

    stale = await widgets.api.merge(
        widgets.at("a", "/status"), {"metadata": {"resourceVersion": version}, "status": {"text": "2"}}
    )

    assert (first.code, stale.code) == (200, 409)


async def test_dry_run_stores_nothing(widgets: Widgets) -> None:
    await widgets.create("kept")

    created = await widgets.try_create("dry")
    patched = await widgets.api.merge(widgets.at("kept"), {"spec": {"size": 5}}, dryRun="All")
    deleted = await widgets.api.delete(widgets.at("kept"), dryRun="All")

    assert (created.code, patched.code, deleted.code) == (201, 200, 200)
    assert patched.body["spec"]["size"] == 5
    assert await widgets.names() == ["kept"]
    assert (await widgets.read("kept"))["spec"]["size"] == 1


@pytest.mark.parametrize("value", ["Some", "all", ""])
async def test_unknown_dry_run_is_refused_and_stores_nothing(widgets: Widgets, value: str) -> None:
    kept = await widgets.create("kept")
    at_kept = widgets.at("kept")

    refused = {
        "CreateOptions": await widgets.api.post(widgets.path, widget("dry"), dryRun=value),
        "UpdateOptions": await widgets.api.put(at_kept, widget("kept", size=5), dryRun=value),
        "PatchOptions": await widgets.api.merge(at_kept, {"spec": {"size": 5}}, dryRun=value),
        "DeleteOptions": await widgets.api.delete(at_kept, dryRun=value),
    }

    for kind, answer in refused.items():
        message = f'Unsupported value: ["{value}"]: supported values: "All"'
        assert (answer.code, answer.reason) == (422, "Invalid")
        assert answer.message == f'{kind}.meta.k8s.io "" is invalid: dryRun: {message}'
        assert answer.causes == [("dryRun", "FieldValueNotSupported", message)]
    assert await widgets.names() == ["kept"]
    assert await widgets.read("kept") == kept


@pytest.mark.parametrize("path", ["/kept", ""])
async def test_unknown_dry_run_in_delete_options_is_refused(widgets: Widgets, path: str) -> None:
    await widgets.create("kept")

    refused = await widgets.api.delete(widgets.path + path, {"dryRun": ["Some", "All"]})

    message = 'Unsupported value: ["Some","All"]: supported values: "All"'
    assert (refused.code, refused.causes) == (422, [("dryRun", "FieldValueNotSupported", message)])
    assert await widgets.names() == ["kept"]


async def test_second_delete_is_not_found(widgets: Widgets) -> None:
    created = await widgets.create()

    first = await widgets.api.delete(widgets.at("a"))
    second = await widgets.api.delete(widgets.at("a"))

    assert (first.code, first.body["status"]) == (200, "Success")
    assert first.body["details"]["uid"] == created["metadata"]["uid"]
    assert second.code == 404


@pytest.mark.parametrize("policy", ["Background", "Orphan"])
async def test_delete_accepts_a_propagation_policy(widgets: Widgets, policy: str) -> None:
    await widgets.create()

    await widgets.api.delete(widgets.at("a"), {"propagationPolicy": policy})

    assert (await widgets.api.eventually(widgets.at("a"), 404)).code == 404


@pytest.mark.parametrize("precondition", [{"uid": "other"}, {"resourceVersion": "1"}])
async def test_delete_checks_its_preconditions(widgets: Widgets, precondition: dict[str, str]) -> None:
    await widgets.create()

    answer = await widgets.api.delete(widgets.at("a"), {"preconditions": precondition})

    assert (answer.code, answer.reason) == (409, "Conflict")
    assert "in the precondition" in answer.message
    assert await widgets.names() == ["a"]


async def test_finalizer_delays_the_removal_of_an_object(widgets: Widgets) -> None:
    await widgets.create(metadata={"finalizers": ["x.test/y"]})

    deleted = await widgets.api.delete(widgets.at("a"))
    again = await widgets.api.delete(widgets.at("a"))

    assert deleted.code == again.code == 200
    assert deleted.body["metadata"]["deletionGracePeriodSeconds"] == 0
    assert deleted.body["metadata"]["generation"] == 2
    assert again.body["metadata"]["deletionTimestamp"] == deleted.body["metadata"]["deletionTimestamp"]
    assert again.version == deleted.version

    await widgets.api.merge(widgets.at("a"), {"metadata": {"finalizers": None}})

    assert (await widgets.api.get(widgets.at("a"))).code == 404


async def test_deleted_object_refuses_new_finalizers(widgets: Widgets) -> None:
    await widgets.create(metadata={"finalizers": ["x.test/y"]})
    await widgets.api.delete(widgets.at("a"))

    added = await widgets.api.merge(widgets.at("a"), {"metadata": {"finalizers": ["x.test/y", "x.test/z"]}})
    changed = await widgets.api.merge(widgets.at("a"), {"spec": {"size": 2}})

    assert added.code == 422
    assert "no new finalizers can be added if the object is being deleted" in added.message
    assert changed.code == 200

    await widgets.api.merge(widgets.at("a"), {"metadata": {"finalizers": None}})


async def test_delete_collection_removes_selected_objects(widgets: Widgets) -> None:
    await widgets.create("a", metadata={"labels": {"go": "yes"}})
    await widgets.create("b")

    answer = await widgets.api.delete(widgets.path, labelSelector="go=yes")

    assert answer.code == 200
    assert await widgets.names() == ["b"]


@pytest.mark.parametrize("token", ["", "wrong"])
async def test_request_without_a_valid_token_is_refused(kube_api: KubeApi, token: str) -> None:
    async with connect(kube_api.kubeconfig, token=token) as stranger:
        answer = await stranger.get("/api/v1/namespaces/default/secrets")

    # With RBAC, an anonymous request is forbidden.
    assert (answer.code, answer.reason) in [(401, "Unauthorized"), (403, "Forbidden")]
    assert answer.body["kind"] == "Status"


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz"])
async def test_health_needs_no_token(kube_api: KubeApi, path: str) -> None:
    async with connect(kube_api.kubeconfig, token="") as stranger:
        assert (await stranger.get(path)).code == 200
