"""Changes to the cloud by others than the operator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from typing import Any, ClassVar, Literal, Protocol

from google.cloud import iam_admin_v1 as iam
from google.cloud import run_v2 as run
from google.iam.v1 import iam_policy_pb2, options_pb2, policy_pb2
from google.type import expr_pb2
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from cloudrun_identity.api import TARGET_KINDS

from .apis.actor import acting_as
from .apis.target_names import DESCRIBED, target_name
from .apis.workloads import Workloads
from .author import Author
from .cloud import Cloud
from .edit_errors import EditError
from .errors import GoogleError
from .recommender_edits import InsightEdit, RecommendationEdit, UsageEdit
from .sender import Sender

_HOSTS = frozenset(each.host for each in (*TARGET_KINDS.values(), *DESCRIBED))
_COLLECTIONS = ("projects/", "folders/", "organizations/")
_IAM = "google.iam.admin.v1.IAM"


def edit(cloud: Cloud, change: Mapping[str, Any]) -> None:
    """Make one change.

    It is one of

    - `{"policy": FULL_NAME, "remove": [{role, member, condition?}], "add": […], "unchecked"?: true}`
    - `{"policy": FULL_NAME, "auditConfigs": [{service, logTypes, exemptedMembers?}]}`: replace all of them
    - `{"workload": FULL_NAME, "serviceAccount": EMAIL}`
    - `{"workload": FULL_NAME, "failsToStart": MESSAGE}`: new revisions fail until the message is empty
    - `{"serviceAccount": FULL_NAME, "delete"|"disable"|"enable"|"undelete": true}`
    - `{"used": FULL_NAME, "at"?: TIME}`: an account or key is used, now if there is no time
    - `{"serviceAgent": EMAIL, "missing": true|false}`: Google has not created the agent yet, or creates it
    - `{"resource": FULL_NAME, "delete"|"recreate": true}`: delete a secret, bucket, topic or the like, or
      delete it and create another one of the same name
    - `{"resource": FULL_NAME, "create": PROJECT}`: create such a resource in the project
    - `{"resource": FULL_NAME, "uniformBucketLevelAccess": false}`: switch that of a bucket
    - `{"principal": "user:EMAIL", "aliases": [EMAIL, …]}`: policies show the address of `principal` only
    - `{"principal": "group:EMAIL", "rename": EMAIL}`: policies show the new address
    - those of `recommender_edits`, such as `{"usage": "projects/P", "used": {"serviceAccount:EMAIL": []}}`
    - `{"principal": "user:EMAIL", "delete"|"undelete"|"create": true}`; one that is created where one was
      deleted is another one

    Each may also have `{"caller": PRINCIPAL, "userAgent": TEXT, "callerIp": TEXT}`, which the audit log
    shows. The caller may do everything.

    A full name is, for example, `//run.googleapis.com/projects/P/locations/L/services/S`. For `undelete`, the
    e-mail or the unique id names the account. An unchecked edit can add members that Google refuses, such as
    an account that does not exist. Any later write of that policy is refused then.

    Raises EditError: The edit has another form, or Google would refuse it.
    """
    try:
        author, what = Author.of(change)
        parsed = _parse(what)
        with acting_as(author.principal):
            parsed.apply(cloud, author.sender)
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(str(part) for part in problem["loc"])
        raise EditError(f"{field or 'the edit'}: {problem['msg']}") from error
    except GoogleError as error:
        raise EditError(error.message) from error


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Condition(_Model):
    expression: str
    title: str = ""
    description: str = ""


class _Grant(_Model):
    """A role and one member. A grant without a condition is unconditional."""

    role: str
    member: str
    condition: _Condition | None = None

    def is_in(self, binding: policy_pb2.Binding) -> bool:
        return (binding.role, binding.condition) == (self.role, self._expression())

    def new_binding(self) -> policy_pb2.Binding:
        binding = policy_pb2.Binding(role=self.role)
        if self.condition is not None:
            binding.condition.CopyFrom(self._expression())
        return binding

    def _expression(self) -> expr_pb2.Expr:
        return expr_pb2.Expr(**self.condition.model_dump()) if self.condition is not None else expr_pb2.Expr()


class _AuditConfig(_Model):
    service: str
    log_types: tuple[Literal["ADMIN_READ", "DATA_READ", "DATA_WRITE"], ...] = Field(alias="logTypes")
    exempted_members: tuple[str, ...] = Field((), alias="exemptedMembers")

    def message(self) -> policy_pb2.AuditConfig:
        configs = [
            policy_pb2.AuditLogConfig(log_type=log_type, exempted_members=self.exempted_members)
            for log_type in self.log_types
        ]
        return policy_pb2.AuditConfig(service=self.service, audit_log_configs=configs)


class _PolicyEdit(_Model):
    policy: str
    remove: tuple[_Grant, ...] = ()
    add: tuple[_Grant, ...] = ()
    audit_configs: tuple[_AuditConfig, ...] | None = Field(None, alias="auditConfigs")
    unchecked: bool = False

    def apply(self, cloud: Cloud, sender: Sender) -> None:
        if not self.remove and not self.add and self.audit_configs is None:
            raise EditError("policy: set remove, add or auditConfigs")
        resource = _resource(self.policy)
        service = _policy_service(self.policy)
        read = iam_policy_pb2.GetIamPolicyRequest(
            resource=resource, options=options_pb2.GetPolicyOptions(requested_policy_version=3)
        )
        policy = cloud.handlers[f"{service}/GetIamPolicy"](read)
        for grant in self.remove:
            _remove(policy, grant)
        for grant in self.add:
            _add(policy, grant)
        policy.version = 3
        write = iam_policy_pb2.SetIamPolicyRequest(resource=resource, policy=policy)
        if self.audit_configs is not None:
            del write.policy.audit_configs[:]
            write.policy.audit_configs.extend(each.message() for each in self.audit_configs)
            write.update_mask.paths.extend(("bindings", "etag", "audit_configs"))
        with cloud.policies.unchecked() if self.unchecked else nullcontext():
            cloud.write(f"{service}/SetIamPolicy", write, sender)


class _WorkloadEdit(_Model):
    workload: str
    service_account: str | None = Field(None, alias="serviceAccount")
    fails_to_start: str | None = Field(None, alias="failsToStart")

    def apply(self, cloud: Cloud, sender: Sender) -> None:
        resource = _resource(self.workload)
        workloads = cloud.workloads.get(resource.split("/")[-2])
        if workloads is None:
            raise EditError(f"workload: '{self.workload}' is not a Cloud Run service, job or worker pool")
        if (self.service_account is None) == (self.fails_to_start is None):
            raise EditError("workload: set either serviceAccount or failsToStart")
        if self.fails_to_start is not None:
            workloads.fail_to_start(resource, self.fails_to_start)
        if self.service_account is not None:
            cloud.write(*self._deployment(workloads, resource, self.service_account), sender)

    @staticmethod
    def _deployment(workloads: Workloads, resource: str, service_account: str) -> tuple[str, Any]:
        """Return the method and the request of an update of the account."""
        kind = workloads.kind
        workload = kind.message()
        workload.CopyFrom(workloads.read(resource))
        kind.identity_template(workload).service_account = service_account
        if kind.has_revisions:
            workload.template.revision = ""  # a revision name cannot be used twice
        request = getattr(run, f"Update{kind.noun}Request")({kind.field: kind.wrap(workload)})
        return f"google.cloud.run.v2.{kind.noun}s/Update{kind.noun}", request


class _AccountEdit(_Model):
    account: str = Field(alias="serviceAccount")
    delete: bool = False
    disable: bool = False
    enable: bool = False
    undelete: bool = False

    _REQUESTS: ClassVar[Mapping[str, Any]] = {
        "delete": iam.DeleteServiceAccountRequest,
        "disable": iam.DisableServiceAccountRequest,
        "enable": iam.EnableServiceAccountRequest,
        "undelete": iam.UndeleteServiceAccountRequest,
    }

    def apply(self, cloud: Cloud, sender: Sender) -> None:
        wanted = [verb for verb in self._REQUESTS if getattr(self, verb)]
        if len(wanted) != 1:
            raise EditError("serviceAccount: set one of delete, disable, enable, undelete to true")
        [verb] = wanted
        name = _resource(self.account)
        if verb == "undelete":
            name = _by_unique_id(cloud, name)
        cloud.write(f"{_IAM}/{verb.capitalize()}ServiceAccount", self._REQUESTS[verb](name=name), sender)


class _UseEdit(_Model):
    used: str
    at: AwareDatetime | None = None

    def apply(self, cloud: Cloud, _sender: Sender) -> None:
        cloud.key_uses.add(_resource(self.used), self.at)


class _ServiceAgentEdit(_Model):
    agent: str = Field(alias="serviceAgent", pattern=r"^[^@\s:]+@[^@\s:]+\.gserviceaccount\.com$")
    missing: bool

    def apply(self, cloud: Cloud, _sender: Sender) -> None:
        if self.missing:
            cloud.accounts.missing_agents.add(self.agent.lower())
        else:
            cloud.accounts.missing_agents.discard(self.agent.lower())


class _ResourceEdit(_Model):
    resource: str
    delete: bool = False
    recreate: bool = False
    create: str = ""
    uniform_bucket_level_access: bool | None = Field(None, alias="uniformBucketLevelAccess")

    def apply(self, cloud: Cloud, _sender: Sender) -> None:
        uniform = self.uniform_bucket_level_access
        if sum((self.delete, self.recreate, bool(self.create), uniform is not None)) != 1:
            raise EditError(
                "resource: set one of delete, recreate to true, create to a project, or "
                "uniformBucketLevelAccess"
            )
        host = self.resource.removeprefix("//").partition("/")[0]
        found = target_name(_resource(self.resource), host=host)
        if found is None:
            raise EditError(f"resource: '{self.resource}' is not a secret, bucket, topic or the like")
        if uniform is not None:
            cloud.resources.use_object_acls(found, used=not uniform)
        elif self.create:
            project = cloud.registry.resolve(self.create)
            cloud.resources.add(project, found.descriptor, found.name, found.location, found.parent)
        elif self.delete:
            cloud.resources.delete(found)
        else:
            cloud.resources.recreate(found)


class _PrincipalEdit(_Model):
    principal: str = Field(pattern=r"^(user|group):[^@\s:?]+@[^@\s:?]+$")
    aliases: tuple[str, ...] | None = None
    rename: str = ""
    delete: bool = False
    undelete: bool = False
    create: bool = False

    def apply(self, cloud: Cloud, _sender: Sender) -> None:
        changes = (self.aliases is not None, self.rename, self.delete, self.undelete, self.create)
        if sum(map(bool, changes)) != 1:
            raise EditError("principal: set one of aliases, rename, delete, undelete, create")
        kind, _, email = self.principal.partition(":")
        workspace = cloud.workspace
        principal = workspace.find(kind, email)
        if self.create or principal is None:
            if principal and not principal.deleted:
                raise EditError(f"principal: {self.principal} exists")
            principal = workspace.add(kind, email)
            workspace.take(principal, [email])
            cloud.policies.bind(principal)
        if self.aliases is not None:
            workspace.set_aliases(principal, self.aliases)
        if self.rename:
            workspace.rename(principal, self.rename)
        if self.delete or self.undelete:
            principal.deleted = self.delete


class _Edit(Protocol):
    def apply(self, cloud: Cloud, sender: Sender, /) -> None: ...


_EDITS: Mapping[str, Any] = {
    "policy": _PolicyEdit,
    "workload": _WorkloadEdit,
    "serviceAccount": _AccountEdit,
    "usage": UsageEdit,  # before `used`, which it has as a field
    "used": _UseEdit,
    "serviceAgent": _ServiceAgentEdit,
    "resource": _ResourceEdit,
    "principal": _PrincipalEdit,
    "recommendation": RecommendationEdit,
    "insight": InsightEdit,
}
"""Edits by the field that names what they change. The first field that an edit has decides."""


def _parse(change: Mapping[str, Any]) -> _Edit:
    for field, edit_class in _EDITS.items():
        if field in change:
            parsed: _Edit = edit_class.model_validate(change)
            return parsed
    raise EditError(f"the edit names none of {', '.join(_EDITS)}")


def _resource(full_name: str) -> str:
    """Convert `//run.googleapis.com/projects/…` to `projects/…`."""
    host, _, resource = full_name.removeprefix("//").partition("/")
    if not full_name.startswith("//") or host not in _HOSTS or not resource.startswith(_COLLECTIONS):
        raise EditError(
            f"'{full_name}' is not a full resource name such as "
            "//run.googleapis.com/projects/P/locations/L/services/S"
        )
    return resource


def _policy_service(full_name: str) -> str:
    """Return the API that serves the policy of a resource."""
    host, *segments = full_name.removeprefix("//").split("/")
    if target := target_name("/".join(segments), host=host):
        return target.descriptor.policy_service
    collections, names = segments[::2], segments[1::2]
    match [host, *collections] if len(collections) == len(names) else []:
        case ["cloudresourcemanager.googleapis.com", "projects"]:
            return "google.cloud.resourcemanager.v3.Projects"
        case ["cloudresourcemanager.googleapis.com", "folders"]:
            return "google.cloud.resourcemanager.v3.Folders"
        case ["cloudresourcemanager.googleapis.com", "organizations"]:
            return "google.cloud.resourcemanager.v3.Organizations"
        case ["iam.googleapis.com", "projects", "serviceAccounts"]:
            return _IAM
        case ["run.googleapis.com", "projects", "locations", "services"]:
            return "google.cloud.run.v2.Services"
        case ["run.googleapis.com", "projects", "locations", "jobs"]:
            return "google.cloud.run.v2.Jobs"
        case ["run.googleapis.com", "projects", "locations", "workerPools"]:
            return "google.cloud.run.v2.WorkerPools"
    raise EditError(f"policy: '{full_name}' has no IAM policy here")


def _remove(policy: policy_pb2.Policy, grant: _Grant) -> None:
    for binding in policy.bindings:
        if grant.is_in(binding) and grant.member in binding.members:
            binding.members.remove(grant.member)
            return
    raise EditError(f"remove: the policy does not grant {grant.role} to {grant.member}")


def _add(policy: policy_pb2.Policy, grant: _Grant) -> None:
    binding = next((each for each in policy.bindings if grant.is_in(each)), None)
    if binding is None:
        policy.bindings.append(grant.new_binding())
        binding = policy.bindings[-1]
    binding.members.append(grant.member)


def _by_unique_id(cloud: Cloud, name: str) -> str:
    """Return the name to undelete by: the latest deleted account of the e-mail."""
    parent, _, identifier = name.rpartition("/")
    if identifier.isdigit():
        return name
    deleted: Iterable[Any] = (
        account
        for account in cloud.accounts
        if account.email == identifier and account.deleted_at is not None
    )
    latest = max(deleted, key=lambda account: account.deleted_at, default=None)
    if latest is None:
        raise EditError(f"serviceAccount: no deleted account has the e-mail {identifier}")
    return f"{parent}/{latest.unique_id}"
