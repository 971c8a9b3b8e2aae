"""Functions on raw objects: the compact copy, namespaces, and merge patches."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.kube.objects import apply_merge_patch, build_merge_patch, compact, ensure_namespace
from cloudrun_identity.kube.resources import NAMESPACES, Object
from tests.unit.kube.fake_api import FakeApi

NAMESPACE: Object = {"metadata": {"name": "cloudrun-identity"}}

OBJECT: dict[str, Any] = {
    "kind": "IAMBinding",
    "metadata": {
        "name": "web",
        "labels": {"team": "payments"},
        "annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": "{}",
            "cloudrun-identity.dev/reconcile-requested-at": "now",
        },
        "managedFields": [{"manager": "kubectl"}],
        "finalizers": ["cloudrun-identity.dev/finalizer"],
    },
    "spec": {"suspend": False, "members": [{"principal": "user:ann@example.com"}], "description": None},
}

scalars = st.booleans() | st.integers() | st.text(max_size=3)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.sampled_from("abc"), values, max_size=3)


def test_compact_copy_drops_managed_fields_and_last_applied() -> None:
    expected = copy.deepcopy(OBJECT)
    del expected["metadata"]["managedFields"]
    del expected["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"]
    before = copy.deepcopy(OBJECT)
    assert compact(OBJECT) == expected
    assert before == OBJECT, "the original is unchanged"


def test_compact_copies_share_equal_strings() -> None:
    one, other = (compact(json.loads(json.dumps(OBJECT))) for _ in range(2))
    assert one["spec"]["members"][0]["principal"] is other["spec"]["members"][0]["principal"]
    assert all(mine is yours for mine, yours in zip(one["metadata"], other["metadata"], strict=True))


async def test_missing_namespace_is_created(api: FakeApi) -> None:
    await ensure_namespace(api, "cloudrun-identity")
    assert [name for _, _, name in api.objects] == ["cloudrun-identity"]


async def test_existing_namespace_is_unchanged(api: FakeApi) -> None:
    api.put(NAMESPACES, NAMESPACE)
    await ensure_namespace(api, "cloudrun-identity")
    assert api.writes == []


async def test_concurrent_creation_of_the_namespace_is_no_error(api: FakeApi) -> None:
    def create_meanwhile() -> None:
        api.put(NAMESPACES, NAMESPACE)

    api.interferences = [create_meanwhile]
    await ensure_namespace(api, "cloudrun-identity")
    assert len(api.objects) == 1


async def test_missing_permission_for_the_namespace_raises(api: FakeApi) -> None:
    api.outage = KubeError(403, "Forbidden", "cannot get namespaces")
    with pytest.raises(KubeError, match="cannot get namespaces"):
        await ensure_namespace(api, "cloudrun-identity")


@given(objects, objects)
def test_merge_patch_turns_the_old_object_into_the_new(old: Object, new: Object) -> None:
    assert apply_merge_patch(old, build_merge_patch(old, new)) == new


@given(objects)
def test_merge_patch_of_equal_objects_is_empty(obj: Object) -> None:
    assert build_merge_patch(obj, obj) == {}


def test_merge_patch_follows_rfc_7386() -> None:
    stored = {"a": "b", "c": {"d": "e", "f": "g"}, "l": [1]}
    assert apply_merge_patch(stored, {"a": "z", "c": {"f": None}, "l": [{}], "n": {"m": None, "o": 1}}) == {
        "a": "z",
        "c": {"d": "e"},
        "l": [{}],
        "n": {"o": 1},
    }
    assert stored == {"a": "b", "c": {"d": "e", "f": "g"}, "l": [1]}, "the stored object is unchanged"
    assert apply_merge_patch("text", {"a": None, "b": 1}) == {"b": 1}
    assert apply_merge_patch({"a": 1}, [1]) == [1]
