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


def test_columns_are_three_spaces_apart_and_those_of_o_wide_are_left_out() -> None:
    assert render(table(["checkout", "True", "as declared", "5s"], ["ci", "False", "", "12m"])) == (
        "NAME       READY   AGE\n"
        "checkout   True    5s\n"
        "ci         False   12m"
    )  # fmt: skip


def test_a_short_column_is_six_wide() -> None:
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


def test_a_cell_without_a_value_is_empty_and_one_of_many_lines_is_cut() -> None:
    assert render(table(["checkout", None, "", "5s"], ["ci", "a\nb", "", "5s"])) == (
        "NAME       READY   AGE\n"
        "checkout           5s\n"
        "ci         a...    5s"
    )  # fmt: skip


def test_booleans_are_written_as_json_writes_them() -> None:
    assert render(table(["checkout", True, "", "5s"])).splitlines()[1] == "checkout   true    5s"


def test_nothing_is_printed_for_no_rows() -> None:
    assert render(table()) == ""
