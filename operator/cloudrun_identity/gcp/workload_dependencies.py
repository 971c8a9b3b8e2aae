"""What a workload's template names that its account will be asked for as the workload starts."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .workloads import WorkloadState, account_holder

# What is no name at all is nobody's, and must get into no command that somebody is told to run.
_PROJECT = r"(?P<project>[a-z0-9][a-z0-9.:-]*)"
_NAME = r"(?P<name>[A-Za-z0-9][A-Za-z0-9._~+%-]*)"
_REGISTRY = re.compile(rf"(?:[a-z0-9-]+-docker\.pkg\.dev|(?:[a-z]+\.)?gcr\.io)/{_PROJECT}/")
_SECRET = re.compile(rf"(?:projects/{_PROJECT}/secrets/)?{_NAME}")
_SQL_INSTANCE = re.compile(rf"{_PROJECT}:[a-z0-9-]+:{_NAME}")
_BUCKET = re.compile(_NAME)
_TOPIC = re.compile(rf"projects/{_PROJECT}/topics/{_NAME}")


@dataclass(frozen=True, slots=True, order=True)
class Named:
    """A resource by its name in a project (its id or number); the name is empty for the project as such."""

    project: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class WorkloadDependencies:
    """Each in the order of its name. `image_projects` are those whose registries hold the images.

    `topics` are those that environment variables name in full. `buckets` belong to projects unknown.
    """

    image_projects: tuple[str, ...] = ()
    secrets: tuple[Named, ...] = ()
    sql_instances: tuple[Named, ...] = ()
    buckets: tuple[str, ...] = ()
    topics: tuple[Named, ...] = ()


def needs_of(state: WorkloadState) -> WorkloadDependencies:
    """Read the template of a workload."""
    template = account_holder(state.workload.kind, state.message)
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
    """The project whose registry holds an image; empty for registries outside of Google Cloud."""
    found = _REGISTRY.match(image)
    return found["project"] if found else ""


def _secret(name: str, home: str) -> Named | None:
    """A secret, which is named in short in the workload's own project."""
    found = _SECRET.fullmatch(name)
    return Named(found["project"] or home, found["name"]) if found else None


def _sql_instance(name: str) -> Named | None:
    """`PROJECT:REGION:INSTANCE`; the id of a domain-scoped project has a colon of its own."""
    found = _SQL_INSTANCE.fullmatch(name)
    return Named(found["project"], found["name"]) if found else None


def _topic(value: str) -> Named | None:
    found = _TOPIC.fullmatch(value)
    return Named(found["project"], found["name"]) if found else None


def _secrets_in_variables(template: Any) -> Iterator[str]:
    for variable in _variables(template):
        if variable.HasField("value_source"):
            yield variable.value_source.secret_key_ref.secret


def _plain_values(template: Any) -> Iterator[str]:
    return (variable.value for variable in _variables(template) if variable.value)


def _variables(template: Any) -> Iterator[Any]:
    return (variable for container in template.containers for variable in container.env)
