"""The answers of kstatus for every kind in every state: a stored table, and the program that makes it.

    python -m tests.gitops.kstatus

writes the table. It needs Go, and downloads the modules of the program. The tests read the table. They run
the program only if Go and its modules are on the machine.
"""

import csv
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.gitops.states import Object, State, objects

PROGRAM: Final = Path(__file__).parents[1] / "data" / "kstatus"
TABLE: Final = PROGRAM / "table.tsv"
COLUMNS: Final = ("kind", "state", "generation", "observed", "conditions", "kstatus")

Row = tuple[str, ...]


def read_table() -> list[Row]:
    """Return the rows of the stored table."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file, dialect="excel-tab")
    assert tuple(header) == COLUMNS
    return [tuple(row) for row in rows]


def described(state: State, obj: Object) -> Row:
    """Return the columns of an object: everything that kstatus reads of a custom resource."""
    metadata, status = obj["metadata"], obj.get("status", {})
    found = status.get("conditions", ())
    conditions = [f"{each['type']}={each['status']}/{each['reason']}" for each in found]
    if "deletionTimestamp" in metadata:
        conditions.insert(0, "(being deleted)")
    observed = str(status.get("observedGeneration", ""))
    return obj["kind"], state.name, str(metadata["generation"]), observed, " ".join(conditions)


def unbuildable() -> str:
    """Return why the program cannot be built without a download; empty if it can."""
    if shutil.which("go") is None:
        return "Go is not installed"
    done = _go("list", "-deps", offline=True)
    return "the modules of tests/data/kstatus are not downloaded" if done.returncode else ""


def answers(inputs: Iterable[Object], *, offline: bool = True) -> Iterator[str]:
    """Yield the answer of kstatus for each object."""
    with tempfile.TemporaryDirectory() as directory:
        program = Path(directory) / "kstatus"
        built = _go("build", f"-o={program}", offline=offline)
        assert built.returncode == 0, built.stderr
        lines = "".join(f"{json.dumps(obj)}\n" for obj in inputs)
        done = subprocess.run([program], input=lines, capture_output=True, text=True, check=True)
    yield from done.stdout.splitlines()


def generated(*, offline: bool = True) -> list[Row]:
    """Return the table as the library answers now."""
    states = list(objects())
    found = answers((obj for _, obj in states), offline=offline)
    return [(*described(*each), answer) for each, answer in zip(states, found, strict=True)]


def write(rows: Iterable[Row]) -> None:
    """Write the table."""
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, dialect="excel-tab", lineterminator="\n")
        writer.writerows([COLUMNS, *rows])


def _go(*arguments: str, offline: bool) -> subprocess.CompletedProcess[str]:
    proxy = {"GOPROXY": "off"} if offline else {}
    command: Sequence[str] = ("go", arguments[0], "-mod=readonly", *arguments[1:])
    return subprocess.run(command, cwd=PROGRAM, env=os.environ | proxy, capture_output=True, text=True)


if __name__ == "__main__":
    write(generated(offline=False))
