"""Descriptors of target kinds: the types of the table in `target_kinds`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from functools import cache
from typing import Final

from .status import Reason


class TargetKind(StrEnum):
    """Kinds of resources that the operator can manage grants on."""

    PROJECT = "Project"
    SERVICE_ACCOUNT = "ServiceAccount"
    SERVICE = "Service"
    JOB = "Job"
    WORKER_POOL = "WorkerPool"
    SECRET = "Secret"  # noqa: S105 - a kind of resource
    REGIONAL_SECRET = "RegionalSecret"  # noqa: S105 - a kind of resource
    STORAGE_BUCKET = "StorageBucket"
    PUB_SUB_TOPIC = "PubSubTopic"
    PUB_SUB_SUBSCRIPTION = "PubSubSubscription"
    ARTIFACT_REGISTRY_REPOSITORY = "ArtifactRegistryRepository"
    CLOUD_TASKS_QUEUE = "CloudTasksQueue"
    KMS_KEY_RING = "KMSKeyRing"
    KMS_CRYPTO_KEY = "KMSCryptoKey"
    SPANNER_INSTANCE = "SpannerInstance"
    SPANNER_DATABASE = "SpannerDatabase"
    BIGTABLE_INSTANCE = "BigtableInstance"
    FOLDER = "Folder"
    ORGANIZATION = "Organization"
    RESOURCE = "Resource"


MULTI_REGION: Final = "global"
"""Location of Cloud Run services that are deployed to several regions.

The host of the API serves it, without a region. The service has an IAM policy in each of its regions:
`gcloud beta run deploy --regions` sets one in each
(googlecloudsdk/command_lib/run/serverless_operations.py of the Google Cloud CLI 528). See https://cloud.google.com/run/docs/multiple-regions.
"""


class NamedBy(Enum):
    """Fields of a spec that name a target within a project."""

    PROJECT = auto()
    """None: the target is the project."""
    IDENTITY = auto()
    """`identityRef` or `email`."""
    NAME = auto()
    """`name`, with `location` for a kind with locations and the field of the parent for a nested kind."""
    RESOURCE = auto()
    """`resource`: the full resource name, which contains the API and the project."""


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


@dataclass(frozen=True, slots=True)
class ParentField:
    """The field of a spec that names the resource that contains the target, such as a key ring."""

    name: str
    """Name of the field in a manifest. It is that of gcloud's flag, in camel case."""
    display_name: str
    """Name of the containing resource in prose, such as "key ring"."""
    name_form: NameForm
    """Form of the name of the containing resource."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetKindDescriptor:
    """Everything that distinguishes one target kind from the others."""

    kind: TargetKind
    display_name: str
    """Name of the kind in prose, such as "worker pool"."""
    host: str
    """Host of the API; empty if a resource name contains it. Quotas and rate limits apply per host, and per
    location with a `regional_host`."""
    regional_host: str = ""
    """Host of the API in a location, with `{location}`; empty if `host` serves all locations."""
    resource_pattern: str
    """Relative resource name, with `{project_id}`, `{location}`, `{parent}` and `{name}`."""
    policy_service: str
    """gRPC service with the methods GetIamPolicy, SetIamPolicy and TestIamPermissions. Their messages are
    those of google.iam.v1.IAMPolicy, whichever service has them."""
    routing_parameter: str = "resource"
    """Key of the resource name in the routing header `x-goog-request-params` of these methods."""
    get_method: str
    """gRPC method that reads the resource, and so shows whether it exists. Field 1 of its request is the
    resource name. Empty if the method is not known: only a read of the policy shows then whether the resource
    exists."""
    get_routing_parameter: str = "name"
    """Key of the resource name in the routing header of `get_method`."""
    hides_missing: bool = False
    """True if a read of a missing resource fails with PERMISSION_DENIED instead of NOT_FOUND."""
    missing_reason: Reason
    """Reason of the Ready condition while the resource does not exist."""
    unique_id_field: UniqueIDField | None
    """Field with the unique id, to which everything recorded for a target is bound. None if the API has no
    such field. Grants on a resource that was created again are then repaired as drift."""
    project_number_field: int | None = None
    """Number of the string field with the resource's project (`projects/NUMBER`), for a kind with names that
    are unique in all of Google Cloud. A resource of another project is not a target."""
    reuses_names: bool = True
    """False if Google never gives the name to another resource, so that the unique id is read only once."""
    audit_methods: tuple[str, ...]
    """`protoPayload.methodName` of the audit log entries that a change of the policy writes."""
    named_by: NamedBy
    name_form: NameForm | None = None
    """Form of the name, for a kind that is named by `name`."""
    parent: ParentField | None = None
    """Field that names the containing resource, for a kind that is nested in a resource of the project."""
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
    contains_projects: bool = False
    """True if the resource contains projects. Guardrails admit it only where an entry lists its name and the
    namespace literally, and never admit Exclusive bindings: other ManagedProjects may use it, too."""
    default_roles: tuple[str, ...] = ()
    """Roles that guardrails.defaultGrants admits for every member that is not public or type-wide."""
    permission_prefix: str
    """Prefix of the permissions `getIamPolicy` and `setIamPolicy` of the resource; empty if it is not
    known."""
    feature: str
    """Feature under which the operator's permissions for the kind are listed."""

    @property
    def has_location(self) -> bool:
        """True if the resource has a location."""
        return "{location}" in self.resource_pattern

    @property
    def is_named_in_project(self) -> bool:
        """True if the resource name contains the project."""
        return "{project_id}" in self.resource_pattern

    @property
    def name_includes_project(self) -> bool:
        """True if the name of a target identifies it without its project."""
        return self.named_by is not NamedBy.NAME

    @property
    def permissions(self) -> tuple[str, ...]:
        """Permissions that the operator needs on the policy of the resource; none if they are not known."""
        prefix = self.permission_prefix
        return (f"{prefix}.getIamPolicy", f"{prefix}.setIamPolicy") if prefix else ()

    @property
    def read_permission(self) -> str:
        """Permission that the operator needs to read the unique id of the resource."""
        return f"{self.permission_prefix}.get"

    def parts_of(self, resource: str) -> Mapping[str, str]:
        """Return the values of the placeholders of `resource_pattern` in a relative resource name.

        The result is empty if the name does not have the form of this kind.
        """
        found = _form_of(self.resource_pattern).fullmatch(resource)
        return found.groupdict() if found else {}


@cache
def _form_of(pattern: str) -> re.Pattern[str]:
    """Return the expression for names of a pattern, with a group for each placeholder."""
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(pattern)))
