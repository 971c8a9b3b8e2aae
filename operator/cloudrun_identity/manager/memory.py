"""Memory of the process: the garbage collector of Python, and the allocator of the C library.

With 10,000 objects, the cache consists of more than a million Python objects. They refer to each other, so
that each full collection would visit them all. They are freed when they are replaced, without a collection,
because they are in no cycle.

Beside them, the process has few but large buffers: pages of lists, ledgers and policies.
"""

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager, suppress

THRESHOLD = 10_000
"""Allocations between two collections. The default, 700, takes 6 % of the processor time of a reconcile."""

_NEVER = 10**9
"""Collections of the middle generation until a full one."""


@contextmanager
def exempt_from_collection() -> Iterator[None]:
    """Run no full collection in the block. Later ones do not visit the objects that exist at its end.

    Collections of new objects free the garbage of the block. Only `collect_all` frees a cycle of older ones.
    """
    thresholds = gc.get_threshold()
    gc.set_threshold(THRESHOLD, thresholds[1], _NEVER)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.freeze()


def collect_all() -> None:
    """Collect garbage among exempted objects, too: those of a manager that has ended."""
    gc.unfreeze()
    gc.collect()


def return_buffers() -> None:
    """Let the GNU C library return large buffers to the system when they are freed.

    By default, it keeps larger and larger ones for later use, in several arenas
    (https://man7.org/linux/man-pages/man3/mallopt.3.html). Other C libraries have no such settings.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in _SETTINGS:
            mallopt(parameter, value)


_SETTINGS = (
    (-3, 128 * 1024),  # M_MMAP_THRESHOLD: the initial value of the library, which grows unless it is set
    (-1, 8 * 2**20),  # M_TRIM_THRESHOLD: free memory at the end of the heap; less costs more page faults
    (-8, 1),  # M_ARENA_MAX: one arena for all threads
)
"""Parameters of `mallopt`, by their numbers in malloc.h, and their values."""
