"""Which worker of pytest-xdist runs which test.

The tests of one folder on one API server run on one worker: that server, and the operator on it, is started
once. The end-to-end tests, which wait for most of their time, are dealt out file by file to a few workers all
the same, and begun first; each of these stays with one server for as long as there are files for it. Unit
tests run file by file, all others one by one, wherever there is room. (`xdist_group` would say the same, but
pytest 9.2 no longer has what it rests on.)
"""

import re
from typing import Any

from xdist.scheduler import LoadScopeScheduling

from tests.servers.kube_apis import KUBE_APIS

STAGES = 3
"""How many workers may have a stage for end-to-end tests on one server; to set one takes some seconds."""

_DEALT_OUT = "tests/e2e/"

_LONGEST = ("tests/e2e/test_kills.py", "tests/e2e/test_keys.py")
"""Files that take longer than the number of their tests tells: these wait for operators to start."""

_QUICK = ("tests/unit/", "playground/tests/demo/")

_SERVER = re.compile(rf"[\[-]({'|'.join(map(re.escape, KUBE_APIS))})[\]-]")


class ByServer(LoadScopeScheduling):
    """The scheduler of `--dist loadscope`, with scopes and an order of our own."""

    def __init__(self, config: Any, log: Any) -> None:
        super().__init__(config, log)
        self._stages: dict[Any, str] = {}

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)

    def _assign_work_unit(self, node: Any) -> None:
        scope = next_scope(list(self.workqueue), self._stages.pop(node, ""), list(self._stages.values()))
        self._stages[node] = stage_of(scope)
        self.workqueue.move_to_end(scope, last=False)
        super()._assign_work_unit(node)


def scope_of(nodeid: str) -> str:
    """Name what a test is run together with; itself, if it needs no API server and takes a while."""
    file, _, test = nodeid.partition("::")
    server = _SERVER.search(test)
    if server is None:
        return file if file.startswith(_QUICK) else nodeid
    return f"{file if file.startswith(_DEALT_OUT) else file.rpartition('/')[0]} on {server[1]}"


def stage_of(scope: str) -> str:
    """Name the server that a scope wants a stage on; empty if it is no file of end-to-end tests."""
    return scope.rpartition(" on ")[2] if scope.startswith(_DEALT_OUT) and " on " in scope else ""


def next_scope(waiting: list[str], stage: str, others: list[str]) -> str:
    """Choose what a worker is to run.

    `waiting` are the scopes that nobody has yet, those with the most tests first, `stage` is the server that
    the worker has its stage on, if any, and `others` are those of the other workers.
    """
    dealt_out = sorted(filter(stage_of, waiting), key=lambda scope: not scope.startswith(_LONGEST))
    for scope in dealt_out:
        if stage_of(scope) == stage or (not stage and others.count(stage_of(scope)) < STAGES):
            return scope
    return next((scope for scope in waiting if not stage_of(scope)), waiting[0])


def scheduler(config: Any, log: Any) -> ByServer:
    """Make the scheduler of one run."""
    return ByServer(config, log)
