"""The pytest-xdist scheduler: which worker runs which tests, and in which order.

- Tests of one folder on one API server run on one worker, so that the server and its operator start once.
- End-to-end tests mostly wait. They start first and are distributed file by file over a few workers. A worker
  stays with one API server while there are files for it.
- Unit tests, and tests of the image and of the packages, run file by file, and all other tests one by one,
  wherever a worker is free.

`xdist_group` would express the same, but it does not work with pytest 9.2.
"""

from typing import Any

from xdist.scheduler import LoadScopeScheduling

from tests.servers.kube_apis import server_of

STAGES = 3
"""The number of workers that run end-to-end tests on one kind of API server.

Each of them starts an API server, an emulator and an operator.
"""

_END_TO_END = "tests/e2e/"

_LONGEST = ("tests/e2e/test_kills.py", "tests/e2e/test_keys.py")
"""Files that take longer than their number of tests suggests, because they wait for operators to start."""

_BY_FILE = (
    *("tests/unit/", "tests/gitops/", "tests/browser/", "playground/tests/demo/"),
    *("tests/test_image.py", "tests/test_installations.py", "tests/test_packages.py"),
)
"""Folders and files with many short tests, or with a fixture that takes seconds."""


class ByServer(LoadScopeScheduling):
    """The scheduler of `--dist loadscope` with other scopes and another order."""

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
    """Return the scope of a test. Tests of one scope run on one worker, one after the other."""
    file, _, _ = nodeid.partition("::")
    server = server_of(nodeid)
    if not server:
        return file if file.startswith(_BY_FILE) else nodeid
    return f"{file if file.startswith(_END_TO_END) else file.rpartition('/')[0]} on {server}"


def stage_of(scope: str) -> str:
    """Return the API server that end-to-end tests of a scope need; empty for all other scopes."""
    return scope.rpartition(" on ")[2] if scope.startswith(_END_TO_END) and " on " in scope else ""


def next_scope(waiting: list[str], stage: str, others: list[str]) -> str:
    """Choose the next scope of a worker.

    Args:
        waiting: Scopes that no worker has taken, those with the most tests first.
        stage: The API server that this worker runs end-to-end tests on, if any.
        others: The same of all other workers.

    """
    end_to_end = sorted(filter(stage_of, waiting), key=lambda scope: not scope.startswith(_LONGEST))
    for scope in end_to_end:
        if stage_of(scope) == stage or (not stage and others.count(stage_of(scope)) < STAGES):
            return scope
    return next((scope for scope in waiting if not stage_of(scope)), waiting[0])


def scheduler(config: Any, log: Any) -> ByServer:
    """Return the scheduler of one run."""
    return ByServer(config, log)
