"""Results of `cloudrun-identity check`, as text and as JSON."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

import click


class State(StrEnum):
    """Result of one check."""

    PASSED = "Passed"
    FAILED = "Failed"
    SKIPPED = "Skipped"
    """Not checked. The message states the reason."""


MARKS = {State.PASSED: "✔", State.FAILED: "✗", State.SKIPPED: "-"}
_COLORS = {State.PASSED: "green", State.FAILED: "red", State.SKIPPED: "yellow"}


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the report."""

    check: str
    """Subject of the check, such as `CRDs` or `ManagedProject shop: permissions`."""
    state: State
    """Result."""
    message: str
    """Finding."""
    remedy: tuple[str, ...] = ()
    """Commands, one a line, or the field to change; empty unless the check failed."""


def passed(check: str, message: str) -> Result:
    """Return the result of a check that passed."""
    return Result(check, State.PASSED, message)


def failed(check: str, message: str, *remedy: str) -> Result:
    """Return the result of a check that failed, with the commands that repair it."""
    return Result(check, State.FAILED, message, remedy)


def skipped(check: str, message: str) -> Result:
    """Return the result of a check that was not made, with the reason."""
    return Result(check, State.SKIPPED, message)


def all_passed(results: Iterable[Result]) -> bool:
    """Return whether no check failed."""
    return all(result.state is not State.FAILED for result in results)


def as_text(results: Iterable[Result], *, colors: bool = False) -> str:
    """Return one line for each result, with the commands that repair it below."""
    return "\n".join(_lines(results, colors=colors))


def _lines(results: Iterable[Result], *, colors: bool) -> Iterator[str]:
    for result in results:
        mark = MARKS[result.state]
        shown = click.style(mark, fg=_COLORS[result.state]) if colors else mark
        yield f"{shown} {result.check}: {result.message}"
        yield from (f"    {line}" for line in result.remedy)


def as_json(results: Iterable[Result]) -> dict[str, object]:
    """Return the results for `-o json`."""
    listed = list(results)
    return {
        "passed": all_passed(listed),
        "checks": [
            {
                "check": result.check,
                "state": result.state,
                "message": result.message,
                "remedy": list(result.remedy),
            }
            for result in listed
        ],
    }
