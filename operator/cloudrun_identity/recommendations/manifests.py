"""Objects that follow recommendations, as manifests: changed identities and new custom roles."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from cloudrun_identity.api import CustomRole
from cloudrun_identity.api.group import API_VERSION
from cloudrun_identity.exporting.declared import Declared
from cloudrun_identity.exporting.suggestion_manifests import admission_lines
from cloudrun_identity.iam.spec_forms import Manifest

from .edits import changed_object
from .role_change import DeclaredKey, NewRole, RoleChange

_OF_THE_SERVER = frozenset(
    {
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "managedFields",
        "finalizers",
        "ownerReferences",
    }
)
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest with comments."""

    comments: tuple[str, ...]
    """Comments above the object, one line each."""
    obj: Manifest
    """The object."""

    @property
    def text(self) -> str:
        """The object as YAML, with its comments."""
        comments = "".join(f"# {' '.join(line.splitlines())}\n" for line in self.comments)
        return comments + yaml.safe_dump(self.obj, sort_keys=False, allow_unicode=True, width=100)


def documents(
    changes: Iterable[RoleChange], raw: Mapping[DeclaredKey, Manifest], declared: Declared
) -> tuple[Document, ...]:
    """Return the changed identities, each after the custom roles that it refers to.

    `raw` has the objects as they were read.
    """
    by_identity: dict[DeclaredKey, list[RoleChange]] = {}
    for change in changes:
        by_identity.setdefault(change.identity, []).append(change)
    found: list[Document] = []
    for key, own in by_identity.items():
        found += role_documents(own, declared)
        comments = (line for change in own for line in _reasons(change))
        found.append(Document(tuple(comments), changed_object(_as_applied(raw[key]), own)))
    return tuple(found)


def role_documents(changes: Iterable[RoleChange], declared: Declared) -> Iterator[Document]:
    """Yield the custom roles of changes that no object declares yet."""
    for change in changes:
        role = change.custom_role
        if role and not declared.exists(CustomRole, change.identity.namespace, role.name):
            yield Document(
                (f"Permissions of {change.found.role} that {change.identity} used or is likely to need.",),
                _custom_role(role, change.identity.namespace),
            )


def reason(change: RoleChange) -> str:
    """Return what the evidence shows about a change, as one clause."""
    usage = change.usage
    if usage is None:
        return "Google recommends it"
    if not usage.needed:
        return "not used in 90 days"
    inferred = f" and {len(usage.inferred)} likely to be needed" if usage.inferred else ""
    return f"{len(usage.used)} of {usage.total} permissions used in 90 days{inferred}"


def replacement(change: RoleChange) -> str:
    """Return what takes the place of the role; empty if nothing does."""
    if change.custom_role:
        return f"CustomRole {change.custom_role.name}"
    return ", ".join(change.replace_by)


def _reasons(change: RoleChange) -> Iterator[str]:
    instead = replacement(change)
    what = f"{change.found.role} → {instead}" if instead else f"without {change.found.role}"
    yield f"{change.path}: {what}: {reason(change)}."
    for refusal in change.refusals:
        yield from admission_lines(refusal)


def _custom_role(role: NewRole, namespace: str) -> Manifest:
    return {
        "apiVersion": API_VERSION,
        "kind": "CustomRole",
        "metadata": {"name": role.name, "namespace": namespace},
        "spec": {
            "projectRef": {"name": role.project},
            "roleID": role.role_id,
            "permissions": list(role.permissions),
        },
    }


def _as_applied(raw: Manifest) -> Manifest:
    """Return an object without what the API server and the operator added."""
    metadata: dict[str, Any] = {
        name: value for name, value in raw["metadata"].items() if name not in _OF_THE_SERVER
    }
    annotations = {
        name: value for name, value in (metadata.get("annotations") or {}).items() if name != _LAST_APPLIED
    }
    metadata.pop("annotations", None)
    if annotations:
        metadata["annotations"] = annotations
    return {
        "apiVersion": API_VERSION,
        "kind": raw["kind"],
        "metadata": metadata,
        "spec": raw["spec"],
    }
