"""Changes of declared objects that Google's recommendations about roles lead to. Pure.

The same guardrail functions decide about them as about every grant and role that an object declares.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from cloudrun_identity.api import (
    CloudRunIdentity,
    CustomRole,
    IAMBinding,
    IAMBindingSpec,
    ManagedProject,
    RoleGrant,
    TargetKind,
)
from cloudrun_identity.exporting.declared import Declared
from cloudrun_identity.exporting.names import object_name
from cloudrun_identity.iam.admission import DeclaredIdentity, Denied
from cloudrun_identity.iam.expiry import declared_expression
from cloudrun_identity.iam.google_findings import (
    FindingState,
    PermissionUsage,
    ProjectFindings,
    RoleRecommendation,
)
from cloudrun_identity.iam.grant_matching import GrantRequest
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.guardrails import decide
from cloudrun_identity.iam.principals import email, is_service_account, normalise
from cloudrun_identity.iam.role_catalog import role_catalog
from cloudrun_identity.iam.role_permissions import may_define

from .role_change import Changes, DeclaredKey, Elsewhere, NewRole, RoleChange, entry_path


def role_changes(
    declared: Declared, project_id: str, findings: ProjectFindings, *, custom_roles: bool = False
) -> Changes:
    """Return the changes that the recommendations about service accounts lead to.

    With `custom_roles`, a custom role replaces each role whose use is known, instead of smaller predefined
    roles.
    """
    return _Comparison(declared, project_id, findings, custom_roles=custom_roles).changes()


class HeldGrant(NamedTuple):
    """Grant on a project, as its policy has it."""

    member: str
    role: str
    condition: str


def applied(
    declared: Declared, project_id: str, findings: ProjectFindings, held: Iterable[HeldGrant]
) -> tuple[RoleRecommendation, ...]:
    """Return the claimed recommendations about declared identities whose grant was deleted.

    No object declares the grant, and none of `held`, those of the project, is the grant.
    """
    there = {each._replace(member=normalise(each.member)) for each in held}
    changes = role_changes(declared, project_id, findings)
    return tuple(
        each.found
        for each in changes.elsewhere
        if each.found.state is FindingState.CLAIMED
        and not each.declared_by
        and declared.identity_of(email(each.found.member))
        and HeldGrant(normalise(each.found.member), each.found.role, each.found.condition) not in there
    )


class _Comparison:
    def __init__(
        self, declared: Declared, project_id: str, findings: ProjectFindings, *, custom_roles: bool
    ) -> None:
        self._declared = declared
        self._project_id = project_id
        self._findings = findings
        self._custom_roles = custom_roles
        self._names: set[tuple[str, str]] = set()

    def changes(self) -> Changes:
        """Return the changes, at most one per entry: a replacement goes before a removal."""
        roles: dict[tuple[DeclaredKey, int], RoleChange] = {}
        elsewhere: list[Elsewhere] = []
        for found in sorted(self._findings.roles, key=lambda each: each.is_removal):
            if not is_service_account(found.member):
                continue
            usage = self._findings.usage_of(found)
            identity = self._declared.identity_of(email(found.member))
            indexes = list(self._entries(identity, found)) if identity else []
            if identity is None or not indexes:
                elsewhere.append(Elsewhere(found, usage, self._binding_of(found)))
                continue
            key = _key_of(identity)
            for index in indexes:
                entry = f"{key} {entry_path(index)}"
                if found.is_customizable and not (usage and usage.needed):
                    elsewhere.append(Elsewhere(found, usage, entry, "the permissions used are not known"))
                elif (key, index) in roles:
                    why = "another recommendation changes it already"
                    elsewhere.append(Elsewhere(found, usage, entry, why))
                else:
                    roles[key, index] = self._change(identity, index, found, usage)
        return Changes(tuple(roles[key] for key in sorted(roles)), tuple(elsewhere))

    def _entries(self, identity: CloudRunIdentity, found: RoleRecommendation) -> Iterator[int]:
        """Yield the indexes of the entries that declare the grant."""
        for index, entry in enumerate(identity.spec.roles):
            home = (entry.project_ref or identity.spec.project_ref).name
            on_project = entry.target is None or entry.target.kind is TargetKind.PROJECT
            if (
                on_project
                and self._declared.project_id(home) == self._project_id
                and self._role_of(entry, identity.metadata.namespace) == found.role
                and _expression(entry) == _declared_expression(entry, found)
            ):
                yield index

    def _role_of(self, entry: RoleGrant | IAMBindingSpec, namespace: str) -> str:
        if entry.custom_role_ref is None:
            return entry.role or ""
        role = self._custom_role(namespace, entry.custom_role_ref.name)
        return role.name_in(self._project_id) if role else ""

    def _custom_role(self, namespace: str, name: str) -> CustomRole | None:
        matching = (
            each
            for each in self._declared.all(CustomRole)
            if (each.metadata.namespace, each.metadata.name) == (namespace, name)
        )
        return next(matching, None)

    def _binding_of(self, found: RoleRecommendation) -> str:
        """Return the IAMBinding that declares the grant; empty if none does."""
        for binding in self._declared.all(IAMBinding):
            spec = binding.spec
            if (
                self._role_of(spec, binding.metadata.namespace) == found.role
                and _expression(spec) in (found.condition, declared_expression(found.condition))
                and (spec.target is None or spec.target.kind is TargetKind.PROJECT)
                and self._declared.project_id(spec.project_ref.name) == self._project_id
                and self._declared.has_member(binding, found.member)
            ):
                return f"IAMBinding {binding.metadata.namespace}/{binding.metadata.name}"
        return ""

    def _change(
        self,
        identity: CloudRunIdentity,
        index: int,
        found: RoleRecommendation,
        usage: PermissionUsage | None,
    ) -> RoleChange:
        change = RoleChange(_key_of(identity), index, found, usage)
        is_custom = found.is_customizable or (self._custom_roles and bool(found.replace_by))
        if is_custom and usage and usage.needed:
            change = replace(change, custom_role=self._new_role(identity, index, found, usage))
        else:
            change = replace(change, replace_by=found.replace_by)
        project = self._declared.project_on(self._project_id)
        return replace(change, refusals=tuple(self._refusals(change, project))) if project else change

    def _new_role(
        self, identity: CloudRunIdentity, index: int, found: RoleRecommendation, usage: PermissionUsage
    ) -> NewRole:
        """Return a role in the project of the entry, under a name that no other CustomRole has."""
        project = (identity.spec.roles[index].project_ref or identity.spec.project_ref).name
        namespace, of = identity.metadata.namespace, re.split(r"[./]", found.role)[-1]
        for number in ("", *map(str, range(2, 1000))):
            name = object_name(identity.metadata.name, of, "used", number)
            existing = self._custom_role(namespace, name)
            same = (
                existing is not None
                and existing.spec.project_ref.name == project
                and set(existing.spec.permissions) == set(usage.needed)
            )
            if (namespace, name) not in self._names and (existing is None or same):
                break
        self._names.add((namespace, name))
        role_id = re.sub(r"[^a-zA-Z0-9_]", "_", name)[:64]
        return NewRole(name, role_id, usage.needed, project)

    def _refusals(self, change: RoleChange, project: ManagedProject) -> Iterator[Denied]:
        """Yield what the guardrails do not admit."""
        namespace = change.identity.namespace
        facts = self._declared.facts(project, namespace)
        permissions: Iterable[tuple[str, frozenset[str] | None]] = [
            (role, _permissions(role)) for role in change.replace_by
        ]
        if custom := change.custom_role:
            defined = may_define(project, namespace, custom.permissions, facts)
            if isinstance(defined, Denied):
                yield defined
            full_name = f"projects/{self._project_id}/roles/{custom.role_id}"
            permissions = [(full_name, frozenset(custom.permissions))]
        for role, listed in permissions:
            request = GrantRequest(
                namespace=namespace,
                target=Target.project(self._project_id),
                role=role,
                member=DeclaredIdentity(namespace, change.identity.name),
                permissions=listed,
            )
            decision = decide(request, project, facts)
            if isinstance(decision, Denied):
                yield decision


def _expression(entry: RoleGrant | IAMBindingSpec) -> str:
    return entry.condition.expression if entry.condition else ""


def _declared_expression(entry: RoleGrant, found: RoleRecommendation) -> str:
    """Return the condition of a grant without the end that Google Cloud enforces for the entry."""
    return declared_expression(found.condition) if entry.is_enforced_by_google else found.condition


def _key_of(identity: CloudRunIdentity) -> DeclaredKey:
    return DeclaredKey("CloudRunIdentity", identity.metadata.namespace, identity.metadata.name)


def _permissions(role: str) -> frozenset[str] | None:
    found = role_catalog().get(role)
    return frozenset(found.permissions) if found else None
