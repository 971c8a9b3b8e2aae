"""Resources of the target kinds: names, creation times and policies, without their contents."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

from google.protobuf import timestamp_pb2

from cloudrun_identity.api import TargetKind, TargetKindDescriptor
from cloudrun_identity_playground.emulator.errors import failed_precondition, invalid, not_found

from .policies import Policies
from .policy_methods import PolicyMethods
from .policy_rules import TargetRules
from .projects import Project, ProjectRegistry
from .rpc import Handler
from .target_messages import MESSAGES, id_field
from .target_names import DESCRIBED, TargetName, target_name


class TargetResources:
    """The resources that exist. Only the seed and the control API create them."""

    def __init__(self, projects: ProjectRegistry, policies: Policies, clock: Callable[[], float]) -> None:
        self._projects = projects
        self._policies = policies
        self._clock = clock
        self._created: dict[str, int] = {}
        """Creation times in microseconds since the epoch, by the name of the policy."""
        self._homes: dict[str, str] = {}
        """Projects of the resources whose names do not contain them, by resource name."""
        self._with_object_acls: set[str] = set()
        """Names of the policies of buckets without uniform bucket-level access."""
        self._last = 0

    def add(
        self,
        project: Project,
        descriptor: TargetKindDescriptor,
        name: str,
        location: str = "",
        parent: str = "",
    ) -> str:
        """Add a resource and return its resource name.

        Raises GoogleError: INVALID_ARGUMENT: the name is not valid, or belongs to another project.
        """
        form = descriptor.name_form
        if form is not None and not (re.fullmatch(form.pattern, name) and len(name) <= form.max_length):
            raise invalid(f"Invalid {descriptor.display_name} '{name}': it {form.message}.")
        if bool(location) != descriptor.has_location or bool(parent) != (descriptor.parent is not None):
            raise invalid(f"Invalid location or parent of {descriptor.display_name} '{name}'.")
        found = TargetName(descriptor, name, project.id, location, parent)
        if not descriptor.is_named_in_project:
            home = self._homes.setdefault(found.resource, project.id)
            if home != project.id:
                raise invalid(f"The {descriptor.display_name} '{name}' exists in another project.")
        # Two resources never have the same creation time, even if the clock does not advance.
        self._last = self._created[found.policy] = max(int(self._clock() * 1e6), self._last + 1)
        return found.resource

    def delete(self, found: TargetName) -> None:
        """Delete a resource with its policy.

        Raises GoogleError: NOT_FOUND, or as `ProjectRegistry.resolve`.
        """
        existing = self._existing(found)
        self._policies.drop(existing.policy)
        self._with_object_acls.discard(existing.policy)
        del self._created[existing.policy]

    def use_object_acls(self, found: TargetName, *, used: bool) -> None:
        """Switch uniform bucket-level access of a bucket off or on again.

        Raises GoogleError: NOT_FOUND; FAILED_PRECONDITION: the policy has conditions, which Google wants
            removed first (https://cloud.google.com/storage/docs/uniform-bucket-level-access#considerations).
        """
        policy = self._existing(found).policy
        if not used:
            self._with_object_acls.discard(policy)
            return
        if found.descriptor.kind is not TargetKind.STORAGE_BUCKET:
            raise invalid(f"A {found.descriptor.display_name} has no uniform bucket-level access.")
        if any(binding.condition is not None for binding in self._policies.bindings(policy)):
            raise failed_precondition(
                "Uniform bucket-level access cannot be disabled: the policy has IAM Conditions."
            )
        self._with_object_acls.add(policy)

    def has_object_acls(self, resource: str) -> bool:
        """Return whether a bucket, by its resource name, has no uniform bucket-level access."""
        found = target_name(resource)
        return found is not None and self._existing(found).policy in self._with_object_acls

    def recreate(self, found: TargetName) -> None:
        """Delete a resource and create another one of the same name, which has an empty policy.

        Raises GoogleError: NOT_FOUND, or as `ProjectRegistry.resolve`.
        """
        existing = self._existing(found)
        self.delete(existing)
        project = self._projects.resolve(existing.project_id)
        self.add(project, existing.descriptor, existing.name, existing.location, existing.parent)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the resources' policies."""
        return iter(sorted(self._created))

    def has(self, found: TargetName) -> bool:
        """Return whether a resource exists.

        Raises GoogleError: as `ProjectRegistry.resolve`.
        """
        return self.created(found) is not None

    def created(self, found: TargetName) -> int | None:
        """Return when a resource was created, in microseconds since the epoch; None if it does not exist.

        No two resources have the same creation time.

        Raises GoogleError: as `ProjectRegistry.resolve`.
        """
        project = self.home(found)
        return self._created.get(replace(found, project_id=project.id).policy) if project else None

    def home(self, found: TargetName) -> Project | None:
        """Return the project of a resource, which need not exist; None if it is not known.

        Raises GoogleError: as `ProjectRegistry.resolve`.
        """
        project_id = found.project_id or self._homes.get(found.resource, "")
        return self._projects.resolve(project_id) if project_id else None

    def handlers(self) -> Mapping[str, Handler]:
        """Return the handlers by RPC."""
        handlers: dict[str, Handler] = {}
        for descriptor in DESCRIBED:
            if get := descriptor.get_method:
                handlers[get] = partial(self._get, get)
            service = descriptor.policy_service
            handlers |= PolicyMethods(
                service,
                partial(self._rules, service),
                self._policies,
                partial(self._policy_of, service),
            ).handlers()
        return handlers

    def _get(self, rpc: str, request: Any) -> Any:
        found = self._existing(_parsed(request.name, rpc))
        descriptor = found.descriptor
        project = self._projects.resolve(found.project_id)
        message = MESSAGES[descriptor.get_method](name=self._shown(found, project))
        if descriptor.project_number_field is not None:
            message.project = f"projects/{project.number}"
        if field := id_field(descriptor):
            created = timestamp_pb2.Timestamp()
            created.FromMicroseconds(self._created[found.policy])
            getattr(message, field).CopyFrom(created)
        return message

    @staticmethod
    def _shown(found: TargetName, project: Project) -> str:
        """Return the name in a reply. Secret Manager's has the number of the project."""
        if found.descriptor.host in _WITH_NUMBERS:
            return found.resource.replace(f"projects/{project.id}/", f"projects/{project.number}/")
        return found.resource

    def _policy_of(self, service: str, resource: str) -> str:
        return self._existing(_parsed(resource, service)).policy

    def _rules(self, service: str, resource: str) -> TargetRules:
        found = _parsed(resource, service)
        return TargetRules(found.descriptor, self._existing(found).policy in self._with_object_acls)

    def _existing(self, found: TargetName) -> TargetName:
        project = self.home(found)
        shown = found.resource
        if project is not None:
            found = replace(found, project_id=project.id)
            if found.policy in self._created:
                return found
            shown = self._shown(found, project)
        noun = found.descriptor.display_name
        raise not_found(f"{noun[:1].upper()}{noun[1:]} [{shown}] not found.")


def _parsed(resource: str, rpc: str) -> TargetName:
    found = target_name(resource, rpc)
    if found is None:
        raise invalid(f"Invalid resource name '{resource}'.")
    return found


_WITH_NUMBERS: Final = frozenset({"secretmanager.googleapis.com"})
"""APIs with project numbers in the names of resources that they return."""
