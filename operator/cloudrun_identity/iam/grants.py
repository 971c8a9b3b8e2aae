"""Targets, IAM conditions, bindings and grants as values."""

from dataclasses import dataclass, replace

from cloudrun_identity.api import (
    TARGET_KINDS,
    BindingCondition,
    NamedBy,
    TargetKind,
    TargetKindDescriptor,
    WorkloadKind,
    target_text,
)
from cloudrun_identity.api.generic_target import has_regional_host

from .principals import Tombstone, normalise


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """One resource that has an IAM policy."""

    kind: TargetKind
    """Kind of the resource."""
    project_id: str
    """ID of its project."""
    location: str = ""
    """Location of a resource of a regional kind; empty for other kinds."""
    name: str = ""
    """E-mail of a service account, or short name of another resource; empty for a project."""
    parent: str = ""
    """Name of the resource of the project that contains the target, such as a key ring; empty without one."""
    service: str = ""
    """Host of the API of a resource of the generic kind; empty for other kinds."""

    @classmethod
    def project(cls, project_id: str) -> "Target":
        """Return a project as a target."""
        return cls(TargetKind.PROJECT, project_id)

    @classmethod
    def service_account(cls, project_id: str, email: str) -> "Target":
        """Return a service account as a target."""
        return cls(TargetKind.SERVICE_ACCOUNT, project_id, name=email)

    @classmethod
    def secret(cls, project_id: str, name: str) -> "Target":
        """Return a secret as a target."""
        return cls(TargetKind.SECRET, project_id, name=name)

    @property
    def descriptor(self) -> TargetKindDescriptor:
        """The descriptor of the target's kind."""
        return TARGET_KINDS[self.kind]

    @property
    def is_project(self) -> bool:
        """True if the target is a project."""
        return self.descriptor.named_by is NamedBy.PROJECT

    @property
    def is_service_account(self) -> bool:
        """True if the target is a service account."""
        return self.descriptor.named_by is NamedBy.IDENTITY

    @property
    def is_workload(self) -> bool:
        """True if the target is a Cloud Run workload."""
        return self.kind.value in _WORKLOADS

    @property
    def resource(self) -> str:
        """The relative resource name, as requests of google.iam.v1 take it."""
        return self.descriptor.resource_pattern.format(
            project_id=self.project_id, location=self.location, parent=self.parent, name=self.name
        )

    @property
    def full_name(self) -> str:
        """The full resource name (`//HOST/RELATIVE`), which is unique in Google Cloud."""
        return f"//{self.host}/{self.resource}"

    @property
    def host(self) -> str:
        """The global host of the API that serves the target."""
        return self.service or self.descriptor.host

    @property
    def region(self) -> str:
        """The location of the API host that serves the target; empty for the global host."""
        if self.service:
            return self.location if has_regional_host(self.service, self.location) else ""
        return self.location if self.descriptor.regional_host else ""

    @property
    def short_name(self) -> str:
        """The name that guardrails match: the ID of a project or an account, or the name of the resource.

        A nested resource has the name PARENT/NAME. A resource of the generic kind has the name
        that it has in the project.
        """
        match self.descriptor.named_by:
            case NamedBy.PROJECT:
                return self.project_id
            case NamedBy.IDENTITY:
                return self.name.partition("@")[0]
            case NamedBy.NAME:
                return f"{self.parent}/{self.name}" if self.parent else self.name
            case NamedBy.RESOURCE:
                return self.name

    def __str__(self) -> str:
        """Return the target as statuses show it: `Service europe-west1/checkout`, `Project payments-prod`."""
        return target_text(
            self.kind,
            project_id=self.project_id,
            location=self.location,
            parent=self.parent,
            name=self.name,
            service=self.service,
        )


@dataclass(frozen=True, slots=True, order=True)
class IAMCondition:
    """An IAM condition. Two bindings of one role with different conditions are different bindings."""

    title: str
    description: str = ""
    expression: str = ""


@dataclass(frozen=True, slots=True)
class BindingKey:
    """Key of one binding of a policy: a role on a target under a condition."""

    target: Target
    role: str
    condition: IAMCondition | None = None

    def __str__(self) -> str:
        """Return the binding as one line: `roles/run.invoker on Service europe-west1/web`."""
        when = f" if {self.condition.title}" if self.condition else ""
        return f"{self.role} on {self.target}{when}"


@dataclass(frozen=True, slots=True)
class Grant:
    """One role on one target for one member, under a condition or unconditionally."""

    target: Target
    """Resource whose policy contains the grant."""
    role: str
    """Full name of the role."""
    member: str
    """Member as the policy writes it."""
    condition: IAMCondition | None = None
    """Condition of the grant; None for an unconditional grant."""

    @property
    def binding_key(self) -> BindingKey:
        """The binding that contains the grant."""
        return BindingKey(self.target, self.role, self.condition)

    def of(self, member: str) -> "Grant":
        """Return the same grant for another member."""
        return replace(self, member=member)

    def deleted_form(self, unique_id: str) -> "Grant":
        """Return the grant as policies show it after its member, the account with this ID, is deleted."""
        return replace(self, member=normalise(str(Tombstone(self.member, unique_id))))

    def __str__(self) -> str:
        """Return the grant as one line: `roles/run.invoker for user:a@example.com on Service l/web`."""
        when = f" if {self.condition.title}" if self.condition else ""
        return f"{self.role} for {self.member} on {self.target}{when}"


def condition_of(declared: BindingCondition | None) -> IAMCondition | None:
    """Return the IAM condition in a spec or in a ledger."""
    if declared is None:
        return None
    return IAMCondition(declared.title, declared.description or "", declared.expression)


def order(grant: Grant) -> tuple[str, str, str]:
    """Return the sort key of a grant, so that equal sets of grants are written in the same order."""
    return grant.role, grant.condition.title if grant.condition else "", grant.member


_WORKLOADS = frozenset(kind.value for kind in WorkloadKind)
