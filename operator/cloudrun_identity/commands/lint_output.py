"""Formats of the findings of `cloudrun-identity lint`."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from .code_review import annotation, sarif_log, sarif_result

if TYPE_CHECKING:
    from cloudrun_identity.kube.manifest_files import Manifests, Source
    from cloudrun_identity.linting.lint import LintFinding

INVALID = "InvalidManifest"
"""Rule of manifests that cannot be read as objects."""

_COLORS = {"error": "red", "warning": "yellow", "note": "cyan"}
_GITHUB_LEVELS = {"error": "error", "warning": "warning", "note": "notice"}


@dataclass(frozen=True, slots=True)
class Line:
    """One finding as a user reads it."""

    level: str
    """Severity: error, warning or note."""
    rule: str
    """Name of the rule."""
    object: str
    """The object; empty if the message names it."""
    message: str
    """Explanation with the remedy."""
    source: "Source | None" = None
    """Place of the manifest; None if the message names it."""

    def __str__(self) -> str:
        where = f"{self.source.path}:{self.source.line}: " if self.source else ""
        about = f"{self.object}: " if self.object else ""
        return f"{where}{self.level}: {about}{self.message} [{self.rule}]"


def lines_of(manifests: "Manifests", findings: Iterable["LintFinding"]) -> tuple[Line, ...]:
    """Return the problems of reading the files, and then the findings, by place."""
    problems = (Line("error", INVALID, "", problem) for problem in manifests.problems)
    found = (
        Line(
            each.level.value,
            str(each.rule),
            str(each.object),
            each.message,
            manifests.sources.get((each.object.kind, each.object.namespace, each.object.name)),
        )
        for each in findings
    )
    levels = list(_COLORS)
    return (*problems, *sorted(found, key=lambda each: (_place(each.source), levels.index(each.level))))


def as_text(lines: Iterable[Line], note: str, *, colors: bool) -> Iterator[str]:
    """Yield one line per finding, and the counts."""

    def styled(text: str, **style: Any) -> str:
        return click.style(text, **style) if colors else text

    listed = list(lines)
    for each in listed:
        yield styled(str(each), fg=_COLORS[each.level])
    if note:
        yield styled(f"Note: {note}", dim=True)
    counts = Counter(each.level for each in listed)
    yield ", ".join(f"{counts[level]} {level}{'' if counts[level] == 1 else 's'}" for level in _COLORS)


def as_json(lines: Iterable[Line], note: str) -> dict[str, object]:
    """Return the findings for `-o json`."""
    return {
        "notes": [note] if note else [],
        "findings": [
            {
                "level": each.level,
                "rule": each.rule,
                "object": each.object or None,
                "message": each.message,
                "file": each.source.path.as_posix() if each.source else None,
                "line": each.source.line if each.source else None,
            }
            for each in lines
        ],
    }


def as_annotations(lines: Iterable[Line]) -> Iterator[str]:
    """Yield a GitHub workflow command for each finding."""
    for each in lines:
        title = f"{each.object}: {each.rule}" if each.object else each.rule
        yield annotation(_GITHUB_LEVELS[each.level], each.source, title, each.message)


def as_sarif(lines: Iterable[Line], note: str, version: str, exit_code: int) -> dict[str, object]:
    """Return the findings as a SARIF log."""
    results = (
        sarif_result(each.rule, each.level, f"{each.object}: {each.message}".lstrip(": "), each.source)
        for each in lines
    )
    return sarif_log("lint", version, results, exit_code=exit_code, notes=[note] if note else [])


def _place(source: "Source | None") -> tuple[str, int]:
    return (source.path.as_posix(), source.line) if source else ("", 0)
