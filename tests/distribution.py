"""Which worker of pytest-xdist runs which test.

The tests of one folder on one API server run on one worker: that server, and the operator on it, is started
once. The end-to-end tests, which wait for most of their time, are dealt out to several all the same. All
others run one by one, wherever there is room. (`xdist_group` would say the same, but pytest 9.2 no longer has
what it rests on.)
"""

import re
import zlib
from typing import Any

from xdist.scheduler import LoadScopeScheduling

from tests.servers.kube_apis import KUBE_APIS

_PARTS = {"tests/e2e": 2}
"""How many workers may share a folder's tests on one server, by file."""

_SERVER = re.compile(rf"[\[-]({'|'.join(map(re.escape, KUBE_APIS))})[\]-]")


class ByServer(LoadScopeScheduling):
    """The scheduler of `--dist loadscope`, with scopes of our own."""

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)


def scope_of(nodeid: str) -> str:
    """Name what a test is run together with; itself, if it needs no API server."""
    file, _, test = nodeid.partition("::")
    server = _SERVER.search(test)
    if server is None:
        return nodeid
    folder = file.rpartition("/")[0]
    part = f", part {zlib.crc32(file.encode()) % _PARTS[folder]}" if folder in _PARTS else ""
    return f"{folder} on {server[1]}{part}"


def scheduler(config: Any, log: Any) -> ByServer:
    """Make the scheduler of one run."""
    return ByServer(config, log)
