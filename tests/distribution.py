"""Which worker of pytest-xdist runs which test.

The tests of one folder on one API server run on one worker: that server, and the operator on it, is started
once. The end-to-end tests, which wait for most of their time, are dealt out to several all the same, and
begun first. Unit tests run file by file, all others one by one, wherever there is room. (`xdist_group` would
say the same, but pytest 9.2 no longer has what it rests on.)
"""

import re
import zlib
from typing import Any

from xdist.scheduler import LoadScopeScheduling

from tests.servers.kube_apis import KUBE_APIS

_PARTS = {"tests/e2e": 2}
"""How many workers may share a folder's tests on one server, by file; these take longest."""

_APART = ("tests/e2e/test_keys.py", "tests/e2e/test_kills.py")
"""Files of such a folder that would hold up a part: their tests wait for operators to start."""

_QUICK = "tests/unit/"

_SERVER = re.compile(rf"[\[-]({'|'.join(map(re.escape, KUBE_APIS))})[\]-]")


class ByServer(LoadScopeScheduling):
    """The scheduler of `--dist loadscope`, with scopes of our own."""

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)

    def _assign_work_unit(self, node: Any) -> None:
        if longest := next(filter(_is_long, self.workqueue), None):
            self.workqueue.move_to_end(longest, last=False)
        super()._assign_work_unit(node)


def scope_of(nodeid: str) -> str:
    """Name what a test is run together with; itself, if it needs no API server and takes a while."""
    file, _, test = nodeid.partition("::")
    server = _SERVER.search(test)
    if server is None:
        return file if file.startswith(_QUICK) else nodeid
    if file in _APART:
        return f"{file} on {server[1]}"
    folder = file.rpartition("/")[0]
    part = f", part {zlib.crc32(file.encode()) % _PARTS[folder]}" if folder in _PARTS else ""
    return f"{folder} on {server[1]}{part}"


def _is_long(scope: str) -> bool:
    return scope.startswith(tuple(_PARTS))


def scheduler(config: Any, log: Any) -> ByServer:
    """Make the scheduler of one run."""
    return ByServer(config, log)
