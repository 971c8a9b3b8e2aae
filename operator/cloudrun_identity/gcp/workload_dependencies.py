"""Resources that the template of a workload references, and that its account must be able to access."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .workloads import WorkloadState, workload_template

# A string that is not a valid name is ignored: the names end up in commands that users run.
_PROJECT = r"(?P<project>[a-z0-9][a-z0-9.:-]*)"
_NAME = r"(?P<name>[A-Za-z0-9][A-Za-z0-9._~+%-]*)"
_REGISTRY = re.compile(rf"(?:[a-z0-9-]+-docker\.pkg\.dev|(?:[a-z]+\.)?gcr\.io)/{_PROJECT}/")
_SECRET = re.compile(rf"(?:projects/{_PROJECT}/secrets/)?{_NAME}")
_SQL_INSTANCE = re.compile(rf"{_PROJECT}:[a-z0-9-]+:{_NAME}")
_BUCKET = re.compile(_NAME)
_TOPIC = re.compile(rf"projects/{_PROJECT}/topics/{_NAME}")


@dataclass(frozen=True, slots=True, order=True)
class ResourceRef:
    """Reference to a resource in a project."""

    project: str
    """Project id or number."""

    name: str = ""
    """Name of the resource; empty for the project itself."""


@dataclass(frozen=True, slots=True)
class WorkloadDependencies:
    """Resources that a workload references, each sorted by name."""

    image_projects: tuple[str, ...] = ()
    """Projects whose registries store the container images."""

    secrets: tuple[ResourceRef, ...] = ()
    """Secrets that are mounted, or referenced by environment variables."""

    sql_instances: tuple[ResourceRef, ...] = ()
    """Cloud SQL instances that are mounted."""

    buckets: tuple[str, ...] = ()
    """Buckets that are mounted. Their projects are not known."""

    topics: tuple[ResourceRef, ...] = ()
    """Pub/Sub topics whose full names are values of environment variables."""


def dependencies_of(state: WorkloadState) -> WorkloadDependencies:
    """Return the resources that the template of a workload references."""
    template = workload_template(state.workload.kind, state.message)
    home = state.workload.project_id
    volumes = {
        kind: [getattr(volume, kind) for volume in template.volumes if volume.HasField(kind)]
        for kind in ("secret", "cloud_sql_instance", "gcs")
    }
    mounted = [volume.secret for volume in volumes["secret"]]
    return WorkloadDependencies(
        image_projects=_sorted(_registry(container.image) for container in template.containers),
        secrets=_sorted(_secret(name, home) for name in (*mounted, *_secrets_in_variables(template))),
        sql_instances=_sorted(
            _sql_instance(name) for volume in volumes["cloud_sql_instance"] for name in volume.instances
        ),
        buckets=_sorted(volume.bucket for volume in volumes["gcs"] if _BUCKET.fullmatch(volume.bucket)),
        topics=_sorted(map(_topic, _plain_values(template))),
    )


def _sorted(found: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(sorted({each for each in found if each}))


def _registry(image: str) -> str:
    """Return the project whose registry stores an image; empty for registries outside of Google Cloud."""
    found = _REGISTRY.match(image)
    return found["project"] if found else ""


def _secret(name: str, home: str) -> ResourceRef | None:
    """Return a secret. A short name refers to the project of the workload."""
    found = _SECRET.fullmatch(name)
    return ResourceRef(found["project"] or home, found["name"]) if found else None


def _sql_instance(name: str) -> ResourceRef | None:
    """Return the instance `PROJECT:REGION:INSTANCE`. The id of a domain-scoped project contains a colon."""
    found = _SQL_INSTANCE.fullmatch(name)
    return ResourceRef(found["project"], found["name"]) if found else None


def _topic(value: str) -> ResourceRef | None:
    found = _TOPIC.fullmatch(value)
    return ResourceRef(found["project"], found["name"]) if found else None


def _secrets_in_variables(template: Any) -> Iterator[str]:
    for variable in _variables(template):
        if variable.HasField("value_source"):
            yield variable.value_source.secret_key_ref.secret


def _plain_values(template: Any) -> Iterator[str]:
    return (variable.value for variable in _variables(template) if variable.value)


def _variables(template: Any) -> Iterator[Any]:
    return (variable for container in template.containers for variable in container.env)
