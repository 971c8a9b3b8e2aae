"""Target kinds: the kinds of Google Cloud resources with an IAM policy that roles can be granted on.

The table `TARGET_KINDS` has one descriptor per kind. It holds everything that differs between the kinds. The
schema of the custom resources, the guardrails, the Google Cloud clients and the emulator derive from it. To
add a kind, add a value to `TargetKind` and a descriptor to the table.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from types import MappingProxyType
from typing import Final

from .predefined_roles import ACTING_ROLES, INVOKER
from .status import Reason


class TargetKind(StrEnum):
    """Kinds of resources whose IAM policy the operator can manage grants on."""

    PROJECT = "Project"
    SERVICE_ACCOUNT = "ServiceAccount"
    SERVICE = "Service"
    JOB = "Job"
    WORKER_POOL = "WorkerPool"
    SECRET = "Secret"  # noqa: S105 - a kind of resource


class NamedBy(Enum):
    """Fields of a spec that name a target within a project."""

    PROJECT = auto()
    """None: the target is the project."""
    IDENTITY = auto()
    """`identityRef` or `email`."""
    NAME = auto()
    """`name`, and `location` for a regional kind."""


@dataclass(frozen=True, slots=True)
class NameForm:
    """The form of a name that a user chooses."""

    pattern: str
    """RE2 regular expression that the whole name matches."""
    message: str
    """Description of the form, to follow the field's path."""
    max_length: int = 255
    """Maximum number of characters."""


@dataclass(frozen=True, slots=True)
class UniqueIDField:
    """The field of a resource that distinguishes it from a later one of the same name."""

    name: str
    """Name of the field in the JSON form of the resource."""
    number: int
    """Number of the field in the message that `get_method` returns."""
    is_time: bool = False
    """True for a timestamp, false for a string."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetKindDescriptor:
    """Everything that distinguishes one target kind from the others."""

    kind: TargetKind
    display_name: str
    """Name of the kind in prose, such as "worker pool"."""
    host: str
    """Host of the API. Quotas and rate limits apply per host, and per location for a regional kind."""
    resource_pattern: str
    """Relative resource name, with `{project_id}`, `{location}` and `{name}`."""
    policy_service: str
    """gRPC service with the methods GetIamPolicy, SetIamPolicy and TestIamPermissions. Their messages are
    those of google.iam.v1.IAMPolicy, whichever service has them."""
    routing_parameter: str = "resource"
    """Key of the resource name in the routing header `x-goog-request-params` of these methods."""
    get_method: str
    """gRPC method that reads the resource, and so shows whether it exists. Field 1 of its request is the
    resource name."""
    hides_missing: bool = False
    """True if a read of a missing resource fails with PERMISSION_DENIED instead of NOT_FOUND."""
    missing_reason: Reason
    """Reason of the Ready condition while the resource does not exist."""
    unique_id_field: UniqueIDField
    """Field with the unique id, to which everything recorded for a target is bound."""
    reuses_names: bool = True
    """False if Google never gives the name to another resource, so that the unique id is read only once."""
    audit_methods: tuple[str, ...]
    """`protoPayload.methodName` of the audit log entries that a change of the policy writes."""
    named_by: NamedBy
    name_form: NameForm | None = None
    """Form of the name, for a kind that is named by `name`."""
    accepts_conditions: bool
    """True if the policy accepts bindings with an IAM condition."""
    accepts_public_members: bool
    """True if the schema accepts allUsers and allAuthenticatedUsers as members."""
    accepts_member_sets: bool = True
    """True if guardrails may admit public and type-wide members."""
    is_inherited: bool = False
    """True if a grant on the resource also applies to every resource in it."""
    is_admitted_by_name_only: bool = False
    """True if a guardrail entry admits the kind only where it lists `names`."""
    default_roles: tuple[str, ...] = ()
    """Roles that guardrails.defaultGrants admits for every member that is not public or type-wide."""
    permission_prefix: str
    """Prefix of the permissions `getIamPolicy` and `setIamPolicy` of the resource."""
    feature: str
    """Feature under which the operator's permissions for the kind are listed."""

    @property
    def is_regional(self) -> bool:
        """True if the resource has a location."""
        return "{location}" in self.resource_pattern

    @property
    def name_includes_project(self) -> bool:
        """True if the name of a target identifies it without its project."""
        return self.named_by is not NamedBy.NAME

    @property
    def permissions(self) -> tuple[str, str]:
        """Permissions that the operator needs on the policy of the resource."""
        return f"{self.permission_prefix}.getIamPolicy", f"{self.permission_prefix}.setIamPolicy"

    @property
    def read_permission(self) -> str:
        """Permission that the operator needs to read the unique id of the resource."""
        return f"{self.permission_prefix}.get"


_WORKLOAD_NAME: Final = "^[a-z]([-a-z0-9]*[a-z0-9])?$"
WORKLOAD_FORM: Final = NameForm(
    _WORKLOAD_NAME, "must be the name of a Cloud Run resource: a-z, 0-9 and -, starting with a letter"
)
"""The form of the names of Cloud Run resources."""

_SECRET_FORM: Final = NameForm("^[A-Za-z0-9_-]+$", "must be the ID of a secret: letters, digits, - and _")


def _workload(
    kind: TargetKind,
    display_name: str,
    *,
    uid_number: int,
    name_form: NameForm = WORKLOAD_FORM,
    audit_methods: tuple[str, ...],
    accepts_conditions: bool = False,
    accepts_public_members: bool = True,
) -> TargetKindDescriptor:
    """Return the descriptor of a kind of Cloud Run resource."""
    noun = kind.value
    collection = f"{noun[:1].lower()}{noun[1:]}s"
    return TargetKindDescriptor(
        kind=kind,
        display_name=display_name,
        host="run.googleapis.com",
        resource_pattern=f"projects/{{project_id}}/locations/{{location}}/{collection}/{{name}}",
        policy_service=f"google.cloud.run.v2.{noun}s",
        get_method=f"google.cloud.run.v2.{noun}s/Get{noun}",
        missing_reason=Reason.WORKLOAD_NOT_FOUND,
        unique_id_field=UniqueIDField("uid", uid_number),
        audit_methods=audit_methods,
        named_by=NamedBy.NAME,
        name_form=name_form,
        accepts_conditions=accepts_conditions,
        accepts_public_members=accepts_public_members,
        default_roles=(INVOKER,),
        permission_prefix=f"run.{collection.lower()}",
        feature="grants on workloads",
    )


# Sources. Services, methods, routing headers and unique ids: the protos of the client libraries
# (google-cloud-resource-manager, google-cloud-iam, google-cloud-run) and the proto of Secret Manager at
# https://github.com/googleapis/googleapis/blob/master/google/cloud/secretmanager/v1. Resource names:
# https://cloud.google.com/iam/docs/full-resource-names. Conditions:
# https://cloud.google.com/iam/docs/resource-types-with-conditional-roles (of Cloud Run, services only).
# Public members: https://cloud.google.com/resource-manager/reference/rest/v3/projects/setIamPolicy (a project
# refuses them); Cloud Run refuses them on jobs. Permissions: https://cloud.google.com/iam/docs/permissions-reference.
# Audit logs: the page "audit-logging" of each product's documentation, such as
# https://cloud.google.com/run/docs/audit-logging.
_DESCRIPTORS: Final = (
    TargetKindDescriptor(
        kind=TargetKind.PROJECT,
        display_name="project",
        host="cloudresourcemanager.googleapis.com",
        resource_pattern="projects/{project_id}",
        policy_service="google.cloud.resourcemanager.v3.Projects",
        get_method="google.cloud.resourcemanager.v3.Projects/GetProject",
        # "Permission is denied if the policy or the resource do not exist." (reference of getIamPolicy)
        hides_missing=True,
        missing_reason=Reason.DEPENDENCY_NOT_FOUND,
        unique_id_field=UniqueIDField("name", 1),  # projects/NUMBER
        # "Once a project is fully deleted, its ID can't be reused."
        # (https://cloud.google.com/resource-manager/docs/delete-restore-projects)
        reuses_names=False,
        audit_methods=("SetIamPolicy", "google.cloud.resourcemanager.v3.Projects.SetIamPolicy"),
        named_by=NamedBy.PROJECT,
        accepts_conditions=True,
        accepts_public_members=False,
        is_inherited=True,
        permission_prefix="resourcemanager.projects",
        feature="grants on the project",
    ),
    TargetKindDescriptor(
        kind=TargetKind.SERVICE_ACCOUNT,
        display_name="service account",
        host="iam.googleapis.com",
        resource_pattern="projects/{project_id}/serviceAccounts/{name}",
        policy_service="google.iam.admin.v1.IAM",
        get_method="google.iam.admin.v1.IAM/GetServiceAccount",
        missing_reason=Reason.DEPENDENCY_NOT_FOUND,
        unique_id_field=UniqueIDField("uniqueId", 4),
        audit_methods=("google.iam.admin.v1.SetIAMPolicy",),
        named_by=NamedBy.IDENTITY,
        accepts_conditions=True,
        # Google accepts public members on an account. Every caller of the Internet could then act as it.
        accepts_public_members=False,
        accepts_member_sets=False,
        default_roles=ACTING_ROLES,
        permission_prefix="iam.serviceAccounts",
        feature="grants on service accounts",
    ),
    _workload(
        TargetKind.SERVICE,
        "service",
        uid_number=3,
        name_form=NameForm(_WORKLOAD_NAME, WORKLOAD_FORM.message, max_length=49),
        audit_methods=(
            "google.cloud.run.v1.Services.SetIamPolicy",
            "google.cloud.run.v2.Services.SetIamPolicy",
        ),
        accepts_conditions=True,
    ),
    _workload(
        TargetKind.JOB,
        "job",
        uid_number=2,
        audit_methods=("google.cloud.run.v1.Jobs.SetIamPolicy", "google.cloud.run.v2.Jobs.SetIamPolicy"),
        accepts_public_members=False,
    ),
    _workload(
        TargetKind.WORKER_POOL,
        "worker pool",
        uid_number=3,
        audit_methods=("google.cloud.run.v2.WorkerPools.SetIamPolicy",),
    ),
    TargetKindDescriptor(
        kind=TargetKind.SECRET,
        display_name="secret",
        host="secretmanager.googleapis.com",
        resource_pattern="projects/{project_id}/secrets/{name}",
        policy_service="google.cloud.secretmanager.v1.SecretManagerService",
        get_method="google.cloud.secretmanager.v1.SecretManagerService/GetSecret",
        missing_reason=Reason.WORKLOAD_NOT_FOUND,
        unique_id_field=UniqueIDField("createTime", 3, is_time=True),  # the API has no other id
        audit_methods=("google.cloud.secretmanager.v1.SecretManagerService.SetIamPolicy",),
        named_by=NamedBy.NAME,
        name_form=_SECRET_FORM,
        accepts_conditions=True,
        accepts_public_members=True,
        is_admitted_by_name_only=True,
        permission_prefix="secretmanager.secrets",
        feature="grants on secrets",
    ),
)

TARGET_KINDS: Final[Mapping[TargetKind, TargetKindDescriptor]] = MappingProxyType(
    {descriptor.kind: descriptor for descriptor in _DESCRIPTORS}
)
"""The descriptor of every target kind, in the order in which documentation lists the kinds."""


def kinds_where(holds: Callable[[TargetKindDescriptor], bool]) -> tuple[TargetKind, ...]:
    """Return the kinds for whose descriptor `holds` is true."""
    return tuple(kind for kind, descriptor in TARGET_KINDS.items() if holds(descriptor))


def target_text(kind: TargetKind, *, project_id: str, location: str | None, name: str | None) -> str:
    """Return a target as statuses show it: `Service europe-west1/checkout`, `Project payments-prod-1234`.

    `name` is the e-mail of a service account, and unused for a project.
    """
    descriptor = TARGET_KINDS[kind]
    if descriptor.named_by is NamedBy.PROJECT:
        return f"{kind} {project_id}"
    return f"{kind} {location}/{name}" if descriptor.is_regional else f"{kind} {name}"
