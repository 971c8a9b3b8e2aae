"""The answers of kstatus and Argo CD for every kind in every state: a stored table, and how it is made.

    python -m tests.gitops.answers

writes the table with two programs: one has the kstatus library, the other one the Lua interpreter of Argo CD.
They need Go and download their modules. The tests read the table. They run the programs only if Go and the
modules are on the machine.
"""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tests.documented import ROOT
from tests.gitops.go_program import GoProgram
from tests.gitops.states import Object, State, objects

DATA: Final = Path(__file__).parents[1] / "data" / "gitops"
KSTATUS: Final = GoProgram(DATA / "kstatus")
ARGO_CD: Final = GoProgram(DATA / "argo_cd")
HEALTH_CHECK: Final = ROOT / "argocd" / "cloudrun-identity.dev" / "CloudRunIdentity" / "health.lua"
"""Health check of every kind."""
TABLE: Final = DATA / "answers.tsv"
COLUMNS: Final = ("kind", "state", "generation", "observed", "conditions", "kstatus", "argo_cd")

Row = tuple[str, ...]


def read_table() -> list[Row]:
    """Return the rows of the stored table."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file, dialect="excel-tab")
    assert tuple(header) == COLUMNS
    return [tuple(row) for row in rows]


def described(state: State, obj: Object) -> Row:
    """Return the columns of an object: everything that kstatus and Argo CD read of it."""
    metadata, status = obj["metadata"], obj.get("status", {})
    found = status.get("conditions", ())
    conditions = [f"{each['type']}={each['status']}/{each['reason']}" for each in found]
    if "deletionTimestamp" in metadata:
        conditions.insert(0, "(being deleted)")
    observed = str(status.get("observedGeneration", ""))
    return obj["kind"], state.name, str(metadata["generation"]), observed, " ".join(conditions)


def unbuildable() -> str:
    """Return why a program cannot be built without a download; empty if both can."""
    return KSTATUS.unbuildable() or ARGO_CD.unbuildable()


def generated(*, offline: bool = True) -> list[Row]:
    """Return the table as the programs answer now. Argo CD has no health for a PolicyLedger."""
    states = list(objects())
    every = [obj for _, obj in states]
    kstatus = KSTATUS.answers(every, offline=offline)
    health = ARGO_CD.answers(every, str(HEALTH_CHECK), offline=offline)
    return [
        (*described(state, obj), status, "" if obj["kind"] == "PolicyLedger" else shown)
        for (state, obj), status, shown in zip(states, kstatus, health, strict=True)
    ]


def write(rows: Iterable[Row]) -> None:
    """Write the table."""
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, dialect="excel-tab", lineterminator="\n")
        writer.writerows([COLUMNS, *rows])


if __name__ == "__main__":
    write(generated(offline=False))
