"""Garbage collection around the cache, and the settings of the allocator."""

import ctypes
import gc
import weakref
from types import SimpleNamespace

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


def test_settings_are_passed_to_the_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, int]] = []
    library = SimpleNamespace(mallopt=lambda *setting: calls.append(setting))
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    return_buffers()
    assert calls == [(-3, 128 * 1024), (-1, 8 * 2**20), (-8, 1)]


def test_c_library_without_such_settings_is_tolerated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace())
    return_buffers()
