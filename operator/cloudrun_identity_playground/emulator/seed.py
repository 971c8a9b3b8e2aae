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

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from cloudrun_identity.api.duration import parse_duration

from .latency import Latency
from .quotas import APIS

_IMAGE = "us-docker.pkg.dev/cloudrun/container/hello"


class SeedError(Exception):
    """A seed that cannot be used; one line that names the file, the field and the value."""


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join("ID" if word == "id" else word.capitalize() for word in rest)


def _duration(text: Any) -> Any:
    return parse_duration(text) if isinstance(text, str) else text


def _known_api(host: str) -> str:
    if host not in APIS.values():
        raise ValueError(f"is none of {', '.join(sorted(set(APIS.values())))}")
    return host


Api = Annotated[str, AfterValidator(_known_api)]
"""The host of an API whose requests are counted."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=_camel, populate_by_name=True)


class Condition(_Model):
    """The condition of a binding."""

    expression: str
    title: str = ""
    description: str = ""


class Binding(_Model):
    """A role and its members in a policy.

    `unchecked`: taken as it is, with members that Google refuses in any later write of the policy.
    """

    role: str
    members: tuple[str, ...]
    condition: Condition | None = None
    unchecked: bool = False


class ServiceAccount(_Model):
    """A service account of the project."""

    account_id: str
    display_name: str = ""
    description: str = ""
    disabled: bool = False
    policy: tuple[Binding, ...] = ()


class Workload(_Model):
    """A Cloud Run service, job or worker pool. Without `service_account`: the project's default one."""

    location: str
    name: str
    service_account: str = ""
    image: str = _IMAGE
    labels: dict[str, str] = Field(default_factory=dict)
    revision: str = ""
    policy: tuple[Binding, ...] = ()


class CustomRole(_Model):
    """A custom role of the project."""

    role_id: str
    title: str = ""
    permissions: tuple[str, ...] = ()


class Secret(_Model):
    """A secret of the project, without its contents."""

    name: str
    policy: tuple[Binding, ...] = ()


class OrgPolicy(_Model):
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


class Quotas(_Model):
    """What the project may hold at most."""

    service_accounts: int = Field(default=100, ge=0)


class Project(_Model):
    """A project and what is in it."""

    project_id: str
    project_number: str = Field(default="", pattern=r"^[0-9]*$")
    parent: str = Field(default="", pattern=r"^((folders|organizations)/[0-9]+)?$")
    quotas: Quotas = Quotas()
    service_accounts: tuple[ServiceAccount, ...] = ()
    roles: tuple[CustomRole, ...] = ()
    services: tuple[Workload, ...] = ()
    jobs: tuple[Workload, ...] = ()
    worker_pools: tuple[Workload, ...] = ()
    secrets: tuple[Secret, ...] = ()
    org_policies: tuple[OrgPolicy, ...] = ()
    policy: tuple[Binding, ...] = ()


class RequestsPerMinute(_Model):
    """How many requests an API takes a minute; None: any number."""

    reads: int | None = Field(default=None, ge=0)
    writes: int | None = Field(default=None, ge=0)


class Seed(_Model):
    """The whole file. `lag` and `latency` are those of the command line, which goes before them.

    `tombstone_conflict` and `stale_ids` are those of `apis.policies.Policies`, `requests_per_minute` goes by
    the host of the API.
    """

    strict: bool = False
    tombstone_conflict: bool = False
    stale_ids: bool = False
    requests_per_minute: dict[Api, RequestsPerMinute] = Field(default_factory=dict)
    lag: Annotated[timedelta, BeforeValidator(_duration)] = timedelta()
    latency: Latency = Latency.NONE
    projects: tuple[Project, ...] = ()


def load_seed(path: Path) -> Seed:
    """The seed in the file.

    Raises SeedError: it cannot be read, is no YAML, or breaks the shape above.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise SeedError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SeedError(f"{path}: is not UTF-8 text") from error
    except yaml.YAMLError as error:
        raise SeedError(f"{path}: is no YAML: {' '.join(str(error).split())}") from error
    try:
        return Seed.model_validate({} if content is None else content)
    except ValidationError as error:
        raise SeedError(f"{path}: {_first(error)}") from error


def _first(error: ValidationError) -> str:
    """The first thing wrong, in one line."""
    problem = error.errors()[0]
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]).lstrip(
        "."
    )
    value = problem["input"]
    shown = f" (value {value!r})" if isinstance(value, str | int | float | bool) else ""
    return f"{field or 'the seed'}: {problem['msg']}{shown}"
