"""Objects in files and in a cluster, as far as suggestions depend on them."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from pydantic import ValidationError

from cloudrun_identity.api import (
    KINDS,
    BindingCondition,
    CloudRunIdentity,
    CustomRole,
    CustomRoleRef,
    IAMBinding,
    IdentityAttachment,
    ManagedProject,
    Member,
    Resource,
    TargetRef,
)
from cloudrun_identity.gcp.service_accounts import expected_email
from cloudrun_identity.gcp.workloads import Workload
from cloudrun_identity.iam.admission import DeclaredIdentity, GuardrailFacts
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.namespace_selection import admitted_namespaces
from cloudrun_identity.iam.principals import is_public, lower_email, same_member, service_account_member
from cloudrun_identity.iam.role_catalog import role_catalog
from cloudrun_identity.iam.workload_needs import Need
from cloudrun_identity.kube.resources import Object

from .names import object_name

Kind = TypeVar("Kind", bound=Resource)


@dataclass(frozen=True, slots=True)
class DeclaredGrant:
    """A grant that an object declares. It names projects by their ManagedProjects."""

    target: Target
    """Resource of the grant."""
    permissions: frozenset[str]
    """Permissions of the role, as far as they are known."""
    member: str
    """Member, in the form of IAM."""
    condition: str
    """Expression of the condition; empty for an unconditional grant."""

    def meets(self, need: Need, members: Collection[str]) -> bool:
        """Return whether the grant gives one of the members the access.

        A role on a project includes the resources in it.
        """
        return (
            self.target in (need.target, Target.project(need.target.project_id))
            and need.access.permission in self.permissions
            and (is_public(self.member) or any(same_member(self.member, each) for each in members))
            and self.condition in ("", need.condition.expression if need.condition else "")
        )


class Declared:
    """The objects, indexed. An object in a file replaces the one with its name in the cluster."""

    def __init__(self, objects: Iterable[Object]) -> None:
        """Index the objects. Later ones replace earlier ones of the same kind, namespace and name."""
        self._objects: dict[tuple[str, str, str], Resource] = {}
        self._namespaces: dict[str, dict[str, str]] = {}
        for raw in objects:
            self._add(raw)
        self._identities = {lower_email(self.email_of(each)): each for each in self.all(CloudRunIdentity)}
        self._grants = tuple(self._declared_grants())

    def all(self, kind: type[Kind]) -> Iterator[Kind]:
        """Yield all objects of a kind."""
        return (each for each in self._objects.values() if isinstance(each, kind))

    def exists(self, kind: type[Resource], namespace: str, name: str) -> bool:
        """Return whether there is such an object."""
        return (kind.__name__, namespace, name) in self._objects

    def project_on(self, project: str) -> ManagedProject | None:
        """Return the ManagedProject of a project, by ID or number."""
        found = (
            each
            for each in self.all(ManagedProject)
            if project and project in (each.project_id, each.status.project_number)
        )
        return next(found, None)

    def project_name(self, project_id: str) -> str:
        """Return the name of the ManagedProject of a project, or the one that `export` would give it."""
        project = self.project_on(project_id)
        return project.metadata.name if project else object_name(project_id)

    def identity_of(self, email: str) -> CloudRunIdentity | None:
        """Return the identity that declares the account."""
        return self._identities.get(lower_email(email))

    def attached(self, workload: Workload) -> IdentityAttachment | None:
        """Return the attachment of the workload."""
        project = self.project_name(workload.project_id)
        for each in self.all(IdentityAttachment):
            spec = each.spec.workload
            if Workload(spec.kind, each.spec.project_ref.name, spec.location, spec.name) == replace(
                workload, project_id=project
            ):
                return each
        return None

    def identity(self, namespace: str, name: str) -> CloudRunIdentity | None:
        """Return the identity with this name."""
        found = self._objects.get((CloudRunIdentity.__name__, namespace, name))
        return found if isinstance(found, CloudRunIdentity) else None

    def project_id(self, name: str) -> str:
        """Return the ID of the project of a ManagedProject; its name if there is no such object."""
        project = self._objects.get((ManagedProject.__name__, "", name))
        return project.project_id if isinstance(project, ManagedProject) else name

    def email_of(self, identity: CloudRunIdentity) -> str:
        """Return the e-mail of the account of an identity, as observed or as expected."""
        project_id = self.project_id(identity.spec.project_ref.name)
        return identity.status.email or expected_email(project_id, identity.account_id)

    def meets(self, need: Need, members: Collection[str]) -> bool:
        """Return whether an object declares a grant that gives one of the members the access."""
        target = replace(need.target, project_id=self.project_name(need.target.project_id))
        by_name = replace(need, target=target)
        return any(grant.meets(by_name, members) for grant in self._grants)

    def has_member(self, binding: IAMBinding, member: str) -> bool:
        """Return whether a binding names a member, by its e-mail or by its identity."""
        namespace = binding.metadata.namespace
        return any(same_member(self._member(each, namespace), member) for each in binding.spec.members)

    def facts(self, project: ManagedProject, namespace: str) -> GuardrailFacts:
        """Return the facts that guardrails are evaluated with. Namespaces of objects are assumed to exist."""
        named = {each.metadata.namespace for each in self._objects.values()} | {namespace}
        existing: dict[str, dict[str, str]] = {name: {} for name in named if name}
        return GuardrailFacts(
            admitted_namespaces(project, existing | self._namespaces),
            {
                email: DeclaredIdentity(each.metadata.namespace, each.metadata.name)
                for email, each in self._identities.items()
            },
        )

    def _add(self, raw: Object) -> None:
        metadata = raw["metadata"]
        if raw["kind"] == "Namespace":
            self._namespaces[metadata["name"]] = metadata.get("labels") or {}
            return
        try:
            obj = KINDS[raw["kind"]].model_validate(raw)
        except ValidationError:  # an older or laxer CRD may have admitted it; the operator reports it
            return
        self._objects[raw["kind"], obj.metadata.namespace, obj.metadata.name] = obj

    def _declared_grants(self) -> Iterator[DeclaredGrant]:
        for identity in self.all(CloudRunIdentity):
            member = service_account_member(self.email_of(identity))
            for grant in identity.spec.roles:
                home = (grant.project_ref or identity.spec.project_ref).name
                permissions = self._permissions(grant.role, grant.custom_role_ref, identity)
                target = self._target(grant.target, home)
                yield DeclaredGrant(target, permissions, member, _expression(grant.condition))
        for binding in self.all(IAMBinding):
            spec = binding.spec
            target = self._target(spec.target, spec.project_ref.name)
            permissions = self._permissions(spec.role, spec.custom_role_ref, binding)
            for each in spec.members:
                member = self._member(each, binding.metadata.namespace)
                yield DeclaredGrant(target, permissions, member, _expression(spec.condition))

    def _target(self, target: TargetRef | None, project: str) -> Target:
        if target is None:
            return Target.project(project)
        name = target.name or target.resource or ""
        return Target(target.kind, project, target.location or "", name, target.parent)

    def _permissions(self, role: str | None, ref: CustomRoleRef | None, obj: Resource) -> frozenset[str]:
        if ref:
            custom = self._objects.get((CustomRole.__name__, obj.metadata.namespace, ref.name))
            return frozenset(custom.spec.permissions) if isinstance(custom, CustomRole) else frozenset()
        found = role_catalog().get(role or "")
        return frozenset(found.permissions) if found else frozenset()

    def _member(self, member: Member, namespace: str) -> str:
        """Return the member in the form of IAM; empty if what it refers to is unknown."""
        if member.identity_ref:
            identity = self.identity(member.identity_ref.namespace or namespace, member.identity_ref.name)
            return service_account_member(self.email_of(identity)) if identity else ""
        if member.cloud_run_service_agent_of:
            return agent_of(member.cloud_run_service_agent_of.project_ref.name)
        return member.principal or ""


def agent_of(project: str) -> str:
    """Return the Cloud Run service agent of a ManagedProject, whether or not its e-mail is known."""
    return f"cloudRunServiceAgentOf:{project}"


def _expression(condition: BindingCondition | None) -> str:
    return condition.expression if condition else ""
