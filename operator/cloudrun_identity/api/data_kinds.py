"""Descriptors of the target kinds that Cloud Run workloads use: secrets, storage, messages, keys, databases.

Sources of all descriptors. Services, methods, routing headers and field numbers: the protos at
https://github.com/googleapis/googleapis, as the client libraries have them (the version is named beside each
API). Resource names: https://cloud.google.com/iam/docs/full-resource-names. Conditions:
https://cloud.google.com/iam/docs/resource-types-with-conditional-roles. Permissions:
https://cloud.google.com/iam/docs/permissions-reference. Audit logs: the page "audit-logging" of each
product, such as https://cloud.google.com/artifact-registry/docs/audit-logging; Spanner's is
https://cloud.google.com/spanner/docs/logs.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from .status import Reason
from .target_descriptor import (
    NamedBy,
    NameForm,
    ParentField,
    TargetKind,
    TargetKindDescriptor,
    UniqueIDField,
)

_data: Final[Callable[..., TargetKindDescriptor]] = partial(
    TargetKindDescriptor,
    missing_reason=Reason.WORKLOAD_NOT_FOUND,
    named_by=NamedBy.NAME,
    accepts_conditions=False,
    accepts_public_members=False,
    # Each of these resources has contents that other teams of the project may own.
    is_admitted_by_name_only=True,
)
"""Return the descriptor of a kind of resource that the operator grants roles on, and nothing more."""


# google-cloud-secret-manager 2.32. Regional secrets: https://cloud.google.com/secret-manager/docs/regional-secrets-overview.
_secret: Final = partial(
    _data,
    host="secretmanager.googleapis.com",
    policy_service="google.cloud.secretmanager.v1.SecretManagerService",
    get_method="google.cloud.secretmanager.v1.SecretManagerService/GetSecret",
    unique_id_field=UniqueIDField("createTime", 3, is_time=True),  # the API has no other id
    audit_methods=("google.cloud.secretmanager.v1.SecretManagerService.SetIamPolicy",),
    name_form=NameForm("^[A-Za-z0-9_-]+$", "must be the ID of a secret: letters, digits, - and _"),
    accepts_conditions=True,
    accepts_public_members=True,
    permission_prefix="secretmanager.secrets",
    feature="grants on secrets",
)

# google-cloud-pubsub 2.44. Neither message has a unique id or a creation time. Names:
# https://cloud.google.com/pubsub/docs/pubsub-basics#resource_names.
_pub_sub: Final = partial(
    _data,
    host="pubsub.googleapis.com",
    policy_service="google.iam.v1.IAMPolicy",
    unique_id_field=None,
    audit_methods=("google.iam.v1.IAMPolicy.SetIamPolicy",),
    name_form=NameForm(
        "^[A-Za-z][A-Za-z0-9._~+%-]{2,}$",
        "must be the ID of a topic or subscription: 3 to 255 letters, digits and -._~+%, starting with a "
        "letter",
    ),
    accepts_public_members=True,
)

# google-cloud-kms 3.18. Audit logs have the method name without its service:
# https://cloud.google.com/kms/docs/audit-logging.
_KMS_FORM: Final = NameForm(
    "^[A-Za-z0-9_-]+$", "must be the name of a key ring or key: letters, digits, - and _", max_length=63
)
_kms: Final = partial(
    _data,
    host="cloudkms.googleapis.com",
    policy_service="google.iam.v1.IAMPolicy",
    audit_methods=("SetIamPolicy",),
    name_form=_KMS_FORM,
    accepts_conditions=True,
)

# google-cloud-spanner 3.71. Names: google/spanner/admin/{instance,database}/v1.
_SPANNER_INSTANCE: Final = NameForm(
    "^[a-z]([-a-z0-9]*[a-z0-9])$",
    "must be the ID of a Spanner instance: a-z, 0-9 and -, starting with a letter",
    max_length=64,
)
_spanner: Final = partial(_data, host="spanner.googleapis.com", accepts_conditions=True)

DATA_KINDS: Final = (
    _secret(
        kind=TargetKind.SECRET,
        display_name="secret",
        resource_pattern="projects/{project_id}/secrets/{name}",
    ),
    _secret(
        kind=TargetKind.REGIONAL_SECRET,
        display_name="regional secret",
        regional_host="secretmanager.{location}.rep.googleapis.com",
        resource_pattern="projects/{project_id}/locations/{location}/secrets/{name}",
    ),
    # google-cloud-storage 3.17 (its package google.cloud._storage_v2). A bucket is named without its project:
    # google/storage/v2/storage.proto. Conditions require uniform bucket-level access. Names:
    # https://cloud.google.com/storage/docs/buckets#naming.
    _data(
        kind=TargetKind.STORAGE_BUCKET,
        display_name="bucket",
        host="storage.googleapis.com",
        resource_pattern="projects/_/buckets/{name}",
        policy_service="google.storage.v2.Storage",
        routing_parameter="bucket",
        get_method="google.storage.v2.Storage/GetBucket",
        get_routing_parameter="bucket",
        unique_id_field=UniqueIDField("createTime", 11, is_time=True),
        project_number_field=3,
        audit_methods=("storage.setIamPermissions",),
        name_form=NameForm(
            "^[a-z0-9][-a-z0-9_.]+[a-z0-9]$",
            "must be the name of a bucket: a-z, 0-9 and -_., starting and ending with a letter or digit",
            max_length=222,
        ),
        accepts_conditions=True,
        accepts_public_members=True,
        permission_prefix="storage.buckets",
        feature="grants on buckets",
    ),
    _pub_sub(
        kind=TargetKind.PUB_SUB_TOPIC,
        display_name="topic",
        resource_pattern="projects/{project_id}/topics/{name}",
        get_method="google.pubsub.v1.Publisher/GetTopic",
        get_routing_parameter="topic",
        permission_prefix="pubsub.topics",
        feature="grants on topics",
    ),
    _pub_sub(
        kind=TargetKind.PUB_SUB_SUBSCRIPTION,
        display_name="subscription",
        resource_pattern="projects/{project_id}/subscriptions/{name}",
        get_method="google.pubsub.v1.Subscriber/GetSubscription",
        get_routing_parameter="subscription",
        permission_prefix="pubsub.subscriptions",
        feature="grants on subscriptions",
    ),
    # google-cloud-artifact-registry 1.23. Public repositories:
    # https://cloud.google.com/artifact-registry/docs/access-control#public.
    _data(
        kind=TargetKind.ARTIFACT_REGISTRY_REPOSITORY,
        display_name="repository",
        host="artifactregistry.googleapis.com",
        resource_pattern="projects/{project_id}/locations/{location}/repositories/{name}",
        policy_service="google.devtools.artifactregistry.v1.ArtifactRegistry",
        get_method="google.devtools.artifactregistry.v1.ArtifactRegistry/GetRepository",
        unique_id_field=UniqueIDField("createTime", 5, is_time=True),
        audit_methods=("google.devtools.artifactregistry.v1.ArtifactRegistry.SetIamPolicy",),
        name_form=NameForm(
            "^[a-z]([-a-z0-9]*[a-z0-9])?$",
            "must be the name of a repository: a-z, 0-9 and -, starting with a letter",
            max_length=63,
        ),
        accepts_public_members=True,
        permission_prefix="artifactregistry.repositories",
        feature="grants on repositories",
    ),
    # google-cloud-tasks 2.26. A queue has no unique id and no creation time. Names: its message.
    _data(
        kind=TargetKind.CLOUD_TASKS_QUEUE,
        display_name="queue",
        host="cloudtasks.googleapis.com",
        resource_pattern="projects/{project_id}/locations/{location}/queues/{name}",
        policy_service="google.cloud.tasks.v2.CloudTasks",
        get_method="google.cloud.tasks.v2.CloudTasks/GetQueue",
        unique_id_field=None,
        audit_methods=("google.cloud.tasks.v2.CloudTasks.SetIamPolicy",),
        name_form=NameForm(
            "^[A-Za-z0-9-]+$", "must be the ID of a queue: letters, digits and -", max_length=100
        ),
        permission_prefix="cloudtasks.queues",
        feature="grants on queues",
    ),
    _kms(
        kind=TargetKind.KMS_KEY_RING,
        display_name="key ring",
        resource_pattern="projects/{project_id}/locations/{location}/keyRings/{name}",
        get_method="google.cloud.kms.v1.KeyManagementService/GetKeyRing",
        unique_id_field=UniqueIDField("createTime", 2, is_time=True),
        permission_prefix="cloudkms.keyRings",
        feature="grants on key rings",
    ),
    _kms(
        kind=TargetKind.KMS_CRYPTO_KEY,
        display_name="crypto key",
        resource_pattern="projects/{project_id}/locations/{location}/keyRings/{parent}/cryptoKeys/{name}",
        get_method="google.cloud.kms.v1.KeyManagementService/GetCryptoKey",
        unique_id_field=UniqueIDField("createTime", 5, is_time=True),
        parent=ParentField("keyRing", "key ring", _KMS_FORM),
        permission_prefix="cloudkms.cryptoKeys",
        feature="grants on crypto keys",
    ),
    _spanner(
        kind=TargetKind.SPANNER_INSTANCE,
        display_name="Spanner instance",
        resource_pattern="projects/{project_id}/instances/{name}",
        policy_service="google.spanner.admin.instance.v1.InstanceAdmin",
        get_method="google.spanner.admin.instance.v1.InstanceAdmin/GetInstance",
        unique_id_field=UniqueIDField("createTime", 11, is_time=True),
        audit_methods=("google.spanner.admin.instance.v1.InstanceAdmin.SetIamPolicy",),
        name_form=_SPANNER_INSTANCE,
        permission_prefix="spanner.instances",
        feature="grants on Spanner instances",
    ),
    _spanner(
        kind=TargetKind.SPANNER_DATABASE,
        display_name="Spanner database",
        resource_pattern="projects/{project_id}/instances/{parent}/databases/{name}",
        policy_service="google.spanner.admin.database.v1.DatabaseAdmin",
        get_method="google.spanner.admin.database.v1.DatabaseAdmin/GetDatabase",
        unique_id_field=UniqueIDField("createTime", 3, is_time=True),
        audit_methods=("google.spanner.admin.database.v1.DatabaseAdmin.SetIamPolicy",),
        parent=ParentField("instance", "Spanner instance", _SPANNER_INSTANCE),
        name_form=NameForm(
            "^[a-z][a-z0-9_-]*[a-z0-9]$",
            "must be the ID of a Spanner database: a-z, 0-9, _ and -, starting with a letter",
            max_length=30,
        ),
        permission_prefix="spanner.databases",
        feature="grants on Spanner databases",
    ),
    # google-cloud-bigtable 2.50 (google.cloud.bigtable_admin_v2).
    _data(
        kind=TargetKind.BIGTABLE_INSTANCE,
        display_name="Bigtable instance",
        host="bigtableadmin.googleapis.com",
        resource_pattern="projects/{project_id}/instances/{name}",
        policy_service="google.bigtable.admin.v2.BigtableInstanceAdmin",
        get_method="google.bigtable.admin.v2.BigtableInstanceAdmin/GetInstance",
        unique_id_field=UniqueIDField("createTime", 7, is_time=True),
        audit_methods=("google.bigtable.admin.v2.BigtableInstanceAdmin.SetIamPolicy",),
        name_form=NameForm(
            "^[a-z][-a-z0-9]+[a-z0-9]$",  # google/bigtable/admin/v2/instance.proto
            "must be the ID of a Bigtable instance: a-z, 0-9 and -, starting with a letter",
            max_length=33,
        ),
        accepts_conditions=True,
        permission_prefix="bigtable.instances",
        feature="grants on Bigtable instances",
    ),
)
"""The descriptors, in the order of `TargetKind`."""
