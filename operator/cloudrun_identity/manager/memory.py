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


@contextmanager
def exempt_from_collection() -> Iterator[None]:
    """Run no collection in the block, and exempt from later ones all objects that exist at its end."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
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
        for parameter, value in ((_M_MMAP_THRESHOLD, _LARGE), (_M_TRIM_THRESHOLD, _LARGE), (_M_ARENA_MAX, 1)):
            mallopt(parameter, value)


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGE = 128 * 1024
"""Bytes. It is the initial value of the library, which grows unless it is set."""
