"""The `guardrails` of a ManagedProject: what the admitted namespaces may do in the project.

A project admits only what a field here admits. Every entry names its namespaces. An entry may omit them only
if exactly one namespace may use the project.
"""

from enum import StrEnum
from typing import Annotated, ClassVar, Final

from pydantic import Field, model_validator

from .custom_role import MAX_PERMISSIONS
from .duration import Duration, at_least
from .generic_target import ApiHost
from .references import WorkloadKind, cel_list, listed
from .schema import SET, ApiModel, Rule, cel_string, matches
from .target_descriptor import NamedBy, TargetKind
from .target_kinds import kinds_where

_BY_NAME_ONLY = kinds_where(lambda kind: kind.is_admitted_by_name_only)
_LITERAL = kinds_where(lambda kind: kind.contains_projects)
# A full resource name may contain a location.
_WITHOUT_LOCATION = kinds_where(lambda kind: not kind.has_location and kind.named_by is not NamedBy.RESOURCE)
_WITH_RESOURCES = f"(has(self.targetKinds) && {cel_string(TargetKind.RESOURCE)} in self.targetKinds)"

MAX_ENTRIES: Final = 1024
"""Maximum length of a list of guardrail entries. Such lists grow with the number of teams."""

MAX_PATTERNS: Final = 256
"""Maximum length of a list of patterns in an entry."""

MAX_SERVICES: Final = 32
"""Maximum number of APIs in an entry."""

MAX_SPEC_BYTES: Final = 200 * 1024
"""Bytes of JSON that a spec should not exceed. Client-side apply keeps a copy of the manifest in an
annotation, and the API server accepts 256 KiB of annotations."""

Glob = Annotated[str, Field(min_length=1, max_length=512)]
"""A pattern. `*` matches any run of characters; every other character matches itself."""

Globs = Annotated[tuple[Glob, ...], Field(min_length=1, max_length=MAX_PATTERNS), SET]
"""Patterns. At least one must match."""

EntryNamespaces = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=63)], ...],
    Field(min_length=1, max_length=MAX_PATTERNS),
    SET,
]
"""Patterns of namespaces that an entry is for."""

EmailPattern = Annotated[
    str,
    Field(min_length=1, max_length=254),
    matches(
        r"^[-a-zA-Z0-9.@*]+$",
        "must be the e-mail of a service account, or a pattern of such e-mails, such as "
        "legacy-*@acme.iam.gserviceaccount.com",
    ),
]

RoleIDPattern = Annotated[
    str,
    Field(min_length=1, max_length=64),
    matches(r"^[a-zA-Z0-9_.*]+$", "must be the ID of a custom role, or a pattern of such IDs"),
]


class GrantAdmission(ApiModel):
    """GrantAdmission admits the grants that match all of its fields."""

    rules: ClassVar = (
        Rule(
            "has(self.targetKinds)",
            "must be set: name the kinds of targets that the entry admits grants on, such as [Project]",
            field_path=".targetKinds",
            reason="FieldValueRequired",
        ),
        Rule(
            "!has(self.targetKinds) || has(self.names) || "
            + " && ".join(f"!({cel_string(kind)} in self.targetKinds)" for kind in _BY_NAME_ONLY),
            f"must be set where targetKinds contains {listed(_BY_NAME_ONLY, 'or')}: it is admitted by name",
            field_path=".names",
            reason="FieldValueRequired",
        ),
        Rule(
            f"has(self.services) == {_WITH_RESOURCES}",
            f"must be set where targetKinds contains {TargetKind.RESOURCE}, and only there: list the APIs",
            field_path=".services",
        ),
        Rule(
            "!has(self.locations) || !has(self.targetKinds) || "
            f"self.targetKinds.all(kind, !(kind in {cel_list(_WITHOUT_LOCATION)}))",
            f"must be unset where targetKinds contains {listed(_WITHOUT_LOCATION, 'or')}: it has no location",
            field_path=".locations",
            reason="FieldValueForbidden",
        ),
        Rule(
            "!has(self.targetKinds) || has(self.namespaces) || "
            + " && ".join(f"!({cel_string(kind)} in self.targetKinds)" for kind in _LITERAL),
            f"must be set where targetKinds contains {listed(_LITERAL, 'or')}: name each namespace",
            field_path=".namespaces",
            reason="FieldValueRequired",
        ),
    )

    roles: Globs
    """Patterns of roles. Basic roles (such as roles/owner) match only where they are listed literally."""
    target_kinds: (
        Annotated[tuple[TargetKind, ...], Field(min_length=1, max_length=len(TargetKind)), SET] | None
    ) = None
    """Kinds of targets. Required. An entry without this field was stored by an earlier version and admits
    nothing."""
    services: Annotated[tuple[ApiHost, ...], Field(min_length=1, max_length=MAX_SERVICES), SET] | None = None
    """APIs of targets of kind Resource, such as cloudfunctions.googleapis.com. They are compared
    literally."""
    names: Globs | None = None
    """Patterns of target names: the ID of a project, the account ID of a service account, INSTANCE/NAME of a
    Spanner database, KEYRING/NAME of a crypto key, the name of a Resource in its project (such as
    locations/europe-west1/functions/resize), the name of any other target. If unset, every name matches. A
    folder or organization matches only where its number is listed literally."""
    locations: Globs | None = None
    """Patterns of locations of targets. If unset, every location matches. A Resource has the location that
    follows `locations` or `regions` in its name."""
    members: Globs
    """Patterns of members. A principal is written as in IAM, a CloudRunIdentity as `identity:NAMESPACE/NAME`;
    `identities` matches every CloudRunIdentity. Public and type-wide members match only where they are listed
    literally."""
    namespaces: EntryNamespaces | None = None
    """Patterns of namespaces of the objects that declare the grant; `*` is every admitted namespace. Required
    unless exactly one namespace may use the project. For a folder or organization, patterns match
    nothing."""
    conditions: (
        Annotated[
            tuple[Annotated[str, Field(min_length=1, max_length=2048)], ...],
            Field(min_length=1, max_length=16),
            SET,
        ]
        | None
    ) = None
    """Expressions of IAM conditions, one of which the grant must have. They are compared literally. Titles do
    not count, because the author of a grant chooses them. If unset, a grant may have any condition or none: a
    condition only narrows a grant."""
    allow_escalation: bool = False
    """Admits roles with permissions that let their holder gain further permissions."""
    exclusive: bool = False
    """Permits an Exclusive binding to remove all other members from the role."""
    claim: bool = False
    """Permits `existingGrants: Claim`: the deletion of an object then removes grants that existed before
    it."""
    max_duration: Annotated[Duration, at_least("1s")] | None = None
    """Longest time for which the entry admits a grant, such as 8h. The grant must set expiresAt or duration,
    and end no later than this time after it was first made. If unset, a grant may be permanent."""


class WorkloadAdmission(ApiModel):
    """WorkloadAdmission admits workloads that namespaces may attach identities to and grant roles on."""

    namespaces: EntryNamespaces | None = None
    """Patterns of namespaces of the objects that use the workload; `*` is every admitted namespace. Required
    unless exactly one namespace may use the project."""
    kinds: Annotated[tuple[WorkloadKind, ...], Field(min_length=1, max_length=3), SET] = tuple(WorkloadKind)
    """Kinds of workloads."""
    locations: Globs = ("*",)
    """Patterns of locations."""
    names: Globs = ("*",)
    """Patterns of workload names."""


class AccountAdmission(ApiModel):
    """AccountAdmission admits service accounts for some namespaces.

    An earlier version stored an e-mail in the place of an entry. It is read as an entry without namespaces.
    """

    email: EmailPattern
    """Pattern of the e-mails of service accounts. Google-managed service agents match only literally."""
    namespaces: EntryNamespaces | None = None
    """Patterns of namespaces that the accounts are for; `*` is every admitted namespace. Required unless
    exactly one namespace may use the project."""

    @model_validator(mode="before")
    @classmethod
    def _from_email(cls, raw: object) -> object:
        return {"email": raw} if isinstance(raw, str) else raw


class RoleAdmission(ApiModel):
    """RoleAdmission admits existing custom roles for some namespaces."""

    role_id: RoleIDPattern
    """Pattern of the IDs of custom roles of the project."""
    namespaces: EntryNamespaces | None = None
    """Patterns of namespaces that the roles are for; `*` is every admitted namespace. Required unless exactly
    one namespace may use the project."""


class CustomRoleAdmission(ApiModel):
    """CustomRoleAdmission admits the custom roles that namespaces may define."""

    permissions: Annotated[tuple[Glob, ...], Field(max_length=MAX_PERMISSIONS), SET] = ()
    """Patterns of permissions that a custom role may contain. A permission with the domain of a Google
    service also matches without the domain. If unset, no custom role is admitted."""
    allow_escalation: bool = False
    """Permits a custom role to contain permissions that let its holder gain further permissions."""
    namespaces: EntryNamespaces | None = None
    """Patterns of namespaces that may define custom roles; `*` is every admitted namespace. Required, where
    permissions is set, unless exactly one namespace may use the project."""


class KeyAdmission(StrEnum):
    """Admission of user-managed keys."""

    DENIED = "Denied"
    ALLOWED = "Allowed"


class Sharing(StrEnum):
    """Division of the limits of a project among its namespaces."""

    FAIR = "Fair"
    FIRST_COME = "FirstCome"


class Naming(ApiModel):
    """Naming restricts how service accounts and custom roles may be named."""

    account_id_pattern: Annotated[str, Field(max_length=256)] = ""
    """Pattern that account IDs must match; `*` matches any run of characters. If empty, every ID matches."""
    role_id_pattern: Annotated[str, Field(max_length=256)] = ""
    """Pattern that the IDs of new custom roles must match; `*` matches any run of characters. If empty, every
    ID matches. The ID of a deleted role cannot be used again for weeks."""
    require_display_name: bool = False
    """Requires every CloudRunIdentity to set displayName."""
    require_description: bool = False
    """Requires every CloudRunIdentity to set description."""


class Guardrails(ApiModel):
    """Guardrails declare what the admitted namespaces may do in the project."""

    default_grants: bool = True
    """Admits the usual grants without an entry: the roles to use, impersonate and federate a namespace's own
    identities, and roles/run.invoker on workloads that the namespace may use. Public members are never
    included, and existing grants cannot be claimed."""
    grants: Annotated[tuple[GrantAdmission, ...], Field(max_length=MAX_ENTRIES)] = ()
    """Grants that are admitted. A grant is admitted if one entry matches all of it."""
    workloads: Annotated[tuple[WorkloadAdmission, ...], Field(max_length=MAX_ENTRIES)] = ()
    """Workloads that namespaces may attach identities to and grant roles on. If unset, every workload is
    admitted while exactly one existing namespace is admitted, and none otherwise."""
    accounts: Annotated[tuple[AccountAdmission, ...], Field(max_length=MAX_ENTRIES)] = ()
    """Service accounts that objects may refer to by e-mail. Default accounts and accounts that the operator
    acts as are never admitted."""
    adoptable_accounts: Annotated[tuple[AccountAdmission, ...], Field(max_length=MAX_ENTRIES)] = ()
    """Existing service accounts that a CloudRunIdentity may adopt, or take over with `whenReplaced: Regrant`.
    Default accounts and accounts that the operator acts as are never admitted."""
    adoptable_roles: Annotated[tuple[RoleAdmission, ...], Field(max_length=MAX_ENTRIES)] = ()
    """Existing custom roles that a CustomRole may adopt. A role that an account of the operator holds is
    never admitted."""
    custom_roles: CustomRoleAdmission = CustomRoleAdmission()
    """Custom roles that may be defined."""
    keys: KeyAdmission = KeyAdmission.DENIED
    """Admission of user-managed keys: Denied or Allowed."""
    key_namespaces: EntryNamespaces | None = None
    """Patterns of namespaces that may create user-managed keys while keys is Allowed; `*` is every admitted
    namespace. Required, where keys is Allowed, unless exactly one namespace may use the project."""
    restore_to_default_account: bool = False
    """Permits an IdentityAttachment with `deletionPolicy: Restore` to make a workload run as the default
    account of the project again, which is an editor in many projects."""
    naming: Naming = Naming()
    """Rules for the names of service accounts and custom roles."""
    sharing: Sharing = Sharing.FAIR
    """Division of the limits that all namespaces use together: removals in an hour, service accounts, custom
    roles, and the principals of a policy. Fair: an equal share is set aside for each namespace that the
    guardrails admit, and no other namespace can use it. FirstCome: no share is set aside."""
    max_accounts: Annotated[int, Field(ge=1, le=10000)] | None = None
    """Number of service accounts that the project may have, such as its quota if Google raised it. If unset,
    the shares are those of 100, which is the quota of a new project."""
    max_removals_per_hour: Annotated[int, Field(ge=0, le=10000)] = 100
    """Number of grants that drift repair and Exclusive bindings may remove from the project's policies in an
    hour. Further removals wait. A new process of the operator starts to count at zero."""


_DEDICATED = (
    "(has(self.namespaces) && has(self.namespaces.names) && size(self.namespaces.names) == 1"
    " && !has(self.namespaces.selector))"
)
_UNLESS_DEDICATED = (
    "unless spec.namespaces.names has exactly one entry and no selector is set: name the namespaces that the "
    'entry is for; ["*"] is every admitted namespace'
)
_ENTRY_LISTS: Final = ("grants", "workloads", "adoptableRoles")
"""Lists with a CEL rule for each entry.

The operator checks `accounts` and `adoptableAccounts`, and reports InvalidSpec. Earlier versions stored
strings in these lists. A CEL rule would fail on them, and the API server would refuse every later write of
the object.
"""


def _names_namespaces(holds: str, field_path: str, required: str) -> Rule:
    """Require namespaces in a part of the guardrails, unless exactly one namespace may use the project.

    A suspended project is exempt: it admits nothing, and suspending it must not fail because of an entry that
    an earlier version stored.
    """
    return Rule(
        f"(has(self.suspend) && self.suspend) || {_DEDICATED} || !has(self.guardrails) || {holds}",
        f"{required} {_UNLESS_DEDICATED}",
        field_path=f".guardrails.{field_path}",
        reason="FieldValueRequired",
    )


def namespace_rules() -> tuple[Rule, ...]:
    """Return the rules on the spec of a ManagedProject about entries without namespaces."""
    in_lists = (
        _names_namespaces(
            f"!has(self.guardrails.{field}) || self.guardrails.{field}.all(entry, has(entry.namespaces))",
            field,
            "each entry must set namespaces",
        )
        for field in _ENTRY_LISTS
    )
    custom_roles = _names_namespaces(
        "!has(self.guardrails.customRoles) || !has(self.guardrails.customRoles.permissions)"
        " || size(self.guardrails.customRoles.permissions) == 0"
        " || has(self.guardrails.customRoles.namespaces)",
        "customRoles",
        "customRoles must set namespaces",
    )
    keys = _names_namespaces(
        f"!has(self.guardrails.keys) || self.guardrails.keys != '{KeyAdmission.ALLOWED}'"
        " || has(self.guardrails.keyNamespaces)",
        "keyNamespaces",
        "must be set",
    )
    return (*in_lists, custom_roles, keys)
