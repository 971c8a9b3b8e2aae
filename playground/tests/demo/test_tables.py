from typing import Any

from cloudrun_identity_playground.demo.tables import render

COLUMNS = [
    {"name": "Name", "type": "string"},
    {"name": "Ready", "type": "string"},
    {"name": "Message", "type": "string", "priority": 1},
    {"name": "Age", "type": "date"},
]


def table(*rows: list[Any]) -> dict[str, Any]:
    return {
        "columnDefinitions": COLUMNS,
        "rows": [
            {"cells": cells, "object": {"metadata": {"name": cells[0], "namespace": "payments"}}}
            for cells in rows
        ],
    }


def test_columns_have_kubectls_gap_and_omit_wide_ones() -> None:
    assert render(table(["checkout", "True", "as declared", "5s"], ["ci", "False", "", "12m"])) == (
        "NAME       READY   AGE\n"
        "checkout   True    5s\n"
        "ci         False   12m"
    )  # fmt: skip


def test_short_column_has_minimal_width() -> None:
    narrow = {
        "columnDefinitions": [{"name": "A"}, {"name": "B"}],
        "rows": [{"cells": ["x", "y"], "object": {"metadata": {}}}],
    }

    assert render(narrow) == "A     B\nx     y"


def test_all_namespaces_add_a_column() -> None:
    assert render(table(["checkout", "True", "", "5s"]), with_namespace=True) == (
        "NAMESPACE   NAME       READY   AGE\n"
        "payments    checkout   True    5s"
    )  # fmt: skip


def test_null_cell_is_empty_and_multiline_cell_is_cut() -> None:
    assert render(table(["checkout", None, "", "5s"], ["ci", "a\nb", "", "5s"])) == (
        "NAME       READY   AGE\n"
        "checkout           5s\n"
        "ci         a...    5s"
    )  # fmt: skip


def test_booleans_are_printed_as_json() -> None:
    assert render(table(["checkout", True, "", "5s"])).splitlines()[1] == "checkout   true    5s"


def test_table_without_rows_is_empty() -> None:
    assert render(table()) == ""
