"""Changes the manifests in a directory as recommendations say."""

from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cloudrun_identity.api import WorkloadKind
from cloudrun_identity.exporting.declared import Declared
from cloudrun_identity.exporting.suggestion_manifests import documents as suggested
from cloudrun_identity.gcp.workloads import Workload
from cloudrun_identity.iam.google_findings import RoleRecommendation
from cloudrun_identity.kube.manifest_files import read_manifests
from cloudrun_identity.recommendations.edits import CannotEdit, changed_text
from cloudrun_identity.recommendations.manifests import role_documents
from cloudrun_identity.recommendations.role_change import DeclaredKey, RoleChange

from .output_files import write_files

if TYPE_CHECKING:
    from .recommend_output import Markable, Report

NEW_OBJECTS = "recommended"
"""File of the directory with the new objects, without its number and `.yaml`."""


@dataclass(frozen=True, slots=True)
class Applied:
    """Changes in a directory."""

    lines: tuple[str, ...]
    """Changes, and what was left out, one line each."""
    recommendations: frozenset[str]
    """Names of the recommendations about roles that were applied to all their entries."""
    workloads: frozenset[Workload]
    """Workloads whose identities were written."""

    def has(self, each: "Markable") -> bool:
        """Return whether a recommendation was applied."""
        found = each.found
        if isinstance(found, RoleRecommendation):
            return found.name in self.recommendations
        workload = Workload(WorkloadKind.SERVICE, each.project_id, found.location, found.service)
        return workload in self.workloads


def apply_to(directory: Path, report: "Report", declared: Declared, namespace: str) -> Applied:
    """Change the files of a directory.

    A change that the guardrails do not admit is left out: the operator would refuse it.
    """
    lines: list[str] = []
    left_out: set[str] = set()
    found = read_manifests([directory], namespace)
    sources = {DeclaredKey(*key): source.path for key, source in found.sources.items()}
    by_file: dict[Path, list[RoleChange]] = {}
    for change in report.roles:
        path = sources.get(change.identity)
        if change.refusals:
            lines.append(f"left out: {change.identity} {change.path} is not admitted by guardrails")
            left_out.add(change.found.name)
        elif path is None:
            lines.append(f"left out: {change.identity} is not in {directory}")
            left_out.add(change.found.name)
        else:
            by_file.setdefault(path, []).append(change)
    changed: dict[Path, str] = {}
    for path, changes in by_file.items():
        try:
            changed[path] = changed_text(_read(path), changes, namespace)
        except CannotEdit as error:
            raise click.ClickException(f"{path}: {error}") from None
    admitted = [change for changes in by_file.values() for change in changes]
    new = [each.text for each in role_documents(admitted, declared)]
    suggestions = [
        each
        for each in report.suggestions
        if not each.refusal and not any(grant.refusal for grant in each.grants)
    ]
    new += (each.text for suggestion in suggestions for each in suggested([suggestion], declared))
    if new:
        text = "---\n".join(new)
        name = _free_name(directory, text)
        write_files(directory, {name: text})
        lines.append(f"wrote {directory / name}")
    for path, text in changed.items():
        _write(path, text)
        lines.append(f"changed {path}")
    return Applied(
        tuple(lines),
        frozenset(each.found.name for each in admitted) - left_out,
        frozenset(workload for each in suggestions if each.is_new for workload in each.workloads),
    )


def _free_name(directory: Path, text: str) -> str:
    """Return the first name of a file that does not exist, or that has this text."""
    names = (f"{NEW_OBJECTS}{f'-{number}' if number > 1 else ''}.yaml" for number in count(1))
    return next(name for name in names if not (directory / name).exists() or _read(directory / name) == text)


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{path}: {error}") from None


def _write(path: Path, text: str) -> None:
    try:
        path.write_bytes(text.encode())
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from None
