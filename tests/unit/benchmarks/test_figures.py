import json
from pathlib import Path

import pytest

from benchmarks.figures import Benchmark, Figure, table, times, write_json

CALLS = Figure("calls", "calls", 1_204, baseline=2_408)
READS = Figure("calls Get", "Get", 4, is_part=True)
SECONDS = Figure("seconds", "seconds until all are Ready", 3.14159, decimals=1)


def test_json_has_every_figure_and_its_baseline(tmp_path: Path) -> None:
    written = tmp_path / "build" / "bench.json"
    write_json(written, [Benchmark("apply", "All applied", (CALLS, SECONDS))])
    assert json.loads(written.read_text()) == {
        "apply": {"calls": 1204, "calls_baseline": 2408, "seconds": 3.14159}
    }


def test_json_separates_variants(tmp_path: Path) -> None:
    written = tmp_path / "bench.json"
    write_json(written, [Benchmark("apply", "", (CALLS,), "one"), Benchmark("apply", "", (CALLS,), "two")])
    assert list(json.loads(written.read_text())) == ["apply on one", "apply on two"]


def test_table_aligns_numbers_with_their_headings() -> None:
    shown = table(
        "Cost",
        [Benchmark("apply", "applied", (CALLS, READS, SECONDS))],
        value="here",
        baseline="naive",
        ratio="ratio",
    )
    assert shown == [
        "Cost                             here   naive   ratio",
        "",
        "applied",
        "  calls                         1,204   2,408     0.5",
        "    Get                             4",
        "  seconds until all are Ready     3.1",
    ]


def test_variants_are_columns_and_missing_figures_are_dashes() -> None:
    one = Benchmark("apply", "applied", (CALLS, SECONDS), "one")
    two = Benchmark("apply", "applied", (CALLS, READS, SECONDS), "two")
    heads, _, _, _, reads, _ = table("Cost", [one, two], value="", baseline="naive", ratio="ratio")
    assert heads.split() == ["Cost", "one", "two", "naive", "ratio"]
    assert reads.split() == ["Get", "-", "4"]


@pytest.mark.parametrize(
    ("ratio", "shown"), [(0.00166, "0.0017"), (0.5, "0.5"), (3.14, "3.1"), (86.4, "86"), (1204.2, "1,204")]
)
def test_ratios_have_two_significant_or_all_integer_digits(ratio: float, shown: str) -> None:
    assert times(ratio) == shown
