"""Reads everything that decides about access to the resources of a project.

A policy that may not be read is no error. It becomes a part of the answer: see `AccessFacts.unread`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from google.iam.v1 import policy_pb2

from cloudrun_identity.iam.access import AccessFacts, AllowBinding
from cloudrun_identity.iam.boundaries import Boundary
from cloudrun_identity.iam.deny_rules import DenyRule
from cloudrun_identity.iam.grants import IAMCondition, Target

from .access_limits import AccessLimits
from .clients import ProjectClients
from .containers import Containers, container_text
from .errors import Fault, GoogleError
from .libraries import iam_admin_v1
from .policies import Policies
from .projects import Project, Projects
from .service_client import iam_service

Value = TypeVar("Value")

CONCURRENT_READS = 16
"""Policies and roles read at the same time."""


@dataclass(frozen=True, slots=True)
class ProjectAccess:
    """The policies that decide about access to all resources of a project."""

    project: Project | None
    """The project; None if it may not be read."""
    facts: AccessFacts
    """The policies of the project and above it, and its deny policies and boundaries."""


class AccessReader:
    """Reads of the policies of one project, with its credential."""

    def __init__(
        self,
        clients: ProjectClients,
        project_id: str,
        limits: AccessLimits,
        show: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Create a reader. `show` receives what it does at the moment."""
        self._project_id = project_id
        self._limits = limits
        self._show = show
        self._projects = Projects(clients)
        self._containers = Containers(clients, project_id)
        self._policies = Policies(clients)
        self._iam = iam_service(clients)
        self._free = asyncio.Semaphore(CONCURRENT_READS)

    async def of_project(self) -> ProjectAccess:
        """Return the facts of the project and everything above it, without the permissions of roles.

        Raises:
            GoogleError: the project does not exist, or the call failed for another reason than permissions.

        """
        self._show(f"reading the policies of project {self._project_id} and above it")
        facts = AccessFacts()
        target = Target.project(self._project_id)
        project = await unless_denied(self._projects.get(self._project_id))
        bindings, unread = await self.of_target(target)
        facts = facts.below(bindings, unread)
        chain = [(f"projects/{self._project_id}", str(target))]
        if isinstance(project, Denied):
            facts = facts.below((), (f"the folder and the organization of {target}: {project}",))
        else:
            above, unread = await self._above(project.parent)
            facts = facts.below((), unread)
            for name in above:
                policy = await unless_denied(self._containers.policy(name))
                facts = facts.below(*_bindings_or_reason(policy, container_text(name)))
                chain.append((name, container_text(name)))
        facts = await self._with_limits(facts, chain)
        return ProjectAccess(None if isinstance(project, Denied) else project, facts)

    async def of_target(self, target: Target) -> tuple[tuple[AllowBinding, ...], tuple[str, ...]]:
        """Return the bindings of a resource, and the reason if its policy may not be read.

        Raises:
            GoogleError: the resource does not exist, or the call failed for another reason than permissions.

        """
        async with self._free:
            policy = await unless_denied(self._policies.get(target))
        return _bindings_or_reason(policy, str(target))

    async def with_permissions(self, facts: Iterable[AccessFacts]) -> tuple[AccessFacts, ...]:
        """Return the facts with the permissions of all roles in their bindings."""
        found = tuple(facts)
        roles = sorted({binding.role for each in found for binding in each.bindings})
        self._show(f"reading {len(roles)} roles")
        permissions = dict(zip(roles, await asyncio.gather(*map(self._permissions, roles)), strict=True))
        return tuple(replace(each, permissions=permissions) for each in found)

    async def _above(self, parent: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the names of the containers above the project, and the reason if they are not all known."""
        names = []
        while parent:
            names.append(parent)
            found = await unless_denied(self._containers.parent(parent))
            if isinstance(found, Denied):
                return tuple(names), (f"the resources above {container_text(parent)}: {found}",)
            parent = found
        return tuple(names), ()

    async def _with_limits(self, facts: AccessFacts, chain: list[tuple[str, str]]) -> AccessFacts:
        """Return the facts with deny policies and boundaries. They are read one after the other."""
        rules: list[DenyRule] = []
        boundaries: list[Boundary] = []
        unread: list[str] = []
        for name, text in chain:
            self._show(f"reading the deny policies and boundaries of {text}")
            denials = await unless_denied(self._limits.deny_rules(name, text))
            if isinstance(denials, Denied):
                unread.append(f"the deny policies of {text}: {denials}")
            else:
                rules += denials
            limits = await unless_denied(self._limits.boundaries(name))
            if isinstance(limits, Denied):
                unread.append(f"the principal access boundaries of {text}: {limits}")
            else:
                boundaries += limits
        return replace(
            facts, deny_rules=tuple(rules), boundaries=tuple(boundaries), unread_limits=tuple(unread)
        )

    async def _permissions(self, role: str) -> frozenset[str] | None:
        """Return the permissions that a role has now; None if it may not be read.

        A deleted or disabled custom role has none: its bindings have no effect
        (https://cloud.google.com/iam/docs/creating-custom-roles#disabling-custom-role).
        """
        request = iam_admin_v1.GetRoleRequest(name=role)
        try:
            async with self._free:
                found = await self._iam.call(self._project_id, "get_role", request)
        except GoogleError as error:
            if error.fault in (Fault.NOT_FOUND, Fault.INVALID_ARGUMENT):
                return frozenset()
            if error.fault in _DENIALS:
                return None
            raise
        idle = found.deleted or found.stage == iam_admin_v1.Role.RoleLaunchStage.DISABLED
        return frozenset(() if idle else found.included_permissions)


class Denied(str):
    """The reason why something could not be read."""

    __slots__ = ()


async def unless_denied(call: Awaitable[Value]) -> Value | Denied:
    """Return the result of a read, or the reason why the caller may not make it.

    Raises:
        GoogleError: the read failed for another reason.

    """
    try:
        return await call
    except GoogleError as error:
        if error.fault not in _DENIALS:
            raise
        return Denied(error.message)


def _bindings_or_reason(
    policy: policy_pb2.Policy | Denied, resource: str
) -> tuple[tuple[AllowBinding, ...], tuple[str, ...]]:
    if isinstance(policy, Denied):
        return (), (f"the allow policy of {resource}: {policy}",)
    return tuple(
        AllowBinding(resource, each.role, tuple(each.members), _condition(each)) for each in policy.bindings
    ), ()


def _condition(binding: policy_pb2.Binding) -> IAMCondition | None:
    if not binding.HasField("condition"):
        return None
    condition = binding.condition
    return IAMCondition(condition.title, condition.description, condition.expression)


_DENIALS = (
    Fault.PERMISSION_DENIED,
    Fault.API_DISABLED,
    Fault.PERIMETER_VIOLATION,
    Fault.QUOTA_EXCEEDED,
    Fault.UNIMPLEMENTED,
)
"""Failures after which the rest of the answer is still useful."""
