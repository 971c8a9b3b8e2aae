"""Garbage collection around the cache, and the settings of the allocator."""

import gc
import weakref

import pytest

from cloudrun_identity.manager.memory import THRESHOLD, collect_all, exempt_from_collection, return_buffers


class Node:
    """An object that refers to itself, so that only a collection frees it."""

    def __init__(self) -> None:
        self.itself = self


def test_objects_of_the_block_are_collected_only_on_request() -> None:
    with exempt_from_collection():
        garbage = weakref.ref(Node())
    gc.collect()
    assert garbage() is not None
    collect_all()
    assert garbage() is None


def test_new_objects_of_the_block_are_collected_in_it() -> None:
    with exempt_from_collection():
        garbage = weakref.ref(Node())
        filler = [[number] for number in range(2 * THRESHOLD)]
        assert garbage() is None
    assert filler
    collect_all()


def test_thresholds_are_as_before_after_a_failure() -> None:
    before = gc.get_threshold()
    with pytest.raises(OSError, match="unreachable"), exempt_from_collection():
        raise OSError("unreachable")
    assert gc.get_threshold() == before
    collect_all()


def test_buffers_are_returned_or_left_to_the_c_library() -> None:
    return_buffers()
