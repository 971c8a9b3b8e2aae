"""Proposals: changes of a ManagedProject that would admit what its guardrails deny, as a JSON patch."""

import json
import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from cloudrun_identity.api import MAX_PATTERNS, KeyAdmission, ManagedProject

from .guardrail_entries import entries_of, is_dedicated

Value: TypeAlias = str | bool | tuple[str, ...]
"""A value in a proposal."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """One change of a ManagedProject: an entry to append to a list, or a field to set."""

    project: str
    """Name of the ManagedProject."""
    path: str
    """JSON pointer to the list or the field."""
    value: Value = ()
    """Value to set; unused for an entry."""
    entry: tuple[tuple[str, Value], ...] = ()
    """Fields of the entry to append; empty to set the value."""
    creates_parent: bool = False
    """True if the list does not exist yet, or the object that has the field."""
    generation: int = 0
    """Generation of the ManagedProject for which the change is right; 0 if it is right for every one."""

    @property
    def escalates(self) -> bool:
        """True if the change admits privilege escalation."""
        return ("allowEscalation", True) in self.entry or (
            self.path.endswith("/allowEscalation") and self.value is True
        )


def proposed_entry(project: ManagedProject, field: str, entry: Mapping[str, Value | None]) -> Proposal:
    """Return the proposal to append an entry to a list of the guardrails. Fields of None are left out."""
    creates_list = not entries_of(project)[field]
    return Proposal(
        project.metadata.name,
        f"/spec/guardrails/{field}",
        entry=tuple((name, value) for name, value in entry.items() if value is not None),
        creates_parent=creates_list,
        generation=project.metadata.generation if creates_list else 0,
    )


def proposed_value(project: ManagedProject, path: str, value: Value) -> Proposal:
    """Return the proposal to set a field."""
    return Proposal(project.metadata.name, path, value, generation=project.metadata.generation)


def proposed_namespace(project: ManagedProject, namespace: str) -> tuple[Proposal, ...]:
    """Return the proposals that admit a namespace.

    The entries of a project of one namespace may omit it. They are completed, so that they keep their meaning
    and the API server accepts the second namespace.
    """
    admitted = project.spec.namespaces
    names = admitted.names
    completed = _completed_entries(project, names) if is_dedicated(project) else ()
    addition = Proposal(
        project.metadata.name,
        "/spec/namespaces/names",
        (*names, namespace),
        creates_parent=not names and admitted.selector is None,
        generation=project.metadata.generation,
    )
    return (*completed, addition)


def patch_command(proposals: Iterable[Proposal]) -> str:
    """Return the kubectl commands that make all changes, one for each ManagedProject; empty for none."""
    by_project: defaultdict[str, list[Proposal]] = defaultdict(list)
    for each in dict.fromkeys(proposals):
        by_project[each.project].append(each)
    return " && ".join(
        f"kubectl patch managedproject {name} --type=json -p {shlex.quote(_json(_operations(listed)))}"
        for name, listed in sorted(by_project.items())
    )


def _completed_entries(project: ManagedProject, names: tuple[str, ...]) -> Iterator[Proposal]:
    guardrails = project.spec.guardrails
    for field, entries in entries_of(project).items():
        for index, entry in enumerate(entries):
            if entry.namespaces is None:
                yield proposed_value(project, f"/spec/guardrails/{field}/{index}/namespaces", names)
    if guardrails.custom_roles.permissions and guardrails.custom_roles.namespaces is None:
        yield proposed_value(project, "/spec/guardrails/customRoles/namespaces", names)
    if guardrails.keys is KeyAdmission.ALLOWED and guardrails.key_namespaces is None:
        yield proposed_value(project, "/spec/guardrails/keyNamespaces", names)


def _operations(proposals: Iterable[Proposal]) -> list[Mapping[str, object]]:
    """Return the operations of a JSON patch.

    A patch that creates a list or replaces one begins with a test of the generation. After another edit of
    the ManagedProject it fails, instead of discarding that edit.
    """
    operations: dict[str, Mapping[str, object]] = {}

    def add(verb: str, path: str, value: object) -> None:
        operation = {"op": verb, "path": path, "value": value}
        operations.setdefault(_json(operation), operation)

    listed = list(_merged(proposals))
    if generation := max((each.generation for each in listed), default=0):
        add("test", "/metadata/generation", generation)
    for each in listed:
        if each.entry:
            if each.creates_parent:
                add("add", each.path, [])
            add("add", f"{each.path}/-", dict(each.entry))
        else:
            if each.creates_parent:
                add("add", each.path.rpartition("/")[0], {})
            add("add", each.path, each.value)
    return list(operations.values())


def _merged(proposals: Iterable[Proposal]) -> Iterator[Proposal]:
    """Yield the proposals, with entries that differ in their members only as one entry."""
    members: defaultdict[Proposal, dict[str, None]] = defaultdict(dict)
    for each in proposals:
        fields = dict(each.entry)
        named = fields.get("members")
        listed = named if isinstance(named, tuple) else ()
        # An empty value keeps the position of the field.
        key = replace(each, entry=tuple((fields | {"members": ()}).items())) if listed else each
        members[key].update(dict.fromkeys(listed))
    for each, found in members.items():
        names = tuple(found)
        if not names:
            yield each
        for start in range(0, len(names), MAX_PATTERNS):
            part = names[start : start + MAX_PATTERNS]
            yield replace(each, entry=tuple((dict(each.entry) | {"members": part}).items()))


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
