"""Run each command of the tutorial docs/tutorials/first-identity.md, as a reader does."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documented import ROOT
from tests.time_budget import HUNG_AFTER

PAGE = ROOT / "docs" / "tutorials" / "first-identity.md"
BLOCKS = re.findall(
    r"^```(sh|console)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
)
START = ("sh", "make demo ARGS=--keep\n")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed"),
]


class Reader:
    """A reader with a shell."""

    def __init__(self, home: Path) -> None:
        self._environment = {**os.environ, "HOME": str(home), "TMPDIR": str(home)}

    def runs(self, command: str) -> str:
        """Run commands in the folder of the repository; return the output."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=HUNG_AFTER,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def exports(self, name: str, value: str) -> None:
        """Set a variable for the next commands."""
        self._environment[name] = value


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """Provide a reader with a running demo, which is stopped at the end."""
    reader = Reader(tmp_path)
    printed = reader.runs(START[1])
    [kubeconfig] = re.findall(r"export KUBECONFIG=(\S+)", printed)
    [stop] = re.findall(r"^ *stop +(.*)$", printed, re.MULTILINE)
    reader.exports("KUBECONFIG", kubeconfig)
    yield reader
    reader.runs(stop)


def without_age(table: str) -> list[list[str]]:
    """Return the words of each line but the last one, which is the age."""
    return [line.split()[:-1] for line in table.splitlines()]


def test_each_command_of_the_tutorial_succeeds(reader: Reader) -> None:
    assert BLOCKS[0] == START
    for kind, block in BLOCKS[1:]:
        if kind == "sh":
            reader.runs(block)
        else:
            command, _, shown = block.removeprefix("$ ").partition("\n")
            assert without_age(reader.runs(command)) == without_age(shown)
