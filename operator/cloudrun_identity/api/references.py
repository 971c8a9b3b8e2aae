"""References, targets and IAM conditions: the types that several specs share."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from pydantic import Field

from .expiry import (
    ENFORCED_BY_GOOGLE,
    enforced_by_google,
)
from .generic_target import FullResourceName
from .predefined_roles import LEGACY_BASIC_ROLES
from .schema import ApiModel, Rule, cel_string, matches
from .target_descriptor import MULTI_REGION, NamedBy, NameForm, ParentField, TargetKind
from .target_kinds import TARGET_KINDS, WORKLOAD_FORM, kinds_where

ObjectName = Annotated[str, Field(min_length=1, max_length=253)]
NamespaceName = Annotated[str, Field(min_length=1, max_length=63)]

ServiceAccountEmail = Annotated[
    str,
    Field(max_length=254),
    matches(
        r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?@([a-z0-9][-a-z0-9]*\.)+gserviceaccount\.com$",
        "must be the e-mail of a service account, such as deployer@ops-1234.iam.gserviceaccount.com",
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
    matches(
        rf"^([a-z]+(-[a-z]+)+[0-9]+|{MULTI_REGION})$",
        f"must be a Cloud Run region, such as europe-west1, or {MULTI_REGION} for multi-region services",
    ),
]

TargetLocation = Annotated[
    str,
    Field(max_length=63),
    matches(
        r"^[a-z]+(-[a-z]+)*[0-9]*$",
        "must be a region or a multi-region of Google Cloud, such as europe-west1, eur4, us or global",
    ),
]

MAX_TARGET_NAME: Final = 255
MAX_PARENT_NAME: Final = 64
MAX_WORKLOAD_NAME: Final = 63


def cel_list(values: Iterable[str]) -> str:
    """Return strings as a CEL list literal."""
    return f"[{', '.join(map(cel_string, values))}]"


def listed(names: Iterable[str], conjunction: str = "and") -> str:
    """Return names as prose: `Service, Job and WorkerPool`."""
    *others, last = names
    return f"{', '.join(others)} {conjunction} {last}" if others else last


def is_one_of(kinds: Iterable[TargetKind], target: str = "self") -> str:
    """Return the CEL expression that is true for a target of one of these kinds."""
    return f"(has({target}.kind) && {target}.kind in {cel_list(kinds)})"


def _set_for(field: str, kinds: tuple[TargetKind, ...]) -> Rule:
    """Require an optional field of the target for some kinds, and forbid it for the others."""
    plural = "kinds" if len(kinds) > 1 else "kind"
    return Rule(
        f"has(self.{field}) == {is_one_of(kinds)}",
        f"must be set for {plural} {listed(kinds)}, and for no other kind",
        field_path=f".{field}",
    )


def _same_form(first: NameForm, second: NameForm) -> bool:
    return (first.pattern, first.message) == (second.pattern, second.message)


def _of_form(form: NameForm) -> Rule:
    """Require names of the kinds with this form to match it."""
    kinds = kinds_where(lambda kind: kind.name_form is not None and _same_form(kind.name_form, form))
    return Rule(
        f"!has(self.name) || !{is_one_of(kinds)} || self.name.matches({cel_string(form.pattern)})",
        form.message,
        field_path=".name",
    )


def _nested_by(field: ParentField) -> tuple[TargetKind, ...]:
    """Return the kinds of targets that have this field."""
    return kinds_where(lambda kind: kind.parent is not None and kind.parent.name == field.name)


def _of_parent_form(field: ParentField) -> Rule:
    """Require the name of a containing resource to match its form."""
    form = field.name_form
    return Rule(
        f"!has(self.{field.name})"
        f" || (self.{field.name}.matches({cel_string(form.pattern)})"
        f" && size(self.{field.name}) <= {form.max_length})",
        f"{form.message}; at most {form.max_length} characters",
        field_path=f".{field.name}",
    )


def _length_rules(bound: int) -> tuple[Rule, ...]:
    """Bound the length of names of the kinds whose names are shorter than the field's own bound."""
    return tuple(
        Rule(
            f"!has(self.kind) || self.kind != '{kind}'"
            f" || !has(self.name) || size(self.name) <= {form.max_length}",
            f"must be at most {form.max_length} characters long for kind {kind}",
            field_path=".name",
        )
        for kind, descriptor in TARGET_KINDS.items()
        if (form := descriptor.name_form) is not None and form.max_length < bound
    )


_NAME_FORMS: Final = {
    (descriptor.name_form.pattern, descriptor.name_form.message): descriptor.name_form
    for descriptor in TARGET_KINDS.values()
    if descriptor.name_form is not None
}
"""Each form of names once, by its pattern and message."""

_BY_IDENTITY: Final = kinds_where(lambda kind: kind.named_by is NamedBy.IDENTITY)
_BY_NAME: Final = kinds_where(lambda kind: kind.named_by is NamedBy.NAME)
_WITH_LOCATION: Final = kinds_where(lambda kind: kind.has_location)

_PARENTS: Final = {
    descriptor.parent.name: descriptor.parent for descriptor in TARGET_KINDS.values() if descriptor.parent
}
"""Each field that names a containing resource once, by its name."""
_WITHOUT_CONDITIONS: Final = kinds_where(lambda kind: not kind.accepts_conditions)


class ProjectRef(ApiModel):
    """ProjectRef refers to a ManagedProject by name."""

    atomic: ClassVar = True

    name: ObjectName
    """Name of the ManagedProject."""


class CustomRoleRef(ApiModel):
    """CustomRoleRef refers to a CustomRole in the same namespace."""

    atomic: ClassVar = True

    name: ObjectName
    """Name of the CustomRole."""


class LocalIdentityRef(ApiModel):
    """LocalIdentityRef refers to a CloudRunIdentity in the same namespace."""

    atomic: ClassVar = True

    name: ObjectName
    """Name of the CloudRunIdentity."""


class IdentityRef(ApiModel):
    """IdentityRef refers to a CloudRunIdentity.

    A CloudRunIdentity in another namespace must list the object's namespace in spec.allowedNamespaces.
    """

    atomic: ClassVar = True

    name: ObjectName
    """Name of the CloudRunIdentity."""
    namespace: NamespaceName | None = None
    """Namespace of the CloudRunIdentity. If unset, the namespace of the object."""


class BindingCondition(ApiModel):
    """BindingCondition is an IAM condition.

    Grants with different titles or expressions are different grants.
    """

    atomic: ClassVar = True

    title: str = Field(min_length=1, max_length=100)
    """Short name of the condition."""
    description: str | None = Field(default=None, max_length=256)
    """Purpose of the condition."""
    expression: str = Field(min_length=1, max_length=2048)
    """CEL expression that is true while the grant applies, such as `request.time <
    timestamp("2030-01-01T00:00:00Z")`."""


class WorkloadKind(StrEnum):
    """Kinds of Cloud Run resources that run as an identity. Each is a target kind of the same name."""

    SERVICE = "Service"
    JOB = "Job"
    WORKER_POOL = "WorkerPool"


_WORKLOADS: Final = tuple(kind.value for kind in WorkloadKind)


class TargetRef(ApiModel):
    """TargetRef identifies the resource that a role is granted on."""

    atomic: ClassVar = True
    rules: ClassVar = (
        Rule(
            f"{is_one_of(_BY_IDENTITY)} ? has(self.identityRef) != has(self.email)"
            " : !has(self.identityRef) && !has(self.email)",
            f"exactly one of identityRef, email must be set for kind {listed(_BY_IDENTITY)}, "
            "and neither for others",
        ),
        Rule(
            f"has(self.resource) == (!has(self.kind) || self.kind == '{TargetKind.RESOURCE}')",
            f"must be set where kind is {TargetKind.RESOURCE} or unset, and only there; other targets have a "
            "kind",
            field_path=".resource",
        ),
        _set_for("location", _WITH_LOCATION),
        Rule(
            f"!{is_one_of(kinds_where(lambda kind: kind.kind in _WORKLOADS))} || !has(self.location)"
            f" || self.location != '{MULTI_REGION}'",
            f"must be a region for kinds {listed(_WORKLOADS)}: a multi-region service has an IAM policy in "
            "each of its regions, so grant the role in each region",
            field_path=".location",
            holds=lambda target: target.workload_location != MULTI_REGION,
        ),
        *(_set_for(field.name, _nested_by(field)) for field in _PARENTS.values()),
        _set_for("name", _BY_NAME),
        *map(_of_parent_form, _PARENTS.values()),
        *map(_of_form, _NAME_FORMS.values()),
        *_length_rules(MAX_TARGET_NAME),
    )

    declared_kind: Annotated[TargetKind | None, Field(alias="kind")] = None
    """Kind of the resource. It decides which of the other fields must be set. If unset, Resource."""
    resource: FullResourceName | None = None
    """Full resource name of a resource that has no kind of its own, such as
    `//cloudfunctions.googleapis.com/projects/shop-1234/locations/europe-west1/functions/resize`. The project
    must be that of the ManagedProject. The API must serve google.iam.v1.IAMPolicy, and `services` of an entry
    of guardrails.grants must list it."""
    location: TargetLocation | None = None
    """Region or multi-region of the resource."""
    key_ring: Annotated[str, Field(max_length=MAX_PARENT_NAME)] | None = None
    """Name of the key ring that contains a crypto key."""
    instance: Annotated[str, Field(max_length=MAX_PARENT_NAME)] | None = None
    """ID of the instance that contains a database."""
    name: Annotated[str, Field(max_length=MAX_TARGET_NAME)] | None = None
    """Name of the resource within its project, location, key ring or instance. The number of a folder or
    organization."""
    identity_ref: LocalIdentityRef | None = None
    """CloudRunIdentity whose service account is the target."""
    email: ServiceAccountEmail | None = None
    """E-mail of the service account. guardrails.accounts of the ManagedProject must list it."""

    @property
    def kind(self) -> TargetKind:
        """Kind of the resource."""
        return self.declared_kind or TargetKind.RESOURCE

    @property
    def parent(self) -> str:
        """Name of the resource that contains the target; empty if the project contains it."""
        return self.key_ring or self.instance or ""

    @property
    def workload_location(self) -> str:
        """Location of a Cloud Run workload; empty for other kinds."""
        return (self.location or "") if self.kind.value in _WORKLOADS else ""


class WorkloadRef(ApiModel):
    """WorkloadRef identifies a Cloud Run resource that runs as an identity."""

    atomic: ClassVar = True
    rules: ClassVar = (
        *_length_rules(MAX_WORKLOAD_NAME),
        Rule(
            f"self.kind == '{WorkloadKind.SERVICE}' || self.location != '{MULTI_REGION}'",
            f"must be a region for kinds {WorkloadKind.JOB} and {WorkloadKind.WORKER_POOL}: only a service "
            "can be deployed to several regions",
            field_path=".location",
            holds=lambda workload: workload.kind is WorkloadKind.SERVICE or workload.location != MULTI_REGION,
        ),
    )

    kind: WorkloadKind
    """Kind of the workload."""
    location: Location
    """Region of the workload, such as europe-west1, or global for a multi-region service."""
    name: Annotated[
        str, Field(max_length=MAX_WORKLOAD_NAME), matches(WORKLOAD_FORM.pattern, WORKLOAD_FORM.message)
    ]
    """Name of the workload."""

    def __str__(self) -> str:
        """Return the workload as statuses show it: `Service europe-west1/checkout`."""
        return f"{self.kind} {self.location}/{self.name}"


CONDITIONS_WHERE_ACCEPTED = Rule(
    f"!has(self.condition) || !has(self.target) || !{is_one_of(_WITHOUT_CONDITIONS, 'self.target')}",
    f"must be unset for kinds {listed(_WITHOUT_CONDITIONS)}: their IAM policies accept no conditions",
    field_path=".condition",
    reason="FieldValueForbidden",
)

NO_CONDITION_ON_BASIC_ROLES = Rule(
    f"!has(self.condition) || !has(self.role) || !(self.role in {cel_list(LEGACY_BASIC_ROLES)})",
    f"must be unset for {listed(LEGACY_BASIC_ROLES)}: basic roles accept no conditions",
    field_path=".condition",
    reason="FieldValueForbidden",
)

EXPIRY_BY_GOOGLE_WHERE_ACCEPTED = Rule(
    f"!({ENFORCED_BY_GOOGLE}) || ("
    f"(!has(self.target) || !{is_one_of(_WITHOUT_CONDITIONS, 'self.target')})"
    f" && (!has(self.role) || !(self.role in {cel_list(LEGACY_BASIC_ROLES)})))",
    f"must not be OperatorAndGoogle for kinds {listed(_WITHOUT_CONDITIONS)}, and for "
    f"{listed(LEGACY_BASIC_ROLES)}: IAM accepts no conditions there",
    field_path=".expiryEnforcedBy",
    reason="FieldValueForbidden",
)

MEMBER_EXPIRY_BY_GOOGLE_WHERE_ACCEPTED = Rule(
    f"!self.members.exists(m, {enforced_by_google('m')}) || ("
    f"!{is_one_of(_WITHOUT_CONDITIONS, 'self.target')}"
    f" && (!has(self.role) || !(self.role in {cel_list(LEGACY_BASIC_ROLES)}))"
    " && (!has(self.authority) || self.authority != 'Exclusive'))",
    "must not contain expiryEnforcedBy: OperatorAndGoogle for kinds "
    f"{listed(_WITHOUT_CONDITIONS)}, and for {listed(LEGACY_BASIC_ROLES)}: IAM accepts no conditions there; "
    "nor with authority: Exclusive, which is about one condition",
    field_path=".members",
    reason="FieldValueForbidden",
)
