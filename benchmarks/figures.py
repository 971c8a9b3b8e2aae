"""Results of benchmarks, as tables and as JSON."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MISSING = "-"


@dataclass(frozen=True, slots=True)
class Figure:
    """One number."""

    name: str
    """The key in JSON."""
    label: str
    """The label in tables."""
    value: float
    """The measured number."""
    baseline: float | None = None
    """The number to compare with, as the heading of the table describes it."""
    decimals: int = 0
    """The number of decimals in tables."""
    is_part: bool = False
    """True to indent the figure under the previous one."""
    unit: str = ""
    """The unit, if the label does not name it."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The figures of one benchmark. `variant` is its environment, if it runs in several."""

    name: str
    title: str
    figures: tuple[Figure, ...]
    variant: str = ""

    @property
    def key(self) -> str:
        """Return the key in JSON: `apply`, or `apply on embedded API`."""
        return f"{self.name} on {self.variant}" if self.variant else self.name


def write_json(path: Path, benchmarks: Iterable[Benchmark]) -> None:
    """Write {benchmark: {figure: number}}."""
    numbers = {benchmark.key: _numbers(benchmark.figures) for benchmark in benchmarks}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(numbers, indent=2, ensure_ascii=False) + "\n")


def table(
    heading: str, benchmarks: Sequence[Benchmark], *, value: str, baseline: str, ratio: str
) -> list[str]:
    """Return a table of benchmarks with one heading, grouped by title, and one column per variant.

    `value`, `baseline` and `ratio` are the headings of the columns. The ratio is that of the first variant.
    """
    variants = list(dict.fromkeys(benchmark.variant for benchmark in benchmarks))
    rows = [[heading, *(variant or value for variant in variants), baseline, ratio]]
    for title in dict.fromkeys(benchmark.title for benchmark in benchmarks):
        columns = {each.variant: each.figures for each in benchmarks if each.title == title}
        rows += [[""], [title], *_rows(variants, columns)]
    return aligned(rows)


def times(ratio: float) -> str:
    """Format a ratio with two significant digits, or all integer digits: `0.013`, `1.5`, `86`."""
    return f"{ratio:.2g}" if ratio < 10 else f"{ratio:,.0f}"


def number(value: float, decimals: int) -> str:
    """Format a number with digit grouping: `1,204.5`."""
    return f"{value:,.{decimals}f}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows as lines. The first column is aligned on the left, numbers on the right."""
    columns = max(map(len, rows))
    widths = [max(len(row[column]) for row in rows if column < len(row)) for column in range(columns)]
    return [
        "".join(
            cell.rjust(width + 3) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=False))
        ).rstrip()
        for row in rows
    ]


def _rows(variants: Sequence[str], columns: Mapping[str, tuple[Figure, ...]]) -> list[list[str]]:
    rows = []
    for name in _in_order(columns.values()):
        found = [
            next((each for each in columns.get(variant, ()) if each.name == name), None)
            for variant in variants
        ]
        first = next(figure for figure in found if figure)
        label = ("    " if first.is_part else "  ") + first.label
        rows.append([label, *(_value(figure) for figure in found), *_comparison(first)])
    return rows


def _in_order(columns: Iterable[tuple[Figure, ...]]) -> list[str]:
    """Return every name once. A name that only a later column has keeps its position there."""
    names: list[str] = []
    for figures in columns:
        place = 0
        for figure in figures:
            if figure.name in names:
                place = names.index(figure.name) + 1
            else:
                names.insert(place, figure.name)
                place += 1
    return names


def _value(figure: Figure | None) -> str:
    return MISSING if figure is None else number(figure.value, figure.decimals)


def _comparison(figure: Figure) -> list[str]:
    if figure.baseline is None:
        return []
    ratio = times(figure.baseline and figure.value / figure.baseline)
    return [number(figure.baseline, figure.decimals), ratio]


def _numbers(figures: Iterable[Figure]) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for figure in figures:
        numbers[figure.name] = figure.value
        if figure.baseline is not None:
            numbers[f"{figure.name}_baseline"] = figure.baseline
    return numbers
