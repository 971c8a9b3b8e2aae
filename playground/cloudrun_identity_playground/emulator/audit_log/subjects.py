"""The resource of a logged call, and the names that each service gives to it and to its methods.

Sources: the page "audit-logging" of each product, such as https://cloud.google.com/iam/docs/audit-logging and
https://cloud.google.com/run/docs/audit-logging; monitored resource types from
https://cloud.google.com/logging/docs/api/v2/resource-list; and entries that were published, such as the tests
of https://github.com/panther-labs/panther-analysis/tree/main/rules/gcp_audit_rules and
https://github.com/nakamasato/cloud-run-slack-bot/blob/main/docs/auditing.md. No entry of Resource Manager v3,
of Cloud Run v2 or of Organization Policy v2 is published in full: their names follow these pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

from cloudrun_identity.api import TargetKind
from cloudrun_identity_playground.emulator.apis.accounts import Account, AccountStore
from cloudrun_identity_playground.emulator.apis.projects import ProjectRegistry
from cloudrun_identity_playground.emulator.apis.target_names import TargetName, target_name
from cloudrun_identity_playground.emulator.apis.target_resources import TargetResources
from cloudrun_identity_playground.emulator.errors import GoogleError

from .record import Record

_IAM = "google.iam.admin.v1.IAM"
_RUN = "google.cloud.run.v2."
_FIELDS = (
    "resource", "name", "sink_name", "topic", "subscription", "parent", "service_account.name",
    "policy.name", "custom_constraint.name", "service.name", "job.name", "worker_pool.name", "topic.name",
    "subscription.name",
)  # fmt: skip
_RUN_TYPES = {
    "services": ("cloud_run_revision", "service_name"),
    "jobs": ("cloud_run_job", "job_name"),
    "workerPools": ("cloud_run_worker_pool", "worker_pool_name"),
}
_CONTAINER_LABELS = {"projects": "project_id", "folders": "folder_id", "organizations": "organization_id"}


@dataclass(frozen=True)
class Subject:
    """Names of a call and of its resource in an entry."""

    service: str
    """`protoPayload.serviceName`."""
    method: str
    """`protoPayload.methodName`."""
    resource: str
    """`protoPayload.resourceName`."""
    type: str
    """`resource.type`."""
    labels: Mapping[str, str]
    """`resource.labels`."""
    container: str
    """Project, folder or organization that has the log."""
    location: str = ""
    """Location of the resource; empty if it has none."""
    name: str = ""
    """Name of a workload in version 2."""
    project_number: str = ""
    """Number of the project of a workload."""


class Subjects:
    """Finds the subject of each record."""

    def __init__(self, projects: ProjectRegistry, accounts: AccountStore, targets: TargetResources) -> None:
        self._projects = projects
        self._accounts = accounts
        self._targets = targets

    def of(self, record: Record) -> Subject:
        """Return the subject of a call."""
        name = named_in(record.request)
        if record.service == _IAM:
            if "/roles/" in name or record.method == "CreateRole":
                return self._role(record, name)
            return self._account(record, name)
        if record.service.startswith("google.cloud.resourcemanager."):
            return self._container(record, name)
        if record.service.startswith(_RUN):
            return self._workload(record, name)
        if record.service.startswith("google.logging."):
            return self._sink(record, name)
        if target := target_name(name, record.rpc):
            return self._target(record, target)
        return self._other(record, name)

    def _account(self, record: Record, name: str) -> Subject:
        """Return a service account. Entries name it by its unique id under `projects/-`."""
        method = "SetIAMPolicy" if record.method == "SetIamPolicy" else record.method
        account = record.before.account or self._created(record)
        identifier = name.split("/")[3] if name.count("/") > 2 else ""
        unique_id, email = (account.unique_id, account.email) if account else ("", identifier)
        if account is None and identifier.isdigit():
            unique_id, email = identifier, ""
        project = account.project.id if account else self._project(name)
        resource = f"projects/-/serviceAccounts/{unique_id or identifier}"
        if record.method == "CreateServiceAccount":
            resource = f"projects/{project}"
        elif "/keys/" in name:
            resource += f"/keys/{name.rpartition('/')[2]}"
        return Subject(
            "iam.googleapis.com",
            f"google.iam.admin.v1.{method}",
            resource,
            "service_account",
            {"project_id": project, "unique_id": unique_id, "email_id": email},
            f"projects/{project}",
        )

    def _created(self, record: Record) -> Account | None:
        email = getattr(record.response, "email", "") if record.method == "CreateServiceAccount" else ""
        return self._accounts.any(email) if email else None

    def _role(self, record: Record, name: str) -> Subject:
        if record.method == "CreateRole":
            name = f"{name}/roles/{record.request.role_id}"
        holder = name.partition("/roles/")[0]
        label, identifier = self._container_label(holder)
        return Subject(
            "iam.googleapis.com",
            f"google.iam.admin.v1.{record.method}",
            name,
            "iam_role",
            {label: identifier, "role_name": name},
            f"{holder.partition('/')[0]}/{identifier}",
        )

    def _container(self, record: Record, name: str) -> Subject:
        """Return a project, folder or organization. The REST API of version 1 logs the bare method name."""
        label, identifier = self._container_label(name)
        collection = name.partition("/")[0]
        short = record.sender.is_version_1
        return Subject(
            "cloudresourcemanager.googleapis.com",
            record.method if short else f"{record.service}.{record.method}",
            f"{collection}/{identifier}",
            collection.removesuffix("s"),
            {label: identifier},
            f"{collection}/{identifier}",
        )

    def _workload(self, record: Record, name: str) -> Subject:
        """Return a workload of Cloud Run. Version 1 has other names for it and for its methods."""
        name = self._workload_name(record, name)
        _, project, _, location, collection, workload, *_ = [*name.split("/"), "", "", ""]
        project = self._project(name)
        service, method, resource = record.service, record.method, name
        if record.sender.is_version_1:
            service = service.replace(".v2.", ".v1.")
            method = method.replace("Update", "Replace")
            if record.method != "SetIamPolicy":
                resource = f"namespaces/{project}/{collection.lower()}/{workload}"
        kind, label = _RUN_TYPES.get(collection, ("audited_resource", "name"))
        # Entries of SetIamPolicy have an empty label, as published.
        labels = {"project_id": project, "location": location}
        labels[label] = "" if method == "SetIamPolicy" else workload
        if kind == "cloud_run_revision":
            labels |= {"revision_name": "", "configuration_name": ""}
        return Subject(
            "run.googleapis.com",
            f"{service}.{method}",
            resource,
            kind,
            labels,
            f"projects/{project}",
            location,
            name,
            found.number if (found := self._projects.find(project)) else "",
        )

    @staticmethod
    def _workload_name(record: Record, name: str) -> str:
        if not record.method.startswith("Create"):
            return name
        noun = record.method.removeprefix("Create")
        field = "worker_pool" if noun == "WorkerPool" else noun.lower()
        collection = f"{noun[:1].lower()}{noun[1:]}s"
        return f"{name}/{collection}/{getattr(record.request, f'{field}_id', '')}"

    def _target(self, record: Record, target: TargetName) -> Subject:
        """Return a resource of another target kind."""
        descriptor = target.descriptor
        try:
            home = self._targets.home(target)
        except GoogleError:
            home = None
        project = home.id if home else target.project_id
        method = f"{record.service}.{record.method}"
        if record.method == "SetIamPolicy":
            method = descriptor.audit_methods[0]
        resource = target.resource
        if descriptor.host == "secretmanager.googleapis.com" and home:
            resource = resource.replace(f"projects/{home.id}/", f"projects/{home.number}/")
        kind, labels = _target_labels(target, resource, method)
        return Subject(
            descriptor.host,
            method,
            resource,
            kind,
            {"project_id": project, **labels},
            f"projects/{project}",
            target.location,
        )

    def _sink(self, record: Record, name: str) -> Subject:
        """Return a log sink."""
        if record.method == "CreateSink":
            name = f"{name}/sinks/{record.request.sink.name}"
        holder, _, sink = name.partition("/sinks/")
        label, identifier = self._container_label(holder)
        return Subject(
            "logging.googleapis.com",
            f"{record.service}.{record.method}",
            name,
            "logging_sink",
            {label: identifier, "name": sink, "destination": ""},
            f"{holder.partition('/')[0]}/{identifier}",
        )

    def _other(self, record: Record, name: str) -> Subject:
        """Return a resource without a monitored resource type of its own, such as an organization policy."""
        label, identifier = self._container_label(name)
        host = "orgpolicy.googleapis.com" if "orgpolicy" in record.service else ""
        method = f"{record.service}.{record.method}"
        return Subject(
            host,
            method,
            name,
            "audited_resource",
            {label: identifier, "service": host, "method": method},
            f"{name.partition('/')[0]}/{identifier}",
        )

    def _container_label(self, name: str) -> tuple[str, str]:
        """Return the label of the project, folder or organization in a name, and its ID."""
        collection = name.partition("/")[0]
        if collection == "projects":
            return "project_id", self._project(name)
        return _CONTAINER_LABELS.get(collection, "project_id"), name.split("/")[1] if "/" in name else ""

    def _project(self, name: str) -> str:
        """Return the ID of the project in a name, which may have its number."""
        given = name.split("/")[1] if name.count("/") else ""
        project = self._projects.find(given)
        return project.id if project else given


def named_in(request: Any) -> str:
    """Return the resource name in a request; empty if there is none."""
    for field in _FIELDS:
        try:
            name = reduce(getattr, field.split("."), request)
        except AttributeError:
            continue
        if isinstance(name, str) and name:
            return name
    return ""


def _target_labels(target: TargetName, resource: str, method: str) -> tuple[str, Mapping[str, str]]:
    """Return the monitored resource type of a target, and its labels besides the project."""
    match target.descriptor.kind:
        case TargetKind.STORAGE_BUCKET:
            return "gcs_bucket", {"bucket_name": target.name, "location": target.location}
        case TargetKind.PUB_SUB_TOPIC:
            return "pubsub_topic", {"topic_id": resource}
        case TargetKind.PUB_SUB_SUBSCRIPTION:
            return "pubsub_subscription", {"subscription_id": resource}
        case TargetKind.KMS_KEY_RING:
            return "cloudkms_keyring", {"key_ring_id": target.name, "location": target.location}
        case TargetKind.KMS_CRYPTO_KEY:
            return "cloudkms_cryptokey", {
                "key_ring_id": target.parent,
                "crypto_key_id": target.name,
                "location": target.location,
            }
        case TargetKind.CLOUD_TASKS_QUEUE:
            return "cloud_tasks_queue", {"queue_id": target.name, "location": target.location}
        case TargetKind.SPANNER_INSTANCE:
            return "spanner_instance", {"instance_id": target.name, "location": "", "instance_config": ""}
        case _:
            return "audited_resource", {"service": target.descriptor.host, "method": method}
