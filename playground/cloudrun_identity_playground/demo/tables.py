"""`kubectl get` without kubectl: the server's Table in kubectl's layout."""

from typing import Any

from .screen import align

ACCEPT = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
"""Accept header that requests a Table from a Kubernetes API server."""

_GAP, _MINIMUM = 3, 6  # kubectl's printer: spaces between columns, and the minimal width of a column


def render(table: dict[str, Any], *, with_namespace: bool = False) -> str:
    """Render a `meta.k8s.io/v1` Table as `kubectl get` does; `with_namespace` as with `--all-namespaces`.

    Columns with a priority other than 0 belong to `-o wide` and are left out. A cell ends at its first line
    break. A table without rows is empty.
    """
    if not table["rows"]:
        return ""
    shown = [index for index, column in enumerate(table["columnDefinitions"]) if not column.get("priority")]
    header = [table["columnDefinitions"][index]["name"].upper() for index in shown]
    rows = [[_cell(row["cells"][index]) for index in shown] for row in table["rows"]]
    if with_namespace:
        header.insert(0, "NAMESPACE")
        for cells, row in zip(rows, table["rows"], strict=True):
            cells.insert(0, row["object"]["metadata"].get("namespace", ""))
    return "\n".join("".join(cells).rstrip() for cells in align([header, *rows], gap=_GAP, minimum=_MINIMUM))


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case _:
            first, *others = str(value).splitlines() or [""]
            return f"{first}..." if others else first
