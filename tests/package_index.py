"""The package index that pip is configured with, for tests that install what they test."""

import subprocess
import sys
import tempfile
from functools import cache
from importlib.metadata import version

import pytest

from tests.time_budget import HUNG_AFTER

PROBE = "packaging"
"""A small package, which is installed in the version to download."""


def require_package_index() -> None:
    """Skip the test if pip can download nothing."""
    if reason := _obstacle():
        pytest.skip(f"no package index: {reason}")


@cache
def _obstacle() -> str:
    with tempfile.TemporaryDirectory() as directory:
        tried = subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
                *("--no-deps", "--no-cache-dir", "--retries", "1", "--timeout", "15", "--dest", directory),
                f"{PROBE}=={version(PROBE)}",
            ],
            capture_output=True,
            text=True,
            timeout=HUNG_AFTER,
            check=False,
        )
    return "" if tried.returncode == 0 else (tried.stderr.strip().splitlines() or ["pip failed"])[-1]
