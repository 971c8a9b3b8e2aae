"""Access that a workload needs, as the template of the workload shows it.

This is the only place that reads templates for it. A string that is not a valid name is ignored: the names
end up in commands and manifests that users run.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from cloudrun_identity.api import TargetKind
from cloudrun_identity.api.target_descriptor import NameForm
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.workload_needs import (
    CONNECT_SQL,
    ENCRYPT,
    ENQUEUE,
    PUBLISH,
    PULL_IMAGE,
    READ_BUCKET,
    READ_SECRET,
    SUBSCRIBE,
    WRITE_BUCKET,
    Access,
    Need,
    Note,
    WorkloadNeeds,
    instance_condition,
    least,
)

from .workload_networks import network_notes
from .workloads import WorkloadState, workload_template

_PROJECT = r"(?P<project>[a-z0-9][a-z0-9.:-]*)"
_NAME = r"(?P<name>[A-Za-z0-9][A-Za-z0-9._~+%-]*)"
_LOCATION = r"(?P<location>[a-z]+(?:-[a-z]+)*[0-9]*)"
_SECRET = re.compile(rf"(?:projects/{_PROJECT}/(?:locations/{_LOCATION}/)?secrets/)?{_NAME}")
_SQL_INSTANCE = re.compile(rf"{_PROJECT}:[a-z0-9-]+:(?P<name>[a-z][a-z0-9-]*)")
_BUCKET = re.compile(_NAME)
_TOPIC = re.compile(rf"projects/{_PROJECT}/topics/{_NAME}")
_SUBSCRIPTION = re.compile(rf"projects/{_PROJECT}/subscriptions/{_NAME}")
_QUEUE = re.compile(rf"projects/{_PROJECT}/locations/{_LOCATION}/queues/{_NAME}")
_KEY = re.compile(
    rf"projects/{_PROJECT}/locations/{_LOCATION}/keyRings/(?P<parent>[A-Za-z0-9_-]+)/cryptoKeys/{_NAME}"
)
# The ID of a domain-scoped project has its colon as a slash in the names of images:
# https://cloud.google.com/artifact-registry/docs/docker/names
_IMAGE_PROJECT = r"(?P<project>(?:[a-z0-9-]+(?:\.[a-z0-9-]+)+/)?[a-z0-9][a-z0-9:-]*)"
_REPOSITORY = re.compile(rf"{_LOCATION}-docker\.pkg\.dev/{_IMAGE_PROJECT}/{_NAME}/")
_REGISTRY = re.compile(rf"(?P<name>(?:(?P<location>us|eu|asia)\.)?gcr\.io)/{_IMAGE_PROJECT}/")

_REGISTRY_LOCATIONS: Final = {"eu": "europe", "asia": "asia"}
"""Locations of the repositories for gcr.io addresses, by the start of the address; all others are in `us`.

Source: https://cloud.google.com/artifact-registry/docs/transition/setup-gcr-repo
"""

_PUBLIC_PROJECTS: Final = frozenset({"cloudrun", "google-samples"})
"""Projects of Google with public images, such as `us-docker.pkg.dev/cloudrun/container/hello`."""


def needs_of(state: WorkloadState, project_number: str = "") -> WorkloadNeeds:
    """Return the access that the template of a workload shows.

    `project_number` is the number of the workload's project, or empty. Names in the template may contain it
    instead of the ID.
    """
    home = state.workload.project_id
    template = workload_template(state.workload.kind, state.message)
    reader = _TemplateReader(home, project_number)
    images = [container.image for container in template.containers]
    projects = {reader.image_project(image) for image in images} - {""}
    found = (*reader.mounted(template), *reader.in_variables(template), *reader.images(template))
    return WorkloadNeeds(
        needs=least((*found, *reader.encryption(template))),
        notes=tuple(
            dict.fromkeys(
                (
                    *reader.registry_notes(images),
                    *network_notes(template, home, project_number, state.workload.location),
                )
            )
        ),
        image_projects=tuple(sorted(projects)),
    )


class _TemplateReader:
    """Reads the parts of a template of a workload in the project `home`."""

    def __init__(self, home: str, project_number: str) -> None:
        self._home = home
        self._number = project_number

    def mounted(self, template: Any) -> Iterator[Need]:
        """Yield the secrets, instances and buckets that are mounted."""
        for volume in template.volumes:
            source = f"volume {_printable(volume.name)}"
            if volume.HasField("secret"):
                yield from self._secret(volume.secret.secret, source)
            elif volume.HasField("cloud_sql_instance"):
                for instance in volume.cloud_sql_instance.instances:
                    yield from self._instance(instance, source)
            elif volume.HasField("gcs") and _BUCKET.fullmatch(volume.gcs.bucket):
                access = READ_BUCKET if volume.gcs.read_only else WRITE_BUCKET
                target = Target(TargetKind.STORAGE_BUCKET, self._home, name=volume.gcs.bucket)
                yield from _need(access, target, volume.gcs.bucket, source)

    def in_variables(self, template: Any) -> Iterator[Need]:
        """Yield the resources that environment variables refer to, or name in full."""
        for container in template.containers:
            for variable in container.env:
                source = f"environment variable {_printable(variable.name)}"
                if variable.HasField("value_source"):
                    yield from self._secret(variable.value_source.secret_key_ref.secret, source)
                else:
                    yield from self._named(variable.value, source)

    def images(self, template: Any) -> Iterator[Need]:
        """Yield the repositories of other projects that store the images.

        The service agent may pull images of its own project: https://cloud.google.com/run/docs/deploying
        """
        for container in template.containers:
            found = _REPOSITORY.match(container.image)
            project = self.image_project(container.image)
            if found and project not in (self._home, *_PUBLIC_PROJECTS):
                target = Target(
                    TargetKind.ARTIFACT_REGISTRY_REPOSITORY, project, found["location"], found["name"]
                )
                yield from _need(PULL_IMAGE, target, target.resource, "image")

    def encryption(self, template: Any) -> Iterator[Need]:
        """Yield the key that encrypts the workload."""
        yield from self._full(
            ENCRYPT, TargetKind.KMS_CRYPTO_KEY, _KEY, template.encryption_key, "encryption key"
        )

    def image_project(self, image: str) -> str:
        """Return the project whose registry stores an image; empty for registries outside of Google Cloud."""
        found = _REPOSITORY.match(image) or _REGISTRY.match(image)
        return self._project(found["project"].replace("/", ":")) if found else ""

    def registry_notes(self, images: Iterable[str]) -> Iterator[Note]:
        """Yield what the service agent needs for images of other projects with a gcr.io address."""
        for image in images:
            found, project = _REGISTRY.match(image), self.image_project(image)
            if found and project != self._home:
                location = _REGISTRY_LOCATIONS.get(found["location"], "us")
                yield Note(
                    f"the Cloud Run service agent pulls images of {found['name']}/{project}, in the "
                    f"repository {found['name']} of project {project}",
                    f"gcloud artifacts repositories add-iam-policy-binding {found['name']} "
                    f"--location={location} --project={project} --member=serviceAccount:{{agent}} "
                    f"--role={PULL_IMAGE.role}",
                )

    def _secret(self, name: str, source: str) -> Iterator[Need]:
        """Yield a secret. A short name refers to the project of the workload."""
        found = _SECRET.fullmatch(name)
        if found is None:
            return
        project, location = self._project(found["project"] or self._home), found["location"] or ""
        kind = TargetKind.REGIONAL_SECRET if location else TargetKind.SECRET
        yield from _need(READ_SECRET, Target(kind, project, location, found["name"]), found["name"], source)

    def _instance(self, name: str, source: str) -> Iterator[Need]:
        """Yield the instance `PROJECT:REGION:INSTANCE`. Cloud SQL has no policies of its own."""
        found = _SQL_INSTANCE.fullmatch(name)
        if found:
            project = self._project(found["project"])
            condition = instance_condition(project, found["name"])
            shown = f"{project}:{found['name']}"
            yield Need(CONNECT_SQL, Target.project(project), shown, (source,), condition)

    def _named(self, value: str, source: str) -> Iterator[Need]:
        """Yield the topic, subscription or queue whose full name is the value of a variable."""
        for access, kind, form in (
            (PUBLISH, TargetKind.PUB_SUB_TOPIC, _TOPIC),
            (SUBSCRIBE, TargetKind.PUB_SUB_SUBSCRIPTION, _SUBSCRIPTION),
            (ENQUEUE, TargetKind.CLOUD_TASKS_QUEUE, _QUEUE),
        ):
            yield from self._full(access, kind, form, value, source)

    def _full(
        self, access: Access, kind: TargetKind, form: re.Pattern[str], value: str, source: str
    ) -> Iterator[Need]:
        """Yield the resource with the full name `value`, if it is of the form."""
        if found := form.fullmatch(value):
            parts = found.groupdict("")
            project = self._project(parts["project"])
            target = Target(kind, project, parts.get("location", ""), parts["name"], parts.get("parent", ""))
            yield from _need(access, target, target.resource, source)

    def _project(self, project: str) -> str:
        """Return a project by its ID, if its number is that of the workload's project."""
        return self._home if project == self._number else project


def _need(access: Access, target: Target, name: str, source: str) -> Iterator[Need]:
    """Yield the need, if the name can be that of a resource of the kind."""
    parent = target.descriptor.parent
    fits_parent = parent is None or _fits(parent.name_form, target.parent)
    if fits_parent and _fits(target.descriptor.name_form, target.name):
        yield Need(access, target, name, (source,))


def _fits(form: NameForm | None, name: str) -> bool:
    return form is None or (bool(re.search(form.pattern, name)) and len(name) <= form.max_length)


def _printable(name: str) -> str:
    """Return a name of a part of the template without characters that could end a comment or a message."""
    return re.sub(r"[^A-Za-z0-9._-]", "?", name)[:64] or "without a name"
