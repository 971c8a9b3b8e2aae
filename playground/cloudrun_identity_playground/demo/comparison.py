"""Differences between two states of Google Cloud, as lines to print."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from .google import CloudState, Policy, short_name


class Mark(StrEnum):
    """Sign of a line, as in `diff`."""

    ADDED = "+"
    REMOVED = "-"
    KEPT = " "


@dataclass(frozen=True, slots=True)
class Line:
    """One line, indented by `depth` levels."""

    mark: Mark
    text: str
    depth: int = 0

    def __str__(self) -> str:
        return f"{self.mark} {'  ' * self.depth}{self.text}"


@dataclass(frozen=True, slots=True)
class Section:
    """The lines about one resource."""

    heading: str
    lines: tuple[Line, ...]

    @property
    def is_changed(self) -> bool:
        """True if a line was added or removed."""
        return any(line.mark is not Mark.KEPT for line in self.lines)


def compare(before: CloudState, now: CloudState) -> Iterator[Section]:
    """Compare two states: first the workloads, then every policy that is not empty in both."""
    for workload, account in sorted(now.accounts_of_workloads.items()):
        former = before.accounts_of_workloads.get(workload, account)
        yield Section(f"{short_name(workload)} runs as", tuple(_replaced(former, account)))
    for resource in sorted(now.policies.keys() | before.policies.keys()):
        lines = tuple(_policy_lines(before.policies.get(resource, {}), now.policies.get(resource, {})))
        if lines:
            yield Section(f"{short_name(resource)} grants", lines)


def _replaced(former: str, current: str) -> Iterator[Line]:
    if former == current:
        yield Line(Mark.KEPT, current)
    else:
        yield Line(Mark.REMOVED, former)
        yield Line(Mark.ADDED, current)


def _policy_lines(before: Policy, now: Policy) -> Iterator[Line]:
    for role in sorted(before.keys() | now.keys()):
        members = list(_member_lines(before.get(role, ()), now.get(role, ())))
        marks = {line.mark for line in members}
        yield Line(marks.pop() if len(marks) == 1 else Mark.KEPT, role)
        yield from members


def _member_lines(before: Sequence[str], now: Sequence[str]) -> Iterator[Line]:
    for member in before:
        yield Line(Mark.KEPT if member in now else Mark.REMOVED, member, depth=1)
    for member in now:
        if member not in before:
            yield Line(Mark.ADDED, member, depth=1)
