"""The generic target kind: any resource of a project that serves google.iam.v1.IAMPolicy.

Sources. An API serves this interface on its own host, as its service configuration states (`name`, `apis`):
https://github.com/googleapis/googleapis/blob/master/google/cloud/functions/v2/cloudfunctions_v2.yaml. Client
libraries send the resource name as `resource` in the routing header, as in google-cloud-functions 1.25
(`set_iam_policy` of functions_v2.services.function_service). Full resource names:
https://cloud.google.com/iam/docs/full-resource-names.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Final

from pydantic import Field

from .schema import matches
from .status import Reason
from .target_descriptor import NamedBy, TargetKind, TargetKindDescriptor

MAX_RESOURCE_NAME: Final = 400
"""Maximum number of characters of a full resource name."""

_SERVICE: Final = r"[a-z][a-z0-9]*\.googleapis\.com"
"""An API by its global host, of which there is one per API. A regional or alternative host contains a hyphen
or another dot (`us-central1-run`, `content-pubsub`, `pubsub.mtls`): it would name the same policy again."""

ApiHost = Annotated[
    str,
    Field(max_length=63),
    matches(
        f"^{_SERVICE}$",
        "must be the global host of a Google Cloud API, such as cloudfunctions.googleapis.com; patterns "
        "are not accepted",
    ),
]
"""Host of an API. It receives the access token of the operator."""

# Each segment starts with a letter or digit. So `-` and `_`, which stand for any project or location in some
# APIs, are not segments, and neither are `.` and `..`.
_NAME: Final = re.compile(rf"//{_SERVICE}/projects/[a-z0-9][a-z0-9.:-]*(/[A-Za-z0-9][A-Za-z0-9._~+@:-]*)+")
FORM_OF_NAMES: Final = (
    "must be //SERVICE.googleapis.com/projects/PROJECT/NAME, such as "
    "//cloudfunctions.googleapis.com/projects/shop-1234/locations/europe-west1/functions/resize; each "
    "part of the name starts with a letter or digit and contains letters, digits and ._~+@:-"
)
"""Form of full resource names, to follow the field."""

FullResourceName = Annotated[
    str, Field(max_length=MAX_RESOURCE_NAME), matches(f"^{_NAME.pattern}$", FORM_OF_NAMES)
]

GENERIC_KIND: Final = TargetKindDescriptor(
    kind=TargetKind.RESOURCE,
    display_name="resource",
    host="",
    resource_pattern="projects/{project_id}/{name}",
    policy_service="google.iam.v1.IAMPolicy",
    get_method="",
    missing_reason=Reason.WORKLOAD_NOT_FOUND,
    unique_id_field=None,
    audit_methods=("google.iam.v1.IAMPolicy.SetIamPolicy",),
    named_by=NamedBy.RESOURCE,
    # The API decides. It refuses what its policies do not accept.
    accepts_conditions=True,
    accepts_public_members=True,
    # A resource may contain others, so that a role is judged as if it were granted on the project.
    is_inherited=True,
    is_admitted_by_name_only=True,
    permission_prefix="",
    feature="grants on other resources",
)
"""The descriptor of the generic kind."""

REGIONAL_HOSTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        # https://cloud.google.com/vertex-ai/docs/reference/rest#service-endpoint
        "aiplatform.googleapis.com": "{location}-aiplatform.googleapis.com",
        # https://cloud.google.com/dataproc/docs/concepts/regional-endpoints
        "dataproc.googleapis.com": "{location}-dataproc.googleapis.com",
    }
)
"""Hosts that serve the resources of a location, of APIs with a global host that does not."""


@dataclass(frozen=True, slots=True)
class ResourceName:
    """A full resource name, taken apart."""

    service: str
    """Host of the API."""
    project: str
    """ID or number of the project."""
    name: str
    """Name of the resource within its project."""

    @classmethod
    def parse(cls, text: str) -> "ResourceName | None":
        """Return the parts of a name of the form `FullResourceName`; None if it has another form."""
        if not _NAME.fullmatch(text):
            return None
        _, _, service, _, project, name = text.split("/", 5)
        return cls(service, project, name)

    @property
    def relative(self) -> str:
        """The relative resource name, without the API."""
        return f"projects/{self.project}/{self.name}"

    @property
    def location(self) -> str:
        """Location or region in the name; empty without one."""
        found = _LOCATION.match(self.name)
        return found[1] if found else ""


_LOCATION: Final = re.compile(r"(?:locations|regions)/([^/]+)/")


def has_regional_host(service: str, location: str) -> bool:
    """Return whether a host of the location serves the resources that an API has there."""
    return service in REGIONAL_HOSTS and location not in ("", "global")
