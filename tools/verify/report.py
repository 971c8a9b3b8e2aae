"""The report of a run, as text and as JSON, to attach to an issue. It contains no secrets."""

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from typing import Any, Final

from .beliefs import Result
from .runner import Finding
from .sandbox import PREFIX

_LIBRARIES: Final = ("google-cloud-iam", "google-cloud-run", "google-cloud-resource-manager", "grpcio")
_WIDTH: Final = 110

_ADDRESS: Final = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_NUMBER: Final = re.compile(r"\b\d{9,}\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The findings of a run, with its environment."""

    service: str
    """`Google Cloud`, or the address of an emulator."""
    project_id: str
    """ID of the project."""
    location: str
    """Region of the workloads."""
    version: str
    """Version of the operator."""
    time: datetime
    """Start of the run."""
    findings: tuple[Finding, ...]
    """Results, in the order of the catalog."""
    left: tuple[str, ...] = ()
    """Temporary resources that could not be removed."""

    @property
    def passed(self) -> bool:
        """True if every belief that was checked holds, and no resource is left."""
        return not self.left and all(
            finding.result in (Result.HOLDS, Result.SKIPPED) for finding in self.findings
        )


def as_text(report: Report) -> str:
    """Return the report for a reader."""
    return "\n".join(_lines(report))


def as_json(report: Report) -> Mapping[str, Any]:
    """Return the report for a program."""
    return {
        "service": report.service,
        "project": report.project_id,
        "location": report.location,
        "version": report.version,
        "libraries": _libraries(),
        "time": report.time.isoformat(timespec="seconds"),
        "passed": report.passed,
        "beliefs": [
            {
                "id": finding.belief.id,
                "statement": finding.belief.statement,
                "breaks": finding.belief.breaks,
                "modules": list(finding.belief.modules),
                "cost": finding.belief.cost.value,
                "result": finding.result.value.lower(),
                "seconds": round(finding.seconds, 1),
                "observations": [
                    {"subject": each.subject, "answer": each.answer, "result": each.result.value.lower()}
                    for each in finding.observations
                ],
            }
            for finding in report.findings
        ],
        "left": list(report.left),
    }


def redacted(text: str, project_id: str) -> str:
    """Return a report without the project's id, e-mail addresses, project numbers and unique ids.

    The names of temporary accounts remain, because they contain nothing of the project.
    """
    text = _ADDRESS.sub(lambda found: _address(found[0]), text)
    return _NUMBER.sub("NUMBER", text.replace(project_id, "PROJECT"))


def _address(address: str) -> str:
    name = address.partition("@")[0]
    return f"{name}@PROJECT.iam.gserviceaccount.com" if name.startswith(PREFIX) else "ADDRESS"


def _lines(report: Report) -> Iterator[str]:
    yield f"cloudrun-identity {report.version}: beliefs about Google Cloud"
    yield f"service: {report.service}; project: {report.project_id}; location: {report.location}"
    yield "time: " + report.time.isoformat(timespec="seconds")
    yield "libraries: " + ", ".join(f"{name} {version}" for name, version in _libraries().items())
    for finding in report.findings:
        yield ""
        duration = f", {finding.seconds:.0f} s" if finding.observations else ""
        yield f"{finding.result:<8} {finding.belief.id}{duration}"
        yield from _wrapped(finding.belief.statement, "    ")
        if finding.result is Result.FALSE:
            yield from _wrapped(f"This breaks: {finding.belief.breaks}", "    ")
        if finding.result is Result.SKIPPED:
            yield f"    Not checked. To check it, add --{finding.belief.cost}."
        for each in finding.observations:
            yield from _wrapped(f"{each.result:<8} {each.subject}: {each.answer}", "    - ")
    yield ""
    for line in report.left:
        yield from _wrapped(f"Left in the project: {line}", "")
    yield _summary(report.findings)


def _summary(findings: Sequence[Finding]) -> str:
    counts = {result: sum(each.result is result for each in findings) for result in Result}
    return ", ".join(f"{count} {result.lower()}" for result, count in counts.items() if count)


def _wrapped(text: str, indent: str) -> Iterator[str]:
    yield from textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=" " * len(indent),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _libraries() -> Mapping[str, str]:
    return {name: metadata.version(name) for name in _LIBRARIES}
