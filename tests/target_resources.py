"""A target of each kind, for tests over the table of target kinds."""

from typing import Any, Final

from cloudrun_identity.api import TARGET_KINDS, NamedBy, TargetKind, WorkloadKind, kinds_where
from cloudrun_identity.iam.grants import Target

DATA_KINDS: Final = kinds_where(lambda kind: kind.is_admitted_by_name_only and not kind.contains_projects)
"""Kinds of resources with contents, such as secrets, buckets and topics, and the generic kind."""

SERVICE: Final = "cloudfunctions.googleapis.com"
"""API of the resource of the generic kind."""

SUPPORTED_ROLES: Final = {
    TargetKind.SECRET: "roles/secretmanager.secretAccessor",
    TargetKind.REGIONAL_SECRET: "roles/secretmanager.secretAccessor",
    TargetKind.STORAGE_BUCKET: "roles/storage.objectViewer",
    TargetKind.PUB_SUB_TOPIC: "roles/pubsub.publisher",
    TargetKind.PUB_SUB_SUBSCRIPTION: "roles/pubsub.subscriber",
    TargetKind.ARTIFACT_REGISTRY_REPOSITORY: "roles/artifactregistry.reader",
    TargetKind.CLOUD_TASKS_QUEUE: "roles/cloudtasks.enqueuer",
    TargetKind.KMS_KEY_RING: "roles/cloudkms.viewer",
    TargetKind.KMS_CRYPTO_KEY: "roles/cloudkms.cryptoKeyEncrypterDecrypter",
    TargetKind.SPANNER_INSTANCE: "roles/spanner.viewer",
    TargetKind.SPANNER_DATABASE: "roles/spanner.databaseReader",
    TargetKind.BIGTABLE_INSTANCE: "roles/bigtable.reader",
    TargetKind.RESOURCE: "roles/cloudfunctions.viewer",
}
"""A role that can be granted on a resource of each kind."""


def resource_of(kind: TargetKind, project_id: str = "shop", location: str = "europe-west1") -> Target:
    """Return a target of one of the `DATA_KINDS`."""
    descriptor = TARGET_KINDS[kind]
    if descriptor.named_by is NamedBy.RESOURCE:
        name = f"locations/{location}/functions/{project_id}-function"
        return Target(kind, project_id, location, name, service=SERVICE)
    return Target(
        kind,
        project_id,
        location if descriptor.has_location else "",
        f"{project_id}-{kind.lower()}"[:30],
        "shop-parent" if descriptor.parent else "",
    )


def target_of_each_kind(project_id: str = "shop", location: str = "europe-west1") -> dict[TargetKind, Target]:
    """Return a target of every kind."""
    named = {
        TargetKind.PROJECT: Target.project(project_id),
        TargetKind.SERVICE_ACCOUNT: Target.service_account(
            project_id, f"checkout@{project_id}.iam.gserviceaccount.com"
        ),
        **{TargetKind(kind): Target(TargetKind(kind), project_id, location, "web") for kind in WorkloadKind},
        **{kind: resource_of(kind, project_id, location) for kind in DATA_KINDS},
        TargetKind.FOLDER: Target(TargetKind.FOLDER, project_id, name="42"),
        TargetKind.ORGANIZATION: Target(TargetKind.ORGANIZATION, project_id, name="7"),
    }
    return {kind: named[kind] for kind in TargetKind}


def seeded(target: Target) -> dict[str, str]:
    """Return a target of one of the `DATA_KINDS` as an entry of `resources` in a seed of the emulator."""
    if target.service:
        return {"resource": target.full_name}
    return {
        "kind": target.kind,
        "name": target.name,
        "location": target.location,
        "parent": target.parent,
    }


def declared(target: Target) -> dict[str, Any]:
    """Return a target as a manifest names it."""
    if target.service:
        return {"resource": target.full_name}
    parent = target.descriptor.parent
    fields = {"location": target.location, parent.name if parent else "": target.parent, "name": target.name}
    return {"kind": target.kind.value, **{field: each for field, each in fields.items() if each}}
