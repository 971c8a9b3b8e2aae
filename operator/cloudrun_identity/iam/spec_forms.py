"""Targets and conditions in the form that specs have, for manifests that the operator proposes."""

from collections.abc import Mapping
from typing import Any

from cloudrun_identity.api import NamedBy

from .grants import IAMCondition, Target
from .principals import lower_email

Manifest = dict[str, Any]


def target_manifest(target: Target, declared: Mapping[str, str] | None = None) -> Manifest:
    """Return the target as in `spec.target`. `declared` has the names of identities by lower-case e-mail."""
    kind = {"kind": target.kind.value}
    match target.descriptor.named_by:
        case NamedBy.PROJECT:
            return kind
        case NamedBy.IDENTITY:
            name = (declared or {}).get(lower_email(target.name))
            return {**kind, "identityRef": {"name": name}} if name else {**kind, "email": target.name}
        case NamedBy.NAME:
            location = {"location": target.location} if target.descriptor.has_location else {}
            parent = {field.name: target.parent} if (field := target.descriptor.parent) else {}
            return {**kind, **location, **parent, "name": target.name}
        case NamedBy.RESOURCE:
            return {"resource": target.full_name}


def condition_manifest(condition: IAMCondition | None) -> Manifest:
    """Return the field `condition` of a spec; nothing for an unconditional grant."""
    if condition is None:
        return {}
    description = {"description": condition.description} if condition.description else {}
    return {"condition": {"title": condition.title, **description, "expression": condition.expression}}
