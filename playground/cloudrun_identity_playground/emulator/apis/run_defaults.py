"""Values that Cloud Run sets if a caller omits them, from recordings."""

from __future__ import annotations

from typing import Any

from google.cloud import run_v2 as run
from google.protobuf.duration_pb2 import Duration

_GA = 4  # google.api.LaunchStage
_PORT = 8080
_CLOUD_SQL_MOUNT = "/cloudsql"


def set_service_defaults(service: Any) -> None:
    """Set the defaults of a service."""
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
    _set_cloud_sql_mounts(template)
    for container in template.containers:
        _set_limits(container, "512Mi")
        container.resources.cpu_idle = True
        _set_probe(container.startup_probe if container.HasField("startup_probe") else None)
    if len(template.containers) == 1:
        _set_ingress(template.containers[0])


def set_job_defaults(job: Any) -> None:
    """Set the defaults of a job."""
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
    _set_cloud_sql_mounts(task)
    for container in task.containers:
        _set_limits(container, "512Mi" if len(task.containers) == 1 else "256Mi")
        _set_probe(container.startup_probe if container.HasField("startup_probe") else None)


def set_worker_pool_defaults(pool: Any) -> None:
    """Set the defaults of a worker pool."""
    pool.launch_stage = pool.launch_stage or _GA
    if not pool.instance_splits:
        pool.instance_splits.add(
            type_=run.InstanceSplitAllocationType.INSTANCE_SPLIT_ALLOCATION_TYPE_LATEST, percent=100
        )
    _set_cloud_sql_mounts(pool.template)
    for container in pool.template.containers:
        _set_limits(container, "512Mi")


def _set_cloud_sql_mounts(template: Any) -> None:
    """Mount volumes of Cloud SQL at the only path that they have, whatever the caller sent.

    https://cloud.google.com/run/docs/reference/rest/v2/Container#VolumeMount
    """
    volumes = {volume.name for volume in template.volumes if volume.HasField("cloud_sql_instance")}
    for container in template.containers:
        for mount in container.volume_mounts:
            if mount.name in volumes:
                mount.mount_path = _CLOUD_SQL_MOUNT


def _set_limits(container: Any, memory: str) -> None:
    limits = container.resources.limits
    for name, limit in (("memory", memory), ("cpu", "1000m")):
        limits[name] = limits.get(name, limit)


def _set_probe(probe: Any | None) -> None:
    """Complete a probe."""
    if probe is None:
        return
    probe.timeout_seconds = probe.timeout_seconds or 1
    probe.period_seconds = probe.period_seconds or 10
    probe.failure_threshold = probe.failure_threshold or 3
    how = probe.WhichOneof("probe_type")
    if how is not None:
        target = getattr(probe, how)
        target.port = target.port or _PORT


def _set_ingress(container: Any) -> None:
    """Set the port of a service's only container, and the startup probe for it."""
    if not container.ports:
        container.ports.add(name="http1", container_port=_PORT)
    if not container.HasField("startup_probe"):
        probe = container.startup_probe
        probe.timeout_seconds = probe.period_seconds = 240
        probe.failure_threshold = 1
        probe.tcp_socket.port = container.ports[0].container_port
