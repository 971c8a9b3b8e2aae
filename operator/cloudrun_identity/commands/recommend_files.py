"""Changes the manifests in a directory as recommendations say."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cloudrun_identity.exporting.declared import Declared
from cloudrun_identity.exporting.suggestion_manifests import documents as suggested
from cloudrun_identity.kube.manifest_files import read_manifests
from cloudrun_identity.recommendations.changes import DeclaredKey, RoleChange
from cloudrun_identity.recommendations.edits import CannotEdit, changed_text
from cloudrun_identity.recommendations.manifests import role_documents

from .output_files import write_files

if TYPE_CHECKING:
    from .recommend_output import Report

NEW_OBJECTS = "recommended.yaml"
"""File of the directory with the new objects."""


def apply_to(directory: Path, report: "Report", declared: Declared, namespace: str) -> Iterator[str]:
    """Change the files of a directory, and yield what was done.

    A change that the guardrails do not admit is left out: the operator would refuse it.
    """
    found = read_manifests([directory], namespace)
    sources = {DeclaredKey(*key): source.path for key, source in found.sources.items()}
    by_file: dict[Path, list[RoleChange]] = {}
    for change in report.roles:
        path = sources.get(change.identity)
        if change.refusals:
            yield f"left out: {change.identity} {change.path} is not admitted by guardrails"
        elif path is None:
            yield f"left out: {change.identity} is not in {directory}"
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
    new += (
        each.text
        for suggestion in report.suggestions
        if not suggestion.refusal and not any(grant.refusal for grant in suggestion.grants)
        for each in suggested([suggestion], declared)
    )
    if new:
        write_files(directory, {NEW_OBJECTS: "---\n".join(new)})
        yield f"wrote {directory / NEW_OBJECTS}"
    for path, text in changed.items():
        _write(path, text)
        yield f"changed {path}"


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
