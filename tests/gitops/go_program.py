"""Programs in Go that ask a library about objects. They need Go, and their modules."""

import atexit
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class GoProgram:
    """A program that reads objects as lines of JSON, and prints one line for each."""

    directory: Path

    def unbuildable(self) -> str:
        """Return why the program cannot be built without a download; empty if it can."""
        if shutil.which("go") is None:
            return "Go is not installed"
        done = self._go("list", "-deps", offline=True)
        return f"the modules of {self.directory.name} are not downloaded" if done.returncode else ""

    def answers(
        self, inputs: Iterable[dict[str, Any]], *arguments: str, offline: bool = True
    ) -> Sequence[str]:
        """Return the line that the program prints for each object."""
        program = _built(self, offline)
        lines = "".join(f"{json.dumps(obj)}\n" for obj in inputs)
        done = subprocess.run([program, *arguments], input=lines, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    def build(self, program: Path, *, offline: bool) -> None:
        """Compile the program."""
        built = self._go("build", f"-o={program}", offline=offline)
        assert built.returncode == 0, built.stderr

    def _go(self, command: str, *arguments: str, offline: bool) -> subprocess.CompletedProcess[str]:
        proxy = {"GOPROXY": "off"} if offline else {}
        return subprocess.run(
            ["go", command, "-mod=readonly", *arguments],
            cwd=self.directory,
            env=os.environ | proxy,
            capture_output=True,
            text=True,
        )


@cache
def _built(program: GoProgram, offline: bool) -> Path:
    """Return the file of the compiled program, which the end of this process deletes."""
    directory = tempfile.TemporaryDirectory()
    atexit.register(directory.cleanup)
    file = Path(directory.name) / program.directory.name
    program.build(file, offline=offline)
    return file
