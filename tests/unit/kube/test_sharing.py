"""Equal parts of cached objects are one object, and remembered parts are bounded."""

from cloudrun_identity.kube.objects import compact
from cloudrun_identity.kube.sharing import SharedParts


def test_first_part_with_a_content_is_returned_for_equal_ones() -> None:
    parts = SharedParts[list[int]]()
    first = [1]
    assert parts.one_of("a", first) is first
    assert parts.one_of("a", [1]) is first
    assert parts.one_of("b", [2]) == [2]


def test_all_parts_are_forgotten_when_there_are_too_many() -> None:
    parts = SharedParts[list[int]](size=2)
    first, second = [1], [1]
    parts.one_of("a", first)
    parts.one_of("b", [2])
    parts.one_of("c", [3])
    assert parts.one_of("a", second) is second


def test_equal_flat_parts_of_two_objects_are_one() -> None:
    one, other = (
        compact({"metadata": {"name": name}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}})
        for name in ("one", "other")
    )
    assert one["status"]["conditions"][0] is other["status"]["conditions"][0]
    assert one["metadata"] is not other["metadata"]


def test_true_and_one_are_different_parts() -> None:
    one, other = (
        compact({"metadata": {"name": "web"}, "spec": {"ref": {"value": value}}}) for value in (True, 1)
    )
    assert one["spec"]["ref"]["value"] is True
    assert other["spec"]["ref"]["value"] is not True
