"""Differences between the three kinds of Cloud Run workloads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from google.cloud import run_v2 as run

from .policy_rules import ResourceKind
from .run_defaults import set_job_defaults, set_service_defaults, set_worker_pool_defaults

# Output-only fields: Cloud Run ignores what a caller sends in them.
_OUTPUT_ONLY = (
    "name",
    "uid",
    "generation",
    "create_time",
    "update_time",
    "delete_time",
    "expire_time",
    "creator",
    "last_modifier",
    "observed_generation",
    "terminal_condition",
    "conditions",
    "latest_ready_revision",
    "latest_created_revision",
    "traffic_statuses",
    "instance_split_statuses",
    "uri",
    "urls",
    "satisfies_pzs",
    "reconciling",
    "etag",
    "execution_count",
    "latest_created_execution",
)


@dataclass(frozen=True)
class RunKind:
    """One kind of workload. Its messages are plain protobuf."""

    noun: str
    """Name in RPCs (`CreateService`)."""
    field: str
    """Name in requests (`service`, `service_id`)."""
    label: str
    """Name in errors."""
    collection: str
    """Name in resource names."""
    policy: ResourceKind
    """Rules for its IAM policy."""
    message: Any
    """Class of its message."""
    has_revisions: bool
    """True if a change of the template creates a revision."""
    conditions: tuple[str, ...]
    """Conditions that it reports."""
    set_defaults: Callable[[Any], None]
    """Sets what a caller omitted."""
    settle: Callable[[Any], None] | None = None
    """Sets the fields that only this kind reports after a change took effect."""
    later: tuple[str, ...] = ()
    """Fields that the operation of a create shows only when it is done."""

    def wrap(self, workload: Any) -> Any:
        """Return `workload` as the client library's message."""
        return getattr(run, self.noun).wrap(workload)

    def list_response(self, workloads: Iterable[Any], next_page_token: str) -> Any:
        """Return one page of a list."""
        listed = {f"{self.field}s": [self.wrap(workload) for workload in workloads]}
        return getattr(run, f"List{self.noun}sResponse")(**listed, next_page_token=next_page_token)

    @property
    def output_only(self) -> tuple[str, ...]:
        """The fields that callers cannot set."""
        declared = self.message.DESCRIPTOR.fields_by_name
        return tuple(name for name in _OUTPUT_ONLY if name in declared)

    def identity_template(self, workload: Any) -> Any:
        """Return the template with the service account; a job's is one level deeper."""
        return workload.template if self.has_revisions else workload.template.template


def _settle_service(service: Any) -> None:
    """Report the traffic as requested, and the address."""
    short_name, location = service.name.rpartition("/")[2], service.name.split("/")[3]
    service.uri = f"https://{short_name}-{service.uid[:8]}.{location}.run.app"
    del service.traffic_statuses[:]
    for target in service.traffic:
        status = service.traffic_statuses.add(
            type_=target.type_, revision=target.revision, percent=target.percent, tag=target.tag
        )
        if target.tag:
            status.uri = service.uri.replace("https://", f"https://{target.tag}---")


def _settle_worker_pool(pool: Any) -> None:
    """Report the split of instances as requested."""
    del pool.instance_split_statuses[:]
    for split in pool.instance_splits:
        pool.instance_split_statuses.add(type_=split.type_, revision=split.revision, percent=split.percent)


SERVICE = RunKind(
    noun="Service",
    field="service",
    label="SERVICE",
    collection="services",
    policy=ResourceKind.RUN_SERVICE,
    message=run.Service.pb(),
    has_revisions=True,
    conditions=("RoutesReady", "ConfigurationsReady"),
    set_defaults=set_service_defaults,
    settle=_settle_service,
    later=("ingress",),
)
JOB = RunKind(
    noun="Job",
    field="job",
    label="JOB",
    collection="jobs",
    policy=ResourceKind.RUN_JOB,
    message=run.Job.pb(),
    has_revisions=False,
    conditions=(),
    set_defaults=set_job_defaults,
)
WORKER_POOL = RunKind(
    noun="WorkerPool",
    field="worker_pool",
    label="WORKER_POOL",
    collection="workerPools",
    policy=ResourceKind.RUN_WORKER_POOL,
    message=run.WorkerPool.pb(),
    has_revisions=True,
    conditions=("ConfigurationsReady",),
    set_defaults=set_worker_pool_defaults,
    settle=_settle_worker_pool,
)
KINDS = (SERVICE, JOB, WORKER_POOL)
