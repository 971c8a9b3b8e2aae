"""Writes that a real API server refuses, and deletions with a propagation policy."""

from typing import Any

import pytest

from playground.tests.kubeapi.http import APPLY, Api, Object
from playground.tests.kubeapi.widgets import Widgets, widget

CONFIG_MAPS = "/api/v1/namespaces/{}/configmaps"
SECRETS = "/api/v1/namespaces/{}/secrets"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/{}/leases"
TWICE = (
    b'{"apiVersion":"contract.test/v1","kind":"Widget","metadata":{"name":"a"},"spec":{"size":1,"size":2}}'
)
TWICE_IN_YAML = b"apiVersion: contract.test/v1\nkind: Widget\nmetadata: {name: a}\nspec: {size: 1, size: 2}\n"


def owner(**fields: Any) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "1", **fields}


async def test_object_that_etcd_cannot_hold_is_refused(api: Api, namespace: str) -> None:
    path = CONFIG_MAPS.format(namespace)
    stored = await api.post(path, {"metadata": {"name": "a"}, "data": {"k": "x" * 1_500_000}})
    refused = await api.post(path, {"metadata": {"name": "b"}, "data": {"k": "x" * 1_600_000}})
    assert (stored.code, refused.code) == (201, 500)
    assert refused.message == "etcdserver: request is too large"


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ({"annotations": {"a": "x" * (256 << 10)}}, "metadata.annotations"),
        ({"annotations": {"a b": "x"}}, "metadata.annotations"),
        ({"labels": {"a b": "x"}}, "metadata.labels"),
        ({"ownerReferences": [owner(uid="")]}, "metadata.ownerReferences.uid"),
        ({"ownerReferences": [owner(name="")]}, "metadata.ownerReferences.name"),
        (
            {"ownerReferences": [owner(controller=True), owner(uid="2", controller=True)]},
            "metadata.ownerReferences",
        ),
    ],
)
async def test_invalid_metadata_is_refused_by_its_field(
    widgets: Widgets, metadata: Object, field: str
) -> None:
    refused = await widgets.api.post(widgets.path, widget(metadata=metadata))
    assert refused.code == 422
    assert field in [cause[0] for cause in refused.causes]


async def test_owner_without_uid_is_refused_in_a_built_in_kind_too(api: Api, namespace: str) -> None:
    reference = {name: text for name, text in owner().items() if name != "uid"}
    body = {"metadata": {"name": "a", "ownerReferences": [reference]}}
    refused = await api.post(CONFIG_MAPS.format(namespace), body)
    assert [cause[0] for cause in refused.causes] == ["metadata.ownerReferences.uid"]


async def test_type_of_a_secret_cannot_change(api: Api, namespace: str) -> None:
    path = SECRETS.format(namespace)
    await api.post(path, {"metadata": {"name": "a"}, "data": {"k": "dg=="}})
    refused = await api.merge(f"{path}/a", {"type": "example.com/other"})
    assert (refused.code, refused.causes[0][0]) == (422, "type")


@pytest.mark.parametrize("path", [SECRETS, CONFIG_MAPS])
async def test_data_with_an_invalid_key_is_refused(api: Api, namespace: str, path: str) -> None:
    body = {"metadata": {"name": "a"}, "data": {"a/b": "dg=="}}
    refused = await api.post(path.format(namespace), body)
    assert (refused.code, refused.causes[0][0]) == (422, "data[a/b]")


async def test_secret_of_more_than_a_mebibyte_is_refused(api: Api, namespace: str) -> None:
    body = {"metadata": {"name": "a"}, "stringData": {"k": "x" * ((1 << 20) + 1)}}
    refused = await api.post(SECRETS.format(namespace), body)
    assert (refused.code, refused.causes[0][0]) == (422, "data")


@pytest.mark.parametrize(
    ("field", "value"), [("leaseDurationSeconds", -1), ("leaseDurationSeconds", 0), ("leaseTransitions", -1)]
)
async def test_negative_numbers_of_a_lease_are_refused(
    api: Api, namespace: str, field: str, value: int
) -> None:
    refused = await api.post(LEASES.format(namespace), {"metadata": {"name": "a"}, "spec": {field: value}})
    assert (refused.code, refused.causes[0][0]) == (422, f"spec.{field}")


async def test_field_that_appears_twice_is_refused_under_strict(widgets: Widgets) -> None:
    refused = await widgets.api.post(widgets.path, TWICE, fieldValidation="Strict")
    warned = await widgets.api.post(widgets.path, TWICE, fieldValidation="Warn")
    assert refused.code == 400
    assert refused.message.endswith('strict decoding error: duplicate field "spec.size"')
    assert warned.code == 201
    assert warned.headers["Warning"] == ['299 - "duplicate field \\"spec.size\\""']


async def test_key_that_appears_twice_in_yaml_is_refused_under_strict(widgets: Widgets) -> None:
    async def apply(validation: str) -> Any:
        return await widgets.api.call(
            "PATCH",
            widgets.at("a"),
            TWICE_IN_YAML,
            content_type=APPLY,
            fieldManager="m",
            fieldValidation=validation,
        )

    refused, warned = await apply("Strict"), await apply("Warn")
    assert refused.code == 400
    assert 'line 4: key "size" already set in map' in refused.message
    assert warned.headers["Warning"] == ['299 - "line 4: key \\"size\\" already set in map"']


@pytest.mark.parametrize("fields", [[], [{"manager": "m", "operation": "Apply"}]])
async def test_apply_cannot_have_managed_fields(widgets: Widgets, fields: Any) -> None:
    refused = await widgets.api.apply(widgets.at("a"), widget(metadata={"managedFields": fields}), "m")
    assert (refused.code, refused.message) == (400, "metadata.managedFields must be nil")


@pytest.mark.parametrize("manager", ["m" * 129, "m\u0001"])
async def test_invalid_field_manager_is_refused(widgets: Widgets, manager: str) -> None:
    created = await widgets.api.post(widgets.path, widget(), fieldManager=manager)
    applied = await widgets.api.apply(widgets.at("a"), widget(), manager)
    assert (created.code, applied.code) == (422, 422)
    assert created.causes[0][0] == applied.causes[0][0] == "fieldManager"


@pytest.mark.parametrize(
    ("policy", "finalizer"), [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")]
)
async def test_propagation_policy_holds_a_deleted_object(
    widgets: Widgets, policy: str, finalizer: str
) -> None:
    await widgets.create()
    deleted = await widgets.api.delete(widgets.at("a"), {"propagationPolicy": policy})
    own = deleted.body["metadata"]
    assert (deleted.code, own["finalizers"], own["generation"]) == (200, [finalizer], 2)
    assert own["deletionTimestamp"]


@pytest.mark.parametrize(
    "options", [{"propagationPolicy": "Odd"}, {"propagationPolicy": "Orphan", "orphanDependents": True}]
)
async def test_invalid_propagation_policy_is_refused(widgets: Widgets, options: Object) -> None:
    await widgets.create()
    refused = await widgets.api.delete(widgets.at("a"), options)
    assert (refused.code, refused.causes[0][0]) == (422, "propagationPolicy")
