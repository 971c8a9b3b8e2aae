"""Effective permissions: bindings on the resource and above it, with their roles and conditions."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from cloudrun_identity_playground.emulator.apis.access_limits import DenyPolicies, denies
from cloudrun_identity_playground.emulator.apis.actor import Caller
from cloudrun_identity_playground.emulator.apis.members import AccountMember, Member, WorkspaceMember
from cloudrun_identity_playground.emulator.apis.policies import Policies
from cloudrun_identity_playground.emulator.apis.policy_rules import Binding
from cloudrun_identity_playground.emulator.apis.role_table import RoleTable
from cloudrun_identity_playground.emulator.apis.workspace import Workspace

from .conditions import RequestAttributes, is_met
from .directory import Directory, normal
from .resources import Resource


class EffectivePermissions:
    """Answers whether a caller has a permission. `clock` returns seconds since the epoch."""

    def __init__(
        self,
        policies: Policies,
        roles: RoleTable,
        directory: Directory,
        workspace: Workspace,
        deny_policies: DenyPolicies,
        clock: Callable[[], float],
    ) -> None:
        self._policies = policies
        self._workspace = workspace
        self._roles = roles
        self._directory = directory
        self._deny_policies = deny_policies
        self._clock = clock

    def has(
        self,
        caller: Caller,
        permission: str,
        resource: Resource,
        modified_roles: frozenset[str] = frozenset(),
    ) -> bool:
        """Return whether `caller` has `permission` on `resource`.

        `modified_roles` are the roles that the call grants or revokes.
        """
        if caller.is_admin:
            return True
        identities = self._directory.identities(caller)
        attributes = RequestAttributes(resource.name, resource.type, self._clock(), modified_roles)
        if self._is_denied(caller, permission, resource, identities, attributes):
            return False
        return any(
            permission in self._roles.permissions(binding.role)
            and any(
                self._means(member, caller, identities)
                and self._policies.is_effective(policy, binding, member)
                for member in binding.members
            )
            and (binding.condition is None or is_met(binding.condition.expression, attributes))
            for policy, binding in self._bindings(resource)
        )

    def _is_denied(
        self,
        caller: Caller,
        permission: str,
        resource: Resource,
        identities: frozenset[str],
        attributes: RequestAttributes,
    ) -> bool:
        everything = identities | {normal(caller.principal)}  # deny policies know accounts by their e-mail
        return any(
            denies(rule, everything, permission)
            and (not rule.denial_condition.expression or is_met(rule.denial_condition.expression, attributes))
            for rule in self._deny_policies.rules(resource.policies)
        )

    def _bindings(self, resource: Resource) -> Iterable[tuple[str, Binding]]:
        for policy in resource.policies:
            for binding in self._policies.bindings(policy):
                yield policy, binding

    def _means(self, member: Member, caller: Caller, identities: frozenset[str]) -> bool:
        match member:
            case AccountMember(_, unique_id):
                return unique_id == caller.unique_id
            case WorkspaceMember(_, unique_id):
                principal = self._workspace.get(unique_id)
                return (
                    principal is not None
                    and not principal.deleted
                    and any(f"{principal.kind}:{address}" in identities for address in principal.addresses)
                )
            case _:
                return normal(member) in identities
