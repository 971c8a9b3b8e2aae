"""Grants that a Cloud Run workload needs, as values: the resources that its template names, with roles.

`gcp.workload_dependencies` finds them in a template. Preflight checks, `suggest` and `export` read them.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from cloudrun_identity.api.predefined_roles import PUBLISHER, SECRET_ACCESSOR

from .grants import IAMCondition, Target
from .role_catalog import role_catalog


class Holder(Enum):
    """Principals that need access for a workload to run."""

    IDENTITY = "the identity of the workload"
    SERVICE_AGENT = "the Cloud Run service agent of the workload's project"


@dataclass(frozen=True, slots=True)
class Access:
    """One way to use a resource."""

    check: str
    """Name of the preflight check, which covers all resources that are used in similar ways."""
    role: str
    """Least predefined role for this use."""
    permission: str
    """Permission in the role that shows whether a principal has this access."""
    purpose: str
    """Use of the resource, to follow "the workload"."""
    holder: Holder = Holder.IDENTITY
    """Principal that needs the access."""

    @property
    def permissions(self) -> frozenset[str]:
        """All permissions of the role."""
        return frozenset(role_catalog()[self.role].permissions)


# Cloud Run checks secrets at the deployment with the account of the workload:
# https://cloud.google.com/run/docs/configuring/services/secrets
READ_SECRET: Final = Access("Secrets", SECRET_ACCESSOR, "secretmanager.versions.access", "reads the secret")

# https://cloud.google.com/sql/docs/postgres/connect-run#configure
CONNECT_SQL: Final = Access(
    "CloudSQL", "roles/cloudsql.client", "cloudsql.instances.connect", "connects to the Cloud SQL instance"
)

# https://cloud.google.com/run/docs/configuring/services/cloud-storage-volume-mounts and, for the roles,
# https://cloud.google.com/storage/docs/access-control/iam-roles
READ_BUCKET: Final = Access(
    "Buckets", "roles/storage.objectViewer", "storage.objects.get", "reads files of the mounted bucket"
)
WRITE_BUCKET: Final = Access(
    "Buckets",
    "roles/storage.objectUser",
    "storage.objects.create",
    "reads and writes files of the mounted bucket",
)

# https://cloud.google.com/pubsub/docs/access-control#roles
PUBLISH: Final = Access("Topics", PUBLISHER, "pubsub.topics.publish", "publishes to the topic")
SUBSCRIBE: Final = Access(
    "Subscriptions",
    "roles/pubsub.subscriber",
    "pubsub.subscriptions.consume",
    "receives messages of the subscription",
)

# https://cloud.google.com/tasks/docs/reference-access-control#roles
ENQUEUE: Final = Access(
    "Queues", "roles/cloudtasks.enqueuer", "cloudtasks.tasks.create", "adds tasks to the queue"
)

# "If your container image is stored in another project": the service agent pulls the image.
# https://cloud.google.com/run/docs/deploying#other-projects
PULL_IMAGE: Final = Access(
    "ImagePull",
    "roles/artifactregistry.reader",
    "artifactregistry.repositories.downloadArtifacts",
    "runs an image of the repository",
    Holder.SERVICE_AGENT,
)

# https://cloud.google.com/run/docs/securing/using-cmek
ENCRYPT: Final = Access(
    "EncryptionKey",
    "roles/cloudkms.cryptoKeyEncrypterDecrypter",
    "cloudkms.cryptoKeyVersions.useToEncrypt",
    "is encrypted with the key",
    Holder.SERVICE_AGENT,
)

_ORDER: Final = (
    READ_SECRET,
    CONNECT_SQL,
    READ_BUCKET,
    WRITE_BUCKET,
    PUBLISH,
    SUBSCRIBE,
    ENQUEUE,
    PULL_IMAGE,
    ENCRYPT,
)


@dataclass(frozen=True, slots=True)
class Need:
    """One grant that a workload needs."""

    access: Access
    """Use of the resource."""
    target: Target
    """Resource to grant the role on."""
    name: str
    """Name of the resource, as messages show it."""
    sources: tuple[str, ...]
    """Parts of the template that name the resource."""
    condition: IAMCondition | None = None
    """Condition that limits a grant on the project to the resource; None for a grant on the resource."""

    @property
    def reason(self) -> str:
        """The use of the resource and the parts of the template that name it, as one sentence part."""
        return f"{self.access.purpose} {self.name} ({', '.join(self.sources)})"

    def in_project(self, project_id: str) -> "Need":
        """Return the need with the ID of the project instead of its number."""
        condition = self.condition
        if condition and self.access is CONNECT_SQL:
            condition = instance_condition(project_id, self.name.rpartition(":")[2])
        return replace(self, target=replace(self.target, project_id=project_id), condition=condition)


@dataclass(frozen=True, slots=True)
class Note:
    """A requirement of the workload that no object of the operator can declare."""

    text: str
    """The requirement, as a sentence that starts in lower case."""
    command: str = ""
    """The gcloud command that meets it, with `{agent}` for the service agent; empty if none does."""


@dataclass(frozen=True, slots=True)
class WorkloadNeeds:
    """Everything that the template of a workload shows about the access that it needs."""

    needs: tuple[Need, ...] = ()
    """Grants, in the order of the preflight checks."""
    notes: tuple[Note, ...] = ()
    """Requirements that are not grants of the operator."""
    image_projects: tuple[str, ...] = ()
    """Projects whose registries store the container images, sorted."""


def instance_condition(project_id: str, instance: str) -> IAMCondition:
    """Return the condition that limits a role of Cloud SQL to one instance.

    Source: https://cloud.google.com/sql/docs/postgres/iam-conditions
    """
    name = json.dumps(f"projects/{project_id}/instances/{instance}")
    return IAMCondition(
        title=f"Cloud SQL instance {instance}"[:100],
        expression=f'resource.name == {name} && resource.service == "sqladmin.googleapis.com"',
    )


def least(needs: Iterable[Need]) -> tuple[Need, ...]:
    """Return each need once, with all its sources, and without those that another one includes."""
    merged: dict[tuple[Access, Target, IAMCondition | None], Need] = {}
    for need in needs:
        key = (need.access, need.target, need.condition)
        known = merged.get(key)
        sources = dict.fromkeys((*(known.sources if known else ()), *need.sources))
        merged[key] = replace(need, sources=tuple(sources))
    written = {need.target for need in merged.values() if need.access is WRITE_BUCKET}
    kept = (need for need in merged.values() if not (need.access is READ_BUCKET and need.target in written))
    return tuple(sorted(kept, key=lambda need: (_ORDER.index(need.access), need.target, need.name)))
