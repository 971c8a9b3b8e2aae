"""Reads the JSON form of Terraform's state or plan (`terraform show -json`).

The form: https://developer.hashicorp.com/terraform/internals/json-format. The attributes of each type:
https://registry.terraform.io/providers/hashicorp/google/latest/docs.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NoReturn

from cloudrun_identity.api import TargetKind, WorkloadKind
from cloudrun_identity.exporting.names import object_name
from cloudrun_identity.exporting.selection import LeftOut
from cloudrun_identity.exporting.survey import DeclaredKey
from cloudrun_identity.gcp.custom_roles import CustomRoleState
from cloudrun_identity.gcp.service_accounts import ServiceAccount, expected_email
from cloudrun_identity.gcp.workloads import Workload
from cloudrun_identity.iam.grants import Grant, Target

from .declarations import (
    AUTHORITATIVE_BINDING,
    AUTHORITATIVE_POLICY,
    Binding,
    Conversion,
    Declarations,
    Source,
    Tool,
    condition_in,
    running_as,
)
from .target_names import target_named

Values = Mapping[str, Any]


def is_state(document: object) -> bool:
    """Return whether a document is the JSON form of a state or a plan."""
    return isinstance(document, dict) and "format_version" in document and "terraform_version" in document


def is_raw_state(document: object) -> bool:
    """Return whether a document is a state file, which has another form for each version of Terraform."""
    return isinstance(document, dict) and "terraform_version" in document and "lineage" in document


def read_state(document: Values, project_id: str, into: Declarations) -> None:
    """Read the resources of a state, or those that a plan leads to.

    `project_id` is the project of resources that name none.

    Raises:
        ValueError: the document has another form.

    """
    values = document.get("values") or document.get("planned_values") or {}
    resources = [Resource(each) for each in _resources(_block(values).get("root_module") or {})]
    buckets = {each.text("name"): each.text("project") for each in resources if each.type == _BUCKET}
    for resource in resources:
        _read(resource, project_id, buckets, into)


class Resource:
    """One managed resource of a state."""

    def __init__(self, raw: Values) -> None:
        self.type: str = raw.get("type", "")
        self.values: Values = raw.get("values") or {}
        self.source = Source(Tool.TERRAFORM, raw.get("address", self.type))

    def text(self, *names: str) -> str:
        """Return the first attribute that is set."""
        return next((str(self.values[name]) for name in names if self.values.get(name)), "")

    def texts(self, name: str) -> tuple[str, ...]:
        """Return an attribute that is a list of strings.

        Raises:
            ValueError: the list, or a part of it, is not known.

        """
        listed = self.values.get(name)
        if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
            _unknown(f"list of {name}")
        return tuple(listed)


def _resources(module: object) -> Iterator[Values]:
    """Yield the managed resources of a module and its child modules. Data sources manage nothing."""
    block = _block(module)
    yield from (each for each in map(_block, _blocks(block, "resources")) if each.get("mode") == "managed")
    for child in _blocks(block, "child_modules"):
        yield from _resources(child)


def _block(value: object) -> Values:
    if not isinstance(value, dict):
        raise ValueError(_OTHER_FORM)
    return value


def _blocks(module: Values, name: str) -> list[object]:
    listed = module.get(name) or []
    if not isinstance(listed, list):
        raise ValueError(_OTHER_FORM)
    return listed


def _read(resource: Resource, project_id: str, buckets: Mapping[str, str], into: Declarations) -> None:
    matched = _IAM.fullmatch(resource.type)
    try:
        if matched and matched["of"] in _TARGETS:
            kind, attributes = _TARGETS[matched["of"]]
            name = resource.text(*attributes)
            known = resource.text("project") or buckets.get(name.removeprefix("b/"), "") or project_id
            target = target_named(
                kind, name or known, known, resource.text("location", "region"), resource.text("instance")
            )
            _POLICY_FORMS[matched["form"]](resource, target, into)
        elif resource.type in _READERS:
            _READERS[resource.type](resource, resource.text("project") or project_id, into)
        elif matched or resource.type.startswith(_IDENTITY_PREFIXES):
            into.leave_out(resource.source, "the operator does not manage this type")
    except ValueError as error:
        into.leave_out(resource.source, str(error))


def _account(resource: Resource, project_id: str, into: Declarations) -> None:
    account_id = resource.text("account_id")
    email = expected_email(_known(project_id), account_id) if account_id else ""
    account = ServiceAccount(
        _known(project_id),
        resource.text("email") or email or _unknown("e-mail"),
        resource.text("unique_id"),
        resource.text("display_name"),
        resource.text("description"),
        bool(resource.values.get("disabled")),
    )
    into.add(resource.source, account)


def _key(resource: Resource, project_id: str, into: Declarations) -> None:
    account = target_named(TargetKind.SERVICE_ACCOUNT, resource.text("service_account_id"), project_id).name
    source = Source(Tool.TERRAFORM, resource.source.address, conversion=Conversion.REPLACED)
    into.add(source, DeclaredKey(object_name(account.partition("@")[0]), account))


def _role(resource: Resource, project_id: str, into: Declarations) -> None:
    role_id = resource.text("role_id") or _unknown("role ID")
    role = CustomRoleState(
        f"projects/{_known(project_id)}/roles/{role_id}",
        resource.text("title"),
        resource.text("description"),
        resource.text("stage") or "GA",
        frozenset(resource.texts("permissions")),
        b"",
        bool(resource.values.get("deleted")),
    )
    into.add(resource.source, role)


def _workload(kind: WorkloadKind) -> Callable[[Resource, str, Declarations], None]:
    def read(resource: Resource, project_id: str, into: Declarations) -> None:
        template = _first(resource.values.get("template"))
        if kind is WorkloadKind.JOB:
            template = _first(template.get("template"))
        spec = _first(template.get("spec"))  # google_cloud_run_service, which is Knative's form
        account = template.get("service_account") or spec.get("service_account_name") or ""
        name = resource.text("name").rpartition("/")[2]
        workload = Workload(kind, _known(project_id), resource.text("location"), name)
        source = Source(Tool.TERRAFORM, resource.source.address, conversion=Conversion.SHARED)
        into.add(source, running_as(workload, account))

    return read


def _member(resource: Resource, target: Target, into: Declarations) -> None:
    member = resource.text("member") or _unknown("member")
    condition = condition_in(_first(resource.values.get("condition")))
    into.add(resource.source, Grant(target, _role_of(resource), member, condition))


def _binding(resource: Resource, target: Target, into: Declarations) -> None:
    condition = condition_in(_first(resource.values.get("condition")))
    binding = Binding(target, _role_of(resource), resource.texts("members"), condition)
    into.add(resource.source, *binding.grants())
    into.notes.append(LeftOut(str(resource.source), AUTHORITATIVE_BINDING))


def _policy(resource: Resource, target: Target, into: Declarations) -> None:
    try:
        policy = json.loads(resource.text("policy_data"))
        bindings = [
            Binding(target, each["role"], tuple(each["members"]), condition_in(each.get("condition")))
            for each in policy.get("bindings", ())
        ]
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ValueError("its policy_data is not an IAM policy") from None
    for binding in bindings:
        into.add(resource.source, *binding.grants())
    if policy.get("auditConfigs"):
        into.leave_out(resource.source, "the operator does not manage auditConfigs")
    into.notes.append(LeftOut(str(resource.source), AUTHORITATIVE_POLICY))


def _role_of(resource: Resource) -> str:
    return resource.text("role") or _unknown("role")


def _first(block: object) -> Values:
    """Return a block that occurs at most once, which the state has as a list."""
    if isinstance(block, list):
        block = block[0] if block else {}
    return block if isinstance(block, dict) else {}


def _known(project_id: str) -> str:
    return project_id or _unknown("project", "apply it first, or use --project")


def _unknown(what: str, remedy: str = "apply it first") -> NoReturn:
    raise ValueError(f"its {what} is unknown until it is applied; {remedy}")


_OTHER_FORM = "not the output of terraform show -json: a module or a resource has another form"
_BUCKET = "google_storage_bucket"
_IDENTITY_PREFIXES = ("google_service_account", "google_iam_workload_identity", "google_organization_iam_")
_IAM = re.compile(r"google_(?P<of>\w+)_iam_(?P<form>member|binding|policy)")

_TARGETS: Mapping[str, tuple[TargetKind, Iterable[str]]] = {
    "project": (TargetKind.PROJECT, ("project",)),
    "service_account": (TargetKind.SERVICE_ACCOUNT, ("service_account_id",)),
    "cloud_run_service": (TargetKind.SERVICE, ("service",)),
    "cloud_run_v2_service": (TargetKind.SERVICE, ("name",)),
    "cloud_run_v2_job": (TargetKind.JOB, ("name",)),
    "cloud_run_v2_worker_pool": (TargetKind.WORKER_POOL, ("name",)),
    "secret_manager_secret": (TargetKind.SECRET, ("secret_id",)),
    "secret_manager_regional_secret": (TargetKind.REGIONAL_SECRET, ("secret_id",)),
    "storage_bucket": (TargetKind.STORAGE_BUCKET, ("bucket",)),
    "pubsub_topic": (TargetKind.PUB_SUB_TOPIC, ("topic",)),
    "pubsub_subscription": (TargetKind.PUB_SUB_SUBSCRIPTION, ("subscription",)),
    "artifact_registry_repository": (TargetKind.ARTIFACT_REGISTRY_REPOSITORY, ("repository",)),
    "cloud_tasks_queue": (TargetKind.CLOUD_TASKS_QUEUE, ("name",)),
    "kms_key_ring": (TargetKind.KMS_KEY_RING, ("key_ring_id",)),
    "kms_crypto_key": (TargetKind.KMS_CRYPTO_KEY, ("crypto_key_id",)),
    "spanner_instance": (TargetKind.SPANNER_INSTANCE, ("instance",)),
    "spanner_database": (TargetKind.SPANNER_DATABASE, ("database",)),
    "bigtable_instance": (TargetKind.BIGTABLE_INSTANCE, ("instance",)),
    "folder": (TargetKind.FOLDER, ("folder",)),
    "organization": (TargetKind.ORGANIZATION, ("org_id",)),
}
"""Kinds of targets by the types of their IAM resources, with the attributes that have the name."""

_POLICY_FORMS = {"member": _member, "binding": _binding, "policy": _policy}

_READERS: Mapping[str, Callable[[Resource, str, Declarations], None]] = {
    "google_service_account": _account,
    "google_service_account_key": _key,
    "google_project_iam_custom_role": _role,
    "google_cloud_run_service": _workload(WorkloadKind.SERVICE),
    "google_cloud_run_v2_service": _workload(WorkloadKind.SERVICE),
    "google_cloud_run_v2_job": _workload(WorkloadKind.JOB),
    "google_cloud_run_v2_worker_pool": _workload(WorkloadKind.WORKER_POOL),
}
