"""Resource names of the target kinds, taken apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cloudrun_identity.api import TargetKindDescriptor

from .generic_resources import GENERIC
from .target_messages import SERVED

DESCRIBED: Final = (*SERVED.values(), *GENERIC)
"""Descriptors of all resources that have only an existence and a policy here."""


@dataclass(frozen=True)
class TargetName:
    """A resource name of one kind, taken apart."""

    descriptor: TargetKindDescriptor
    """Kind of the resource."""
    name: str
    """Short name of the resource."""
    project_id: str = ""
    """ID or number of the project; empty if the resource name does not contain it."""
    location: str = ""
    """Location of the resource, for a kind with locations."""
    parent: str = ""
    """Name of the containing resource, for a nested kind."""

    @property
    def resource(self) -> str:
        """The relative resource name."""
        return self._format(self.descriptor.resource_pattern)

    @property
    def policy(self) -> str:
        """The name of the policy: the resource name with the project, and with the API if it is ambiguous."""
        pattern = self.descriptor.resource_pattern.replace("projects/_/", "projects/{project_id}/")
        if _sharing_names(self.descriptor)[0] is not self.descriptor:
            api = self.descriptor.host.partition(".")[0]
            pattern = pattern.replace("{project_id}/", f"{{project_id}}/{api}/")
        return self._format(pattern)

    def _format(self, pattern: str) -> str:
        return pattern.format(
            project_id=self.project_id, location=self.location, parent=self.parent, name=self.name
        )


def _sharing_names(descriptor: TargetKindDescriptor) -> Sequence[TargetKindDescriptor]:
    """Return the kinds whose names have the same form, the descriptor's included."""
    return [each for each in DESCRIBED if each.resource_pattern == descriptor.resource_pattern]


def target_name(resource: str, rpc: str = "", host: str = "") -> TargetName | None:
    """Return the parts of the name of a resource; None if it is of none of the kinds.

    Some kinds have names of the same form. The service of `rpc` or the API `host` distinguishes them.
    """
    service = rpc.partition("/")[0]
    for descriptor in DESCRIBED:
        parts = descriptor.parts_of(resource)
        services = ("", descriptor.policy_service, descriptor.get_method.partition("/")[0])
        if parts and service in services and host in ("", descriptor.host):
            return TargetName(descriptor, **parts)
    return None
