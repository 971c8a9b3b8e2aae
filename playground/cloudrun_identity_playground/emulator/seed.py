"""What the emulated cloud holds from the start, as a YAML file.

```yaml
strict: true                       # projects that are not below do not exist
lag: 5s
latency: none
requestsPerMinute:                 # more are answered with RESOURCE_EXHAUSTED; default: no limit
  run.googleapis.com: {reads: 3000, writes: 180}
projects:
- projectID: payments-prod-1234
  projectNumber: "123456789012"    # default: made from the id
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
  orgPolicies:
  - {constraint: iam.disableCrossProjectServiceAccountUsage, enforce: false}
  - {constraint: iam.allowedPolicyMemberDomains, allowedValues: [example.com]}
```
"""

from __future__ import annotations

from typing import Self

from pydantic import ConfigDict, Field, model_validator

from .faults import Fault
from .switches import StrictModel, Switches

_PARENT = r"^((folders|organizations)/[0-9]+)?$"
_IMAGE = "us-docker.pkg.dev/cloudrun/container/hello"


Place = tuple[str | int, ...]
"""Where something stands in a seed: the names of fields and the numbers of items that lead to it."""


class SeedError(Exception):
    """A seed that cannot be used; one line that names what is wrong, and `place`, where it stands."""

    def __init__(self, message: str, place: Place = ()) -> None:
        super().__init__(message)
        self.place = place


class Condition(StrictModel):
    """The condition of a binding."""

    expression: str
    title: str = ""
    description: str = ""


class Binding(StrictModel):
    """A role and its members in a policy.

    `unchecked`: taken as it is, with members that Google refuses in any later write of the policy.
    """

    role: str
    members: tuple[str, ...]
    condition: Condition | None = None
    unchecked: bool = False


class ServiceAccount(StrictModel):
    """A service account of the project."""

    account_id: str
    display_name: str = ""
    description: str = ""
    disabled: bool = False
    policy: tuple[Binding, ...] = ()


class Workload(StrictModel):
    """A Cloud Run service, job or worker pool. Without `service_account`: the project's default one."""

    location: str
    name: str
    service_account: str = ""
    image: str = _IMAGE
    labels: dict[str, str] = Field(default_factory=dict)
    revision: str = ""
    policy: tuple[Binding, ...] = ()


class CustomRole(StrictModel):
    """A custom role of the project or the organization."""

    role_id: str
    title: str = ""
    permissions: tuple[str, ...] = ()


class Secret(StrictModel):
    """A secret of the project, without its contents."""

    name: str
    policy: tuple[Binding, ...] = ()


class OrgPolicy(StrictModel):
    """A constraint as it is set on the project: `enforce` of a boolean one, `allowed_values` of a list.

    The values of `iam.allowedPolicyMemberDomains` are domains here, not customer ids. It holds for what is
    written after the seed.
    """

    constraint: str
    enforce: bool | None = None
    allowed_values: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if (self.enforce is None) == (self.allowed_values is None):
            raise ValueError("say either enforce or allowedValues")
        return self


class Quotas(StrictModel):
    """What the project may hold at most."""

    service_accounts: int = Field(default=100, ge=0)


class Project(StrictModel):
    """A project and what is in it."""

    project_id: str
    project_number: str = Field(default="", pattern=r"^[0-9]*$")
    parent: str = Field(default="", pattern=_PARENT)
    quotas: Quotas = Quotas()
    service_accounts: tuple[ServiceAccount, ...] = ()
    roles: tuple[CustomRole, ...] = ()
    services: tuple[Workload, ...] = ()
    jobs: tuple[Workload, ...] = ()
    worker_pools: tuple[Workload, ...] = ()
    secrets: tuple[Secret, ...] = ()
    org_policies: tuple[OrgPolicy, ...] = ()
    policy: tuple[Binding, ...] = ()


class Group(StrictModel):
    """A group, and who is in it: members as a policy names them, other groups among them."""

    email: str
    members: tuple[str, ...] = ()


class Folder(StrictModel):
    """A folder, in another one or in an organization."""

    folder_id: str = Field(pattern=r"^[0-9]+$")
    display_name: str = ""
    parent: str = Field(default="", pattern=_PARENT)
    org_policies: tuple[OrgPolicy, ...] = ()
    policy: tuple[Binding, ...] = ()


class Organization(StrictModel):
    """An organization. `display_name` is its domain."""

    organization_id: str = Field(pattern=r"^[0-9]+$")
    display_name: str = ""
    roles: tuple[CustomRole, ...] = ()
    org_policies: tuple[OrgPolicy, ...] = ()
    policy: tuple[Binding, ...] = ()


class Seed(Switches):
    """The whole file: the switches, which the command line goes before, and what there is."""

    model_config = ConfigDict(frozen=True)

    strict: bool = False
    default_parent: str = Field(default="", pattern=_PARENT)
    faults: tuple[Fault, ...] = ()
    groups: tuple[Group, ...] = ()
    organizations: tuple[Organization, ...] = ()
    folders: tuple[Folder, ...] = ()
    projects: tuple[Project, ...] = ()

    @property
    def switches(self) -> Switches:
        """The switches alone."""
        return Switches.model_validate(self.model_dump(include=set(Switches.model_fields)))
