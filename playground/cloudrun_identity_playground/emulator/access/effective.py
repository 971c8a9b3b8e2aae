"""Which permissions a caller has: bindings on the resource and above it, their roles, their conditions."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from cloudrun_identity_playground.emulator.apis.actor import Caller
from cloudrun_identity_playground.emulator.apis.members import AccountMember, Member
from cloudrun_identity_playground.emulator.apis.policies import Policies
from cloudrun_identity_playground.emulator.apis.policy_rules import Binding
from cloudrun_identity_playground.emulator.apis.role_table import RoleTable

from .conditions import Circumstances, is_met
from .directory import Directory, normal
from .resources import Resource


class EffectivePermissions:
    """The one answer to "may they?". `clock` gives seconds since the epoch."""

    def __init__(
        self, policies: Policies, roles: RoleTable, directory: Directory, clock: Callable[[], float]
    ) -> None:
        self._policies = policies
        self._roles = roles
        self._directory = directory
        self._clock = clock

    def has(
        self,
        caller: Caller,
        permission: str,
        resource: Resource,
        modified_roles: frozenset[str] = frozenset(),
    ) -> bool:
        """Whether `caller` has `permission` on `resource`.

        `modified_roles` are those that the call would grant or revoke.
        """
        if caller.almighty:
            return True
        identities = self._directory.identities(caller)
        circumstances = Circumstances(resource.name, resource.type, self._clock(), modified_roles)
        return any(
            permission in self._roles.permissions(binding.role)
            and any(_means(member, caller, identities) for member in binding.members)
            and (binding.condition is None or is_met(binding.condition.expression, circumstances))
            for binding in self._bindings(resource)
        )

    def _bindings(self, resource: Resource) -> Iterable[Binding]:
        for policy in resource.policies:
            yield from self._policies.bindings(policy)


def _means(member: Member, caller: Caller, identities: frozenset[str]) -> bool:
    if isinstance(member, AccountMember):
        return member.unique_id == caller.unique_id
    return normal(member) in identities
