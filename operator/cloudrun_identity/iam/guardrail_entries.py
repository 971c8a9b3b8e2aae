"""Namespaces that a guardrail entry is for, and entries that admit nothing because they are incomplete.

The API server refuses incomplete entries. Some were stored by earlier versions, which had the field under
another name or did not have it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from cloudrun_identity.api import (
    AccountAdmission,
    GrantAdmission,
    KeyAdmission,
    ManagedProject,
    RoleAdmission,
    WorkloadAdmission,
)

from .patterns import matches_any

Entry: TypeAlias = GrantAdmission | WorkloadAdmission | AccountAdmission | RoleAdmission
"""An entry of a list in the guardrails."""


@dataclass(frozen=True, slots=True)
class InvalidEntry:
    """A guardrail entry that admits nothing, because it lacks a required field."""

    path: str
    """Path of the entry, such as `spec.guardrails.grants[0]`."""
    field: str
    """Required field that is not set."""

    def __str__(self) -> str:
        return f"{self.path} has no {self.field} and admits nothing"


def is_dedicated(project: ManagedProject) -> bool:
    """Return whether exactly one namespace may use the project, by name."""
    namespaces = project.spec.namespaces
    return len(namespaces.names) == 1 and namespaces.selector is None


def is_for(project: ManagedProject, namespaces: tuple[str, ...] | None, namespace: str) -> bool:
    """Return whether an entry with these `namespaces` is for objects of the namespace."""
    return is_dedicated(project) if namespaces is None else matches_any(namespace, namespaces)


def invalid_entries(project: ManagedProject) -> tuple[InvalidEntry, ...]:
    """Return the entries that admit nothing, in the order of the spec."""
    return tuple(_invalid_entries(project))


def _invalid_entries(project: ManagedProject) -> Iterator[InvalidEntry]:
    guardrails, dedicated = project.spec.guardrails, is_dedicated(project)
    for index, entry in enumerate(guardrails.grants):
        if entry.target_kinds is None:
            yield InvalidEntry(entry_path("grants", index), "targetKinds")
    if dedicated:
        return
    for field, entries in entries_of(project).items():
        for index, each in enumerate(entries):
            if each.namespaces is None:
                yield InvalidEntry(entry_path(field, index), "namespaces")
    if guardrails.custom_roles.permissions and guardrails.custom_roles.namespaces is None:
        yield InvalidEntry("spec.guardrails.customRoles", "namespaces")
    if guardrails.keys is KeyAdmission.ALLOWED and guardrails.key_namespaces is None:
        yield InvalidEntry("spec.guardrails", "keyNamespaces")


def entries_of(project: ManagedProject) -> Mapping[str, Sequence[Entry]]:
    """Return the lists of entries in the guardrails, by the names of their fields."""
    guardrails = project.spec.guardrails
    return {
        "grants": guardrails.grants,
        "workloads": guardrails.workloads,
        "accounts": guardrails.accounts,
        "adoptableAccounts": guardrails.adoptable_accounts,
        "adoptableRoles": guardrails.adoptable_roles,
    }


def entry_path(field: str, index: int) -> str:
    """Return the path of an entry of a list in the guardrails."""
    return f"spec.guardrails.{field}[{index}]"
