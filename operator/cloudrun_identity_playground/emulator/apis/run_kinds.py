"""What tells the three kinds of Cloud Run workloads apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from google.cloud import run_v2 as run
from google.protobuf.duration_pb2 import Duration

from .policy_rules import ResourceKind

_GA = 4  # google.api.LaunchStage

# What a caller sends in these is ignored: Cloud Run alone sets them.
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
    """One kind of workload. Its messages are handled as plain protobuf.

    `noun` is its name in RPCs (`CreateService`), `field` in requests (`service`, `service_id`), `label` in
    errors, `collection` in resource names. `settle` sets what only this kind reports once a change took
    effect.
    """

    noun: str
    field: str
    label: str
    collection: str
    policy: ResourceKind
    message: Any
    has_revisions: bool
    conditions: tuple[str, ...]
    set_defaults: Callable[[Any], None]
    settle: Callable[[Any], None] | None = None

    def wrap(self, workload: Any) -> Any:
        """`workload` as the client library's message."""
        return getattr(run, self.noun).wrap(workload)

    def list_response(self, workloads: Iterable[Any], next_page_token: str) -> Any:
        """One page of a list."""
        listed = {f"{self.field}s": [self.wrap(workload) for workload in workloads]}
        return getattr(run, f"List{self.noun}sResponse")(**listed, next_page_token=next_page_token)

    @property
    def output_only(self) -> tuple[str, ...]:
        """The fields that callers cannot set."""
        declared = self.message.DESCRIPTOR.fields_by_name
        return tuple(name for name in _OUTPUT_ONLY if name in declared)

    def identity_template(self, workload: Any) -> Any:
        """The template that names the service account; a job's lies one level deeper."""
        return workload.template if self.has_revisions else workload.template.template


def _set_service_defaults(service: Any) -> None:
    service.ingress = service.ingress or run.IngressTraffic.INGRESS_TRAFFIC_ALL
    service.launch_stage = service.launch_stage or _GA
    if not service.traffic:
        service.traffic.add(
            type_=run.TrafficTargetAllocationType.TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST, percent=100
        )
    template = service.template
    template.max_instance_request_concurrency = template.max_instance_request_concurrency or 80
    if not template.HasField("timeout"):
        template.timeout.CopyFrom(Duration(seconds=300))


def _set_job_defaults(job: Any) -> None:
    job.launch_stage = job.launch_stage or _GA
    job.template.task_count = job.template.task_count or 1
    task = job.template.template
    task.execution_environment = (
        task.execution_environment or run.ExecutionEnvironment.EXECUTION_ENVIRONMENT_GEN2
    )
    if task.WhichOneof("retries") is None:
        task.max_retries = 3
    if not task.HasField("timeout"):
        task.timeout.CopyFrom(Duration(seconds=600))


def _set_worker_pool_defaults(pool: Any) -> None:
    pool.launch_stage = pool.launch_stage or _GA
    if not pool.instance_splits:
        pool.instance_splits.add(
            type_=run.InstanceSplitAllocationType.INSTANCE_SPLIT_ALLOCATION_TYPE_LATEST, percent=100
        )


def _settle_service(service: Any) -> None:
    """Report the traffic, as it was asked for, and the address."""
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
    """Report the instances' split, as it was asked for."""
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
    set_defaults=_set_service_defaults,
    settle=_settle_service,
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
    set_defaults=_set_job_defaults,
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
    set_defaults=_set_worker_pool_defaults,
    settle=_settle_worker_pool,
)
KINDS = (SERVICE, JOB, WORKER_POOL)
