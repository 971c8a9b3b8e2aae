"""Targets named by a text: a full resource name of `target.resource`, or a short name of the command line.

One IAM policy has one name here, because it has one ledger. So a resource that has a kind is refused, and so
is a project by its number.
"""

from dataclasses import dataclass

from cloudrun_identity.api import TARGET_KINDS, NamedBy, TargetKind, TargetKindDescriptor, kind_containing
from cloudrun_identity.api.generic_target import FORM_OF_NAMES, ResourceName

from .grants import Target


@dataclass(frozen=True, slots=True)
class Misnamed:
    """A full resource name that is not the name of a target."""

    problem: str
    """Problem with its remedy, to follow the name."""


def generic_target(resource: str, project_id: str) -> Target | Misnamed:
    """Return the resource of a project with this full name, or why the name is not accepted.

    The project in the name must be `project_id`: the guardrails, the credentials and the ledger of one
    project decide about its resources only.
    """
    found = ResourceName.parse(resource)
    if found is None:
        return Misnamed(FORM_OF_NAMES)
    if found.project.isdecimal():
        return Misnamed(f"names its project by number; write projects/{project_id} if it is that project")
    if found.project != project_id:
        return Misnamed(
            f"is not in project {project_id}; set projectRef to the ManagedProject of project {found.project}"
        )
    if kind := kind_containing(found.service, found.relative):
        return Misnamed(f"is a {kind.display_name}; use {_remedy(kind, found)} instead of resource")
    return Target(
        TargetKind.RESOURCE, project_id, location=found.location, name=found.name, service=found.service
    )


def parse_target(text: str, project_id: str) -> Target:
    """Return the resource in a text such as `StorageBucket/exports` or `KMSCryptoKey/europe-west1/ring/key`.

    A resource of the generic kind is named by its full resource name.

    Raises:
        ValueError: the kind is unknown or has no such names. The message is one line.

    """
    if text.startswith("//"):
        found = generic_target(text, project_id)
        if isinstance(found, Misnamed):
            raise ValueError(f"{text} {found.problem}")
        return found
    kind, *parts = text.split("/")
    kinds = {each.value: each for each, found in TARGET_KINDS.items() if _has_short_text(found)}
    if kind not in kinds:
        raise ValueError(f"{text!r} starts with none of the kinds {', '.join(kinds)}")
    descriptor = TARGET_KINDS[kinds[kind]]
    fields = {
        "LOCATION": descriptor.has_location,
        (descriptor.parent.name if descriptor.parent else "").upper(): descriptor.parent is not None,
        "NAME": True,
    }
    form = [field for field, is_part in fields.items() if is_part]
    if len(parts) != len(form) or not all(parts):
        raise ValueError(f"{text!r} must be {'/'.join([kind, *form])}")
    *before, name = parts
    location = before.pop(0) if descriptor.has_location else ""
    return Target(kinds[kind], project_id, location, name, "".join(before))


def _has_short_text(descriptor: TargetKindDescriptor) -> bool:
    """Return whether `parse_target` accepts the kind."""
    return descriptor.is_admitted_by_name_only and descriptor.named_by is NamedBy.NAME


def _remedy(kind: TargetKindDescriptor, found: ResourceName) -> str:
    """Return the target of a kind in flow style, such as `{kind: PubSubTopic, name: orders}`."""
    parts = kind.parts_of(found.relative)
    fields = {
        "location": parts.get("location"),
        kind.parent.name if kind.parent else "parent": parts.get("parent"),
        "email" if kind.kind is TargetKind.SERVICE_ACCOUNT else "name": parts.get("name"),
    }
    listed = "".join(f", {field}: {value}" for field, value in fields.items() if value)
    return f"{{kind: {kind.kind}{listed}}}"
