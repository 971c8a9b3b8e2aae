"""Cloud Run services, jobs and worker pools in files, as `gcloud run … describe --format=export` prints them.

The fields: https://cloud.google.com/run/docs/reference/yaml/v1. The annotations:
https://cloud.google.com/run/docs/reference/rest/v1/namespaces.services#ObjectMeta. Only the fields are read
that show the access that a workload needs. They become a message of the Cloud Run API v2, so that one module
reads templates (`workload_dependencies`).
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, Json, ValidationError
from pydantic.alias_generators import to_camel

from cloudrun_identity.api import WorkloadKind

from .libraries import run_v2
from .workloads import Workload, WorkloadState, state_of

_RUN: Final = "run.googleapis.com"
_LOCATION: Final = "cloud.googleapis.com/location"
_GCS_DRIVER: Final = "gcsfuse.run.googleapis.com"

_KINDS: Final = {
    ("serving.knative.dev/v1", "Service"): WorkloadKind.SERVICE,
    (f"{_RUN}/v1", "Job"): WorkloadKind.JOB,
    (f"{_RUN}/v1", "WorkerPool"): WorkloadKind.WORKER_POOL,
}


Parsed = TypeVar("Parsed", bound=BaseModel)


class InvalidManifest(Exception):
    """A manifest does not describe a workload. The message is one line, without the object."""


class _Model(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, extra="ignore", frozen=True, coerce_numbers_to_str=True
    )


class _SecretKeyRef(_Model):
    name: str


class _ValueFrom(_Model):
    secret_key_ref: _SecretKeyRef | None = None


class _Variable(_Model):
    name: str = ""
    value: str | None = None
    value_from: _ValueFrom | None = None


class _Container(_Model):
    image: str = ""
    env: tuple[_Variable, ...] = ()


class _SecretVolume(_Model):
    secret_name: str


class _CSIVolume(_Model):
    driver: str
    read_only: bool = False
    volume_attributes: dict[str, str] = Field(default_factory=dict)


class _NFSVolume(_Model):
    server: str = ""
    path: str = ""


class _Volume(_Model):
    name: str = ""
    secret: _SecretVolume | None = None
    csi: _CSIVolume | None = None
    nfs: _NFSVolume | None = None


class _Template(_Model):
    service_account_name: str = ""
    containers: tuple[_Container, ...] = ()
    volumes: tuple[_Volume, ...] = ()


class _Interface(_Model):
    network: str = ""
    subnetwork: str = ""


class _Annotations(_Model):
    secrets: Annotated[str, Field(alias=f"{_RUN}/secrets")] = ""
    sql_instances: Annotated[str, Field(alias=f"{_RUN}/cloudsql-instances")] = ""
    connector: Annotated[str, Field(alias=f"{_RUN}/vpc-access-connector")] = ""
    interfaces: Annotated[Json[tuple[_Interface, ...]], Field(alias=f"{_RUN}/network-interfaces")] = ()
    encryption_key: Annotated[str, Field(alias=f"{_RUN}/encryption-key")] = ""


class _Metadata(_Model):
    name: str = ""
    namespace: str = ""
    labels: dict[str, str] = Field(default_factory=dict)


def is_cloud_run(document: Mapping[str, Any]) -> bool:
    """Return whether a manifest describes a service, job or worker pool of Cloud Run."""
    return (document.get("apiVersion"), document.get("kind")) in _KINDS


def project_in(document: Mapping[str, Any]) -> str:
    """Return the ID or number of the project in the manifest: its namespace; empty if there is none."""
    metadata = _parsed(_Metadata, document.get("metadata") or {})
    return metadata.namespace


def workload_in(document: Mapping[str, Any], project_id: str, location: str) -> WorkloadState:
    """Return the workload that the manifest describes. Its own location takes precedence over `location`.

    Raises:
        InvalidManifest: a field has a value of another type, or the location is unknown.

    """
    kind = _KINDS[document["apiVersion"], document["kind"]]
    metadata = _parsed(_Metadata, document.get("metadata") or {})
    found = metadata.labels.get(_LOCATION) or location
    if not found:
        raise InvalidManifest(f"has no label {_LOCATION}: name its location with --location")
    spec, annotations = _template_in(document, is_job=kind is WorkloadKind.JOB)
    message = _message(kind, _parsed(_Template, spec), _parsed(_Annotations, annotations))
    return state_of(Workload(kind, project_id, found, metadata.name), message)


def _template_in(document: Mapping[str, Any], *, is_job: bool) -> tuple[Any, Any]:
    """Return the spec of the instances, and the annotations of the template that contains it."""
    template = _child(_child(document, "spec"), "template")
    spec, annotations = _child(template, "spec"), _child(_child(template, "metadata"), "annotations")
    return (_child(_child(spec, "template"), "spec") if is_job else spec), annotations


def _child(parent: Any, name: str) -> Any:
    """Return a field of an object; an empty object if it is not set."""
    if not isinstance(parent, Mapping):
        raise InvalidManifest("is not a Cloud Run manifest: spec.template must be an object")
    return parent.get(name) or {}


def _message(kind: WorkloadKind, template: _Template, annotations: _Annotations) -> Any:
    fields: dict[str, Any] = {
        "service_account": template.service_account_name,
        "containers": [_container(each, _aliases(annotations)) for each in template.containers],
        "volumes": _volumes(template, annotations),
        "encryption_key": annotations.encryption_key,
        "vpc_access": run_v2.VpcAccess(
            connector=annotations.connector,
            network_interfaces=[
                run_v2.VpcAccess.NetworkInterface(network=each.network, subnetwork=each.subnetwork)
                for each in annotations.interfaces
            ],
        ),
    }
    match kind:
        case WorkloadKind.SERVICE:
            return run_v2.Service(template=run_v2.RevisionTemplate(**fields))
        case WorkloadKind.JOB:
            return run_v2.Job(template=run_v2.ExecutionTemplate(template=run_v2.TaskTemplate(**fields)))
        case WorkloadKind.WORKER_POOL:
            return run_v2.WorkerPool(template=run_v2.WorkerPoolRevisionTemplate(**fields))


def _container(container: _Container, aliases: Mapping[str, str]) -> "run_v2.Container":
    variables = []
    for each in container.env:
        reference = each.value_from and each.value_from.secret_key_ref
        if reference:
            secret = run_v2.SecretKeySelector(secret=aliases.get(reference.name, reference.name))
            source = run_v2.EnvVarSource(secret_key_ref=secret)
            variables.append(run_v2.EnvVar(name=each.name, value_source=source))
        else:
            variables.append(run_v2.EnvVar(name=each.name, value=each.value or ""))
    return run_v2.Container(image=container.image, env=variables)


def _volumes(template: _Template, annotations: _Annotations) -> "list[run_v2.Volume]":
    aliases, volumes = _aliases(annotations), []
    for each in template.volumes:
        if each.secret:
            name = aliases.get(each.secret.secret_name, each.secret.secret_name)
            volumes.append(run_v2.Volume(name=each.name, secret=run_v2.SecretVolumeSource(secret=name)))
        elif each.csi and each.csi.driver == _GCS_DRIVER:
            bucket = each.csi.volume_attributes.get("bucketName", "")
            gcs = run_v2.GCSVolumeSource(bucket=bucket, read_only=each.csi.read_only)
            volumes.append(run_v2.Volume(name=each.name, gcs=gcs))
        elif each.nfs:
            nfs = run_v2.NFSVolumeSource(server=each.nfs.server, path=each.nfs.path)
            volumes.append(run_v2.Volume(name=each.name, nfs=nfs))
    if annotations.sql_instances:
        instances = [name.strip() for name in annotations.sql_instances.split(",")]
        sql = run_v2.CloudSqlInstance(instances=instances)
        volumes.append(run_v2.Volume(name="cloudsql", cloud_sql_instance=sql))
    return volumes


def _aliases(annotations: _Annotations) -> Mapping[str, str]:
    """Return the secrets of other projects by the alias that the template has for them."""
    pairs = (pair.strip().partition(":") for pair in annotations.secrets.split(","))
    return {alias: secret for alias, _, secret in pairs if secret}


def _parsed(model: type[Parsed], value: Any) -> Parsed:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(map(str, first["loc"]))
        raise InvalidManifest(f"{path}: {first['msg']}") from None
