"""References, members, targets and conditions: the vocabulary that specs share."""

from enum import StrEnum
from typing import Annotated, ClassVar, assert_never

from pydantic import Field

from .schema import ApiModel, Rule, exactly_one_of, matches

ObjectName = Annotated[str, Field(min_length=1, max_length=253)]
NamespaceName = Annotated[str, Field(min_length=1, max_length=63)]

ServiceAccountEmail = Annotated[
    str,
    Field(max_length=254),
    matches(
        r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?@([a-z0-9][-a-z0-9]*\.)+gserviceaccount\.com$",
        "must be the e-mail of a service account, such as ci@acme.iam.gserviceaccount.com",
    ),
]

Principal = Annotated[
    str,
    Field(max_length=512),
    matches(
        r"^((user|group|serviceAccount):[^@\s:]+@[^@\s:]+"
        r"|serviceAccount:[a-z0-9:.-]+\.svc\.id\.goog\[[a-z0-9-]+/[a-z0-9.-]+\]"
        r"|domain:[^@\s:]+|principal(Set)?://[^\s]+|allUsers|allAuthenticatedUsers)$",
        "must be user:EMAIL, group:EMAIL, serviceAccount:EMAIL, "
        "serviceAccount:PROJECT.svc.id.goog[NAMESPACE/NAME], domain:DOMAIN, "
        "principal://…, principalSet://…, allUsers or allAuthenticatedUsers",
    ),
]

Role = Annotated[
    str,
    Field(max_length=256),
    matches(
        r"^(roles|projects/[a-z0-9:.-]+/roles|organizations/[0-9]+/roles)/[a-zA-Z0-9_.]+$",
        "must be a role's full name: roles/NAME, projects/PROJECT/roles/ID or organizations/NUMBER/roles/ID",
    ),
]

Location = Annotated[
    str,
    Field(max_length=63),
    matches(r"^[a-z]+(-[a-z]+)+[0-9]+$", "must be a Cloud Run location, such as europe-west1"),
]

_WORKLOAD_NAME = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
_WORKLOAD_NAME_FORM = "must be the name of a Cloud Run resource: a-z, 0-9 and -, starting with a letter"

_SERVICE_NAME_LENGTH = Rule(
    "self.kind != 'Service' || !has(self.name) || size(self.name) <= 49",
    "must be at most 49 characters long: Cloud Run takes no service of a longer name",
    field_path=".name",
)


class ProjectRef(ApiModel):
    """A ManagedProject, by name."""

    atomic: ClassVar = True

    name: ObjectName
    """The ManagedProject's name."""


class CustomRoleRef(ApiModel):
    """A CustomRole of the same namespace."""

    atomic: ClassVar = True

    name: ObjectName
    """The CustomRole's name."""


class LocalIdentityRef(ApiModel):
    """A CloudRunIdentity of the same namespace: nobody sets another namespace's identity's IAM policy."""

    atomic: ClassVar = True

    name: ObjectName
    """The CloudRunIdentity's name."""


class IdentityRef(ApiModel):
    """A CloudRunIdentity. One of another namespace must list this object's in its allowedNamespaces."""

    atomic: ClassVar = True

    name: ObjectName
    """The CloudRunIdentity's name."""
    namespace: NamespaceName | None = None
    """The CloudRunIdentity's namespace. Unset: the object's own."""


class CloudRunServiceAgentOf(ApiModel):
    """Google's own account that runs the workloads of a project."""

    project_ref: ProjectRef
    """The project whose Cloud Run service agent is meant."""


class Member(ApiModel):
    """Somebody who is granted a role."""

    rules: ClassVar = (exactly_one_of("principal", "identityRef", "cloudRunServiceAgentOf"),)

    principal: Principal | None = None
    """A principal in IAM's notation, such as `group:ops@example.com`."""
    identity_ref: IdentityRef | None = None
    """A CloudRunIdentity."""
    cloud_run_service_agent_of: CloudRunServiceAgentOf | None = None
    """The Cloud Run service agent of a project."""


class BindingCondition(ApiModel):
    """An IAM condition, in CEL. Another title or expression is another grant."""

    atomic: ClassVar = True

    title: str = Field(min_length=1, max_length=100)
    """A short name."""
    description: str | None = Field(default=None, max_length=256)
    """What it is for."""
    expression: str = Field(min_length=1, max_length=2048)
    """When the grant holds, such as `request.time < timestamp("2030-01-01T00:00:00Z")`."""


class WorkloadKind(StrEnum):
    """The kinds of Cloud Run resources that run as an identity."""

    SERVICE = "Service"
    JOB = "Job"
    WORKER_POOL = "WorkerPool"


class TargetKind(StrEnum):
    """The kinds of resources whose IAM policy can be granted on."""

    PROJECT = "Project"
    SERVICE_ACCOUNT = "ServiceAccount"
    SERVICE = "Service"
    JOB = "Job"
    WORKER_POOL = "WorkerPool"
    SECRET = "Secret"  # noqa: S105 (a kind of resource)


class TargetRef(ApiModel):
    """The resource that a role is granted on."""

    atomic: ClassVar = True
    rules: ClassVar = (
        Rule(
            "self.kind == 'ServiceAccount' ? has(self.identityRef) != has(self.email)"
            " : !has(self.identityRef) && !has(self.email)",
            "exactly one of identityRef, email must be set for kind ServiceAccount, and neither for others",
        ),
        Rule(
            "has(self.location) == (self.kind in ['Service', 'Job', 'WorkerPool'])",
            "must be set for kinds Service, Job and WorkerPool, and for no other kind",
            field_path=".location",
        ),
        Rule(
            "has(self.name) == (self.kind in ['Service', 'Job', 'WorkerPool', 'Secret'])",
            "must be set for kinds Service, Job, WorkerPool and Secret, and for no other kind",
            field_path=".name",
        ),
        Rule(
            f"!has(self.name) || self.kind == 'Secret' || self.name.matches('{_WORKLOAD_NAME}')",
            _WORKLOAD_NAME_FORM,
            field_path=".name",
        ),
        Rule(
            "!has(self.name) || self.kind != 'Secret' || self.name.matches('^[A-Za-z0-9_-]+$')",
            "must be the ID of a secret: letters, digits, - and _",
            field_path=".name",
        ),
        _SERVICE_NAME_LENGTH,
    )

    kind: TargetKind
    """Project takes no more than this; ServiceAccount takes identityRef or email; Secret takes a name; the
    Cloud Run kinds take a location and a name."""
    location: Location | None = None
    """The location of a Cloud Run resource."""
    name: Annotated[str, Field(max_length=255)] | None = None
    """The name of a Cloud Run resource or a secret."""
    identity_ref: LocalIdentityRef | None = None
    """The identity whose service account it is."""
    email: ServiceAccountEmail | None = None
    """The service account's e-mail; guardrails.accounts must list it."""


class WorkloadRef(ApiModel):
    """A Cloud Run resource that runs as an identity."""

    atomic: ClassVar = True
    rules: ClassVar = (_SERVICE_NAME_LENGTH,)

    kind: WorkloadKind
    """Service, Job or WorkerPool."""
    location: Location
    """Where it runs, such as europe-west1."""
    name: Annotated[str, Field(max_length=63), matches(_WORKLOAD_NAME, _WORKLOAD_NAME_FORM)]
    """Its name."""

    def __str__(self) -> str:
        """As statuses show it: `Service europe-west1/checkout`."""
        return f"{self.kind} {self.location}/{self.name}"


def target_text(kind: TargetKind, *, project_id: str, location: str | None, name: str | None) -> str:
    """Show a target as statuses do: `Service europe-west1/checkout`, `Project payments-prod-1234`.

    `name` is the e-mail where the target is a service account, and unused where it is a project.
    """
    match kind:
        case TargetKind.PROJECT:
            return f"{kind} {project_id}"
        case TargetKind.SERVICE_ACCOUNT | TargetKind.SECRET:
            return f"{kind} {name}"
        case TargetKind.SERVICE | TargetKind.JOB | TargetKind.WORKER_POOL:
            return f"{kind} {location}/{name}"
        case _:
            assert_never(kind)


CONDITIONS_ON_SERVICES_ONLY = Rule(
    "!has(self.condition) || !has(self.target) || !(self.target.kind in ['Job', 'WorkerPool'])",
    "must be unset for a Job or a WorkerPool: of Cloud Run, only services take conditions",
    field_path=".condition",
    reason="FieldValueForbidden",
)

NO_CONDITION_ON_BASIC_ROLES = Rule(
    "!has(self.condition) || !has(self.role)"
    " || !(self.role in ['roles/owner', 'roles/editor', 'roles/viewer'])",
    "must be unset for roles/owner, roles/editor and roles/viewer: basic roles take no conditions",
    field_path=".condition",
    reason="FieldValueForbidden",
)
