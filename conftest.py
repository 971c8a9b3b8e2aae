"""Settings of all tests: hypothesis profiles, API servers, and the distribution over workers.

The environment variable `HYPOTHESIS_PROFILE` sets how many examples hypothesis generates: `default`, `quick`
while you edit, or `soak`, which takes hours and is meant for `-m hypothesis` alone.
"""

import os
from typing import Any

import pytest

# The plugin of trio, which no test uses, takes longer to import than hypothesis itself.
os.environ.setdefault("HYPOTHESIS_NO_PLUGINS", "1")

from hypothesis import settings

from tests.servers.kube_apis import described
from tests.smoke import is_smoke_test

settings.register_profile("default", max_examples=30, deadline=None, derandomize=True)
settings.register_profile("quick", max_examples=10, deadline=None, derandomize=True)
settings.register_profile("soak", max_examples=10_000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or "default")

# gRPC's core reads this when it is loaded. Without it, gRPC logs every server that a test ends.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--smoke",
        action="store_true",
        help="leave out slow tests and downloads; on the real API server, run the files of tests/smoke.py",
    )
    parser.addoption(
        "--outages",
        type=int,
        default=4,
        help="the number of outages of each API server in tests/e2e/test_outages.py; 20 are all combinations",
    )
    parser.addoption(
        "--accounts",
        type=int,
        default=20,
        help="the number of service accounts in tests/e2e/test_export_scale.py; at most 1,100",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("smoke"):
        selected = {
            item for item in items if is_smoke_test(item.nodeid, {mark.name for mark in item.iter_markers()})
        }
        config.hook.pytest_deselected(items=[item for item in items if item not in selected])
        items[:] = [item for item in items if item in selected]


def pytest_report_header() -> str:
    return described()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return three workers per processor, because end-to-end tests wait.

    Two leave the processors idle for a quarter of the time. Each collects all tests, so more take longer.
    """
    return 3 * (os.cpu_count() or 1)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    # Imported here, because a run without workers needs no pytest-xdist.
    from tests.distribution import scheduler

    return scheduler(config, log) if config.getvalue("dist") == "loadscope" else None
