"""Output of `who-can` and `what-can`: as text, and as data for JSON and YAML."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import click

from cloudrun_identity.iam.access import AccessPath, AccessResult
from cloudrun_identity.iam.access_questions import Answer, by_principal
from cloudrun_identity.iam.listed_keys import ListedKey
from cloudrun_identity.iam.principals import same_member

from .managed_grants import ManagedGrants


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a command prints."""

    subject: str
    """The resource or the principal that the question is about."""
    project: str
    """The project that was read."""
    answers: tuple[Answer, ...]
    """The answers."""
    notes: tuple[str, ...] = ()
    """Further facts about the subject."""
    managed: ManagedGrants | None = None
    """The owners of grants; None without a cluster."""
    keys: tuple[ListedKey, ...] = ()
    """User-managed keys of the account."""
    workloads: tuple[str, ...] = ()
    """The workloads that run as the account."""
    roles: tuple[AccessPath, ...] = ()
    """The roles that the principal holds, for `what-can`."""
    unknown: tuple[str, ...] = ()
    """Policies and other resources that could not be read, with the reason."""


COLORS: Final = {AccessResult.YES: "green", AccessResult.DEPENDS: "yellow", AccessResult.NO: "red"}


def as_data(report: Report) -> dict[str, Any]:
    """Return the report for JSON and YAML."""
    return {
        "subject": report.subject,
        "project": report.project,
        "notes": list(report.notes),
        "answers": [
            {
                "principal": answer.access.principal,
                "resource": answer.resource,
                "ability": answer.ability.name,
                "permission": answer.ability.permission,
                "result": str(answer.access.result),
                "reasons": list(answer.access.reasons),
                "bindings": [_path_data(path, report.managed) for path in answer.access.paths],
            }
            for answer in report.answers
        ],
        "roles": [_path_data(path, report.managed) for path in report.roles],
        "keys": [
            {
                "id": key.key_id,
                "created": key.created.isoformat(),
                "expires": key.expires.isoformat() if key.expires else None,
                "disabled": key.disabled,
            }
            for key in report.keys
        ],
        "workloads": list(report.workloads),
        "unknown": list(report.unknown),
    }


def as_text(report: Report, *, colors: bool, by_resource: bool = False) -> Iterator[str]:
    """Yield the lines of the report."""
    yield " in project ".join(filter(None, (report.subject, report.project)))
    yield from (f"  {note}" for note in report.notes)
    groups = _by_resource(report.answers) if by_resource else by_principal(report.answers)
    for group, answers in groups.items():
        yield ""
        yield click.style(group, bold=True) if colors else group
        yield from _answer_lines(answers, report, colors=colors)
    if not report.answers:
        found = "nothing was found" if by_resource else "no principal was found"
        yield f"  {found}{' in what could be read' if report.unknown else ''}"
    yield from _section("Roles", [_path_text(path, report.managed) for path in report.roles])
    yield from _section("Keys: a holder of the file acts as the account", map(_key_text, report.keys))
    yield from _section("Workloads that run as it", report.workloads)
    yield from _section("Unknown: the answers are incomplete without", report.unknown)


def _by_resource(answers: Iterable[Answer]) -> dict[str, list[Answer]]:
    found: dict[str, list[Answer]] = {}
    for answer in answers:
        found.setdefault(answer.resource, []).append(answer)
    return found


def _answer_lines(answers: Sequence[Answer], report: Report, *, colors: bool) -> Iterator[str]:
    """Yield one line per result and set of bindings: abilities that one role gives share a line."""
    shared: dict[tuple[AccessResult, tuple[str, ...], tuple[AccessPath, ...]], list[str]] = {}
    for answer in answers:
        access = answer.access
        shared.setdefault((access.result, access.reasons, access.paths), []).append(answer.ability.text)
    for (result, reasons, paths), texts in shared.items():
        word = f"{result:<8}"
        yield f"  {click.style(word, fg=COLORS[result]) if colors else word}{', '.join(texts)}"
        for path in paths:
            yield f"          by {_path_text(path, report.managed, answers[0].access.principal)}"
        label = "because" if result is AccessResult.NO else "depends on"
        shown = {each for path in paths for each in path.depends_on}
        for reason in reasons:
            if reason not in shown:
                yield f"          {label} {reason}"


def _path_text(path: AccessPath, managed: ManagedGrants | None, principal: str = "") -> str:
    """Return a binding as one line; its member is named if it is not the principal itself."""
    binding = path.binding
    member = "" if same_member(path.member, principal) else f" for {path.member}"
    text = f"{binding.role}{member} on {binding.resource}"
    if managed is not None:
        text += f"  ({', '.join(managed.owners(path)) or 'unmanaged'})"
    if path.depends_on:
        text += f", depends on {' and '.join(path.depends_on)}"
    return text


def _path_data(path: AccessPath, managed: ManagedGrants | None) -> dict[str, Any]:
    binding = path.binding
    data: dict[str, Any] = {
        "role": binding.role,
        "member": path.member,
        "resource": binding.resource,
        "dependsOn": list(path.depends_on),
    }
    if binding.condition:
        data["condition"] = {
            "title": binding.condition.title,
            "expression": binding.condition.expression,
        }
    if managed is not None:
        owners = managed.owners(path)
        data |= {"managed": bool(owners), "managedBy": list(owners)}
    return data


def _key_text(key: ListedKey) -> str:
    expires = f"expires {key.expires:%Y-%m-%d}" if key.expires else "does not expire"
    disabled = ", disabled" if key.disabled else ""
    return f"{key.key_id}, created {key.created:%Y-%m-%d}, {expires}{disabled}"


def _section(title: str, items: Iterable[str]) -> Iterator[str]:
    found = list(items)
    if found:
        yield ""
        yield f"{title}:"
        yield from (f"  {item}" for item in found)
