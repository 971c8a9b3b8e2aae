"""The initial state of the emulated cloud, from a YAML file.

```yaml
strict: true                       # other projects do not exist
lag: 5s
latency: none
requestsPerMinute:                 # more get RESOURCE_EXHAUSTED; default: no limit
  run.googleapis.com: {reads: 3000, writes: 180}
projects:
- projectID: payments-prod-1234
  projectNumber: "123456789012"    # default: derived from the id
  quotas: {serviceAccounts: 500}
  policy:
  - {role: roles/viewer, members: ["user:ann@example.com"]}
  serviceAccounts:
  - {accountID: checkout, displayName: Checkout}
  services:
  - location: europe-west1
    name: checkout
    serviceAccount: checkout@payments-prod-1234.iam.gserviceaccount.com
    policy:
    - {role: roles/run.invoker, members: [allUsers]}
  secrets:
  - name: stripe-key
    policy:
    - {role: roles/secretmanager.secretAccessor, members: ["group:billing@example.com"]}
  resources:                       # of the other target kinds
  - {kind: StorageBucket, name: payments-exports}
  - {kind: KMSCryptoKey, location: europe-west1, parent: ring, name: cards}
  - resource: //cloudfunctions.googleapis.com/projects/payments-prod-1234/locations/us-east1/functions/scale
  orgPolicies:
  - {constraint: iam.disableCrossProjectServiceAccountUsage, enforce: false}
  - {constraint: iam.allowedPolicyMemberDomains, allowedValues: [example.com]}
  denyPolicies:
  - policyID: no-tokens
    rules:
    - deniedPrincipals: ["principal://goog/subject/ann@example.com"]
      deniedPermissions: [iam.googleapis.com/serviceAccounts.getAccessToken]
```
"""

from __future__ import annotations

from typing import Self

from pydantic import ConfigDict, Field, model_validator

from cloudrun_identity.api import TargetKind

from .faults import Fault
from .switches import StrictModel, Switches

_PARENT = r"^((folders|organizations)/[0-9]+)?$"
_IMAGE = "us-docker.pkg.dev/cloudrun/container/hello"


Place = tuple[str | int, ...]
"""Path in a seed: field names and item numbers."""


class SeedError(Exception):
    """An invalid seed; one line with the reason, and `place`, the path in the seed."""

    def __init__(self, message: str, place: Place = ()) -> None:
        super().__init__(message)
        self.place = place


class Condition(StrictModel):
    """Condition of a binding."""

    expression: str
    title: str = ""
    description: str = ""


class Binding(StrictModel):
    """Role and its members in a policy.

    With `unchecked`, members are accepted that Google refuses. Any later write of the policy is refused then.
    """

    role: str
    members: tuple[str, ...]
    condition: Condition | None = None
    unchecked: bool = False


class ServiceAccount(StrictModel):
    """Service account of the project."""

    account_id: str
    display_name: str = ""
    description: str = ""
    disabled: bool = False
    policy: tuple[Binding, ...] = ()


class Workload(StrictModel):
    """Cloud Run service, job or worker pool; runs as the project's default account if none is given."""

    location: str
    name: str
    service_account: str = ""
    image: str = _IMAGE
    labels: dict[str, str] = Field(default_factory=dict)
    revision: str = ""
    policy: tuple[Binding, ...] = ()


class CustomRole(StrictModel):
    """Custom role of the project or the organization."""

    role_id: str
    title: str = ""
    permissions: tuple[str, ...] = ()


class PredefinedRole(StrictModel):
    """Role of Google that the catalog of the emulator does not have, such as a later one."""

    role: str = Field(pattern=r"^roles/[A-Za-z0-9_.]+$")
    title: str = ""
    permissions: tuple[str, ...] = ()


class Secret(StrictModel):
    """Secret of the project, without contents."""

    name: str
    policy: tuple[Binding, ...] = ()


class TargetResource(StrictModel):
    """Resource of a target kind, without contents. `parent` is the key ring or instance that contains it.

    `resource` is the full name of a resource without a kind.
    """

    kind: TargetKind = TargetKind.RESOURCE
    resource: str = ""
    name: str = ""
    location: str = ""
    parent: str = ""
    uniform_bucket_level_access: bool = True
    policy: tuple[Binding, ...] = ()


class OrgPolicy(StrictModel):
    """Constraint set on the project: `enforce` for a boolean one, `allowed_values` for a list.

    Values of `iam.allowedPolicyMemberDomains` are domains here, not customer ids. The constraint does not
    apply to the policies of the seed.
    """

    constraint: str
    enforce: bool | None = None
    allowed_values: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if (self.enforce is None) == (self.allowed_values is None):
            raise ValueError("set either enforce or allowedValues")
        return self


class DenyRule(StrictModel):
    """Rule of a deny policy, with principals and permissions in the forms of such policies."""

    denied_principals: tuple[str, ...]
    denied_permissions: tuple[str, ...]
    exception_principals: tuple[str, ...] = ()
    exception_permissions: tuple[str, ...] = ()
    condition: str = ""


class DenyPolicy(StrictModel):
    """Deny policy of IAM v2, which is enforced for all calls."""

    policy_id: str = Field(alias="policyID", pattern=r"^[a-z][a-z0-9.-]*$")
    rules: tuple[DenyRule, ...]


class AccessBoundary(StrictModel):
    """Principal access boundary of IAM v3, which is listed and not enforced.

    Without a principal set, it is bound to the principals of the project, folder or organization.
    """

    policy: str
    principal_set: str = ""


class Quotas(StrictModel):
    """Limits of the project."""

    service_accounts: int = Field(default=100, ge=0)


class Project(StrictModel):
    """Project with everything in it."""

    project_id: str
    project_number: str = Field(default="", pattern=r"^[0-9]*$")
    parent: str = Field(default="", pattern=_PARENT)
    display_name: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    quotas: Quotas = Quotas()
    service_agents: tuple[str, ...] | None = None
    """Domains of the agents of Google's services that exist, without `.iam.gserviceaccount.com`. With a list,
    policies refuse other agents."""
    service_accounts: tuple[ServiceAccount, ...] = ()
    roles: tuple[CustomRole, ...] = ()
    services: tuple[Workload, ...] = ()
    jobs: tuple[Workload, ...] = ()
    worker_pools: tuple[Workload, ...] = ()
    secrets: tuple[Secret, ...] = ()
    resources: tuple[TargetResource, ...] = ()
    org_policies: tuple[OrgPolicy, ...] = ()
    deny_policies: tuple[DenyPolicy, ...] = ()
    access_boundaries: tuple[AccessBoundary, ...] = ()
    policy: tuple[Binding, ...] = ()


class Group(StrictModel):
    """Group with its members, which may be groups."""

    email: str
    members: tuple[str, ...] = ()


class Folder(StrictModel):
    """Folder in another folder or in an organization."""

    folder_id: str = Field(pattern=r"^[0-9]+$")
    display_name: str = ""
    parent: str = Field(default="", pattern=_PARENT)
    org_policies: tuple[OrgPolicy, ...] = ()
    deny_policies: tuple[DenyPolicy, ...] = ()
    access_boundaries: tuple[AccessBoundary, ...] = ()
    policy: tuple[Binding, ...] = ()


class Organization(StrictModel):
    """Organization; `display_name` is its domain."""

    organization_id: str = Field(pattern=r"^[0-9]+$")
    display_name: str = ""
    roles: tuple[CustomRole, ...] = ()
    org_policies: tuple[OrgPolicy, ...] = ()
    deny_policies: tuple[DenyPolicy, ...] = ()
    access_boundaries: tuple[AccessBoundary, ...] = ()
    policy: tuple[Binding, ...] = ()


class Seed(Switches):
    """The whole file: the initial state, and switches, which the command line overrides."""

    model_config = ConfigDict(frozen=True)

    strict: bool = False
    default_parent: str = Field(default="", pattern=_PARENT)
    faults: tuple[Fault, ...] = ()
    users: tuple[str, ...] | None = None
    """All users; with a list, other users, and groups that are not in `groups`, do not exist."""
    groups: tuple[Group, ...] = ()
    predefined_roles: tuple[PredefinedRole, ...] = ()
    organizations: tuple[Organization, ...] = ()
    folders: tuple[Folder, ...] = ()
    projects: tuple[Project, ...] = ()

    @property
    def switches(self) -> Switches:
        """Switches of the seed."""
        return Switches.model_validate(self.model_dump(include=set(Switches.model_fields)))
