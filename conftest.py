"""What all tests share: the head of the report says which API servers they run on, and how many histories.

`HYPOTHESIS_PROFILE` chooses for how long counter-examples to properties are looked for: `default`, `quick`
while one is editing, or `soak`, which takes hours and is for the properties alone (`-m hypothesis`).
"""

import os
from typing import Any

import pytest
from hypothesis import settings

from tests.servers.kube_apis import described

settings.register_profile("default", max_examples=30, deadline=None, derandomize=True)
settings.register_profile("quick", max_examples=10, deadline=None, derandomize=True)
settings.register_profile("soak", max_examples=10_000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or "default")

# gRPC's core, which looks at this as it is loaded, would tell of every server that a test ends.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def pytest_report_header(config: pytest.Config) -> str:
    return described()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """More than there are processors: the end-to-end tests, which mostly wait, occupy most of the workers."""
    return 4 * (os.cpu_count() or 1)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    # Imported here, because a run without workers needs no pytest-xdist.
    from tests.distribution import scheduler

    return scheduler(config, log) if config.getvalue("dist") == "loadscope" else None
