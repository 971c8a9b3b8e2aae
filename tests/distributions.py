"""The two distributions of the checkout."""

import subprocess
import sys
from pathlib import Path

from tests.time_budget import HUNG_AFTER

ROOT = Path(__file__).parents[1]
SOURCES = {"cloudrun_identity": ROOT, "cloudrun_identity_playground": ROOT / "playground"}
"""Names of the packages, with the directory of their pyproject.toml."""


def build(directory: Path) -> None:
    """Write the sdist and the wheel of both packages into a directory, with the installed build backend."""
    for source in SOURCES.values():
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "--directory", str(directory)],
            cwd=source,
            capture_output=True,
            timeout=HUNG_AFTER,
            check=True,
        )
