"""Target kinds: the kinds of Google Cloud resources with an IAM policy that roles can be granted on.

The table `TARGET_KINDS` has one descriptor per kind. It holds everything that differs between the kinds. The
schema of the custom resources, the guardrails, the Google Cloud clients and the emulator derive from it. To
add a kind, add a value to `TargetKind` and a descriptor to the table.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from .data_kinds import DATA_KINDS
from .generic_target import GENERIC_KIND
from .predefined_roles import ACTING_ROLES, INVOKER
from .status import Reason
from .target_descriptor import (
    NamedBy,
    NameForm,
    TargetKind,
    TargetKindDescriptor,
    UniqueIDField,
)

_WORKLOAD_NAME: Final = "^[a-z]([-a-z0-9]*[a-z0-9])?$"
WORKLOAD_FORM: Final = NameForm(
    _WORKLOAD_NAME, "must be the name of a Cloud Run resource: a-z, 0-9 and -, starting with a letter"
)
"""The form of the names of Cloud Run resources."""


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
        regional_host="{location}-run.googleapis.com",
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


def _container(
    kind: TargetKind, *, number_form: NameForm, audit_methods: tuple[str, ...]
) -> TargetKindDescriptor:
    """Return the descriptor of a kind of resource that contains projects."""
    noun = kind.value
    collection = f"{noun.lower()}s"
    return TargetKindDescriptor(
        kind=kind,
        display_name=noun.lower(),
        host="cloudresourcemanager.googleapis.com",
        resource_pattern=f"{collection}/{{name}}",
        policy_service=f"google.cloud.resourcemanager.v3.{noun}s",
        get_method=f"google.cloud.resourcemanager.v3.{noun}s/Get{noun}",
        # As for projects: the reference of getIamPolicy mentions PERMISSION_DENIED only.
        hides_missing=True,
        missing_reason=Reason.DEPENDENCY_NOT_FOUND,
        unique_id_field=UniqueIDField("name", 1),  # the number, which Google assigns once
        reuses_names=False,
        audit_methods=audit_methods,
        named_by=NamedBy.NAME,
        name_form=number_form,
        accepts_conditions=True,
        accepts_public_members=False,
        is_inherited=True,
        is_admitted_by_name_only=True,
        contains_projects=True,
        permission_prefix=f"resourcemanager.{collection}",
        feature=f"grants on {collection}",
    )


# Sources. Services, methods, routing headers and unique ids: the protos of the client libraries
# (google-cloud-resource-manager, google-cloud-iam, google-cloud-run). Resource names:
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
    *DATA_KINDS,
    _container(
        TargetKind.FOLDER,
        number_form=NameForm("^[0-9]+$", "must be the number of a folder", max_length=20),
        audit_methods=("SetIamPolicy", "google.cloud.resourcemanager.v3.Folders.SetIamPolicy"),
    ),
    _container(
        TargetKind.ORGANIZATION,
        number_form=NameForm("^[0-9]+$", "must be the number of an organization", max_length=20),
        audit_methods=("SetIamPolicy", "google.cloud.resourcemanager.v3.Organizations.SetIamPolicy"),
    ),
    GENERIC_KIND,
)

TARGET_KINDS: Final[Mapping[TargetKind, TargetKindDescriptor]] = MappingProxyType(
    {descriptor.kind: descriptor for descriptor in _DESCRIPTORS}
)
"""The descriptor of every target kind, in the order in which documentation lists the kinds."""


def kinds_where(holds: Callable[[TargetKindDescriptor], bool]) -> tuple[TargetKind, ...]:
    """Return the kinds for whose descriptor `holds` is true."""
    return tuple(kind for kind, descriptor in TARGET_KINDS.items() if holds(descriptor))


def kind_containing(host: str, resource: str) -> TargetKindDescriptor | None:
    """Return the kind that a resource of an API belongs to; None if only the generic kind has it."""
    return next((each for each in _DESCRIPTORS if each.host == host and each.parts_of(resource)), None)


def target_text(
    kind: TargetKind,
    *,
    project_id: str,
    location: str | None,
    parent: str | None,
    name: str | None,
    service: str = "",
) -> str:
    """Return a target as statuses show it: `Service europe-west1/checkout`, `Project payments-prod-1234`.

    `name` is the e-mail of a service account, and unused for a project. `service` is the API of a resource of
    the generic kind, which is shown with its full resource name.
    """
    descriptor = TARGET_KINDS[kind]
    if descriptor.named_by is NamedBy.PROJECT:
        return f"{kind} {project_id}"
    if descriptor.named_by is NamedBy.RESOURCE:
        return f"{kind} //{service}/{descriptor.resource_pattern.format(project_id=project_id, name=name)}"
    parts = (location if descriptor.has_location else "", parent if descriptor.parent else "", name)
    return f"{kind} {'/'.join(part for part in parts if part)}"
