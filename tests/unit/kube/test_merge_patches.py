from hypothesis import given
from hypothesis import strategies as st

from cloudrun_identity.kube.merge_patches import merge_patch, merged
from cloudrun_identity.kube.resources import Object

scalars = st.booleans() | st.integers() | st.text(max_size=3)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.sampled_from("abc"), values, max_size=3)


@given(objects, objects)
def test_a_merge_patch_turns_the_old_into_the_new(old: Object, new: Object) -> None:
    assert merged(old, merge_patch(old, new)) == new


@given(objects)
def test_equal_objects_need_no_patch(obj: Object) -> None:
    assert merge_patch(obj, obj) == {}


def test_a_patch_is_applied_as_the_rfc_has_it() -> None:
    stored = {"a": "b", "c": {"d": "e", "f": "g"}, "l": [1]}
    assert merged(stored, {"a": "z", "c": {"f": None}, "l": [{}], "n": {"m": None, "o": 1}}) == {
        "a": "z",
        "c": {"d": "e"},
        "l": [{}],
        "n": {"o": 1},
    }
    assert stored == {"a": "b", "c": {"d": "e", "f": "g"}, "l": [1]}, "it stays as it was"
    assert merged("text", {"a": None, "b": 1}) == {"b": 1}
    assert merged({"a": 1}, [1]) == [1]
