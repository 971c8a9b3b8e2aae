"""Resources that workload templates reference."""

import pytest
from google.cloud.run_v2 import types

from cloudrun_identity.api import WorkloadKind
from cloudrun_identity.gcp.workload_dependencies import ResourceRef, WorkloadDependencies, dependencies_of
from cloudrun_identity.gcp.workloads import Workload, WorkloadState, state_of

CONTAINERS = [
    types.Container(
        image="europe-docker.pkg.dev/shop-images/app/web:1",
        env=[
            types.EnvVar(
                name="KEY",
                value_source=types.EnvVarSource(secret_key_ref=types.SecretKeySelector(secret="stripe-key")),
            ),
            types.EnvVar(name="ORDERS", value="projects/shop-1234/topics/orders"),
            types.EnvVar(name="OTHER", value="see projects/shop-1234/topics/orders"),
        ],
    ),
    types.Container(image="eu.gcr.io/old-images/proxy@sha256:0"),
    types.Container(image="docker.io/library/nginx"),
]
VOLUMES = [
    types.Volume(secret=types.SecretVolumeSource(secret="projects/42/secrets/tls-key")),
    types.Volume(secret=types.SecretVolumeSource(secret="stripe-key")),
    types.Volume(cloud_sql_instance=types.CloudSqlInstance(instances=["example.com:db:europe-west1:orders"])),
    types.Volume(gcs=types.GCSVolumeSource(bucket="shop-assets")),
]
DEPENDENCIES = WorkloadDependencies(
    image_projects=("old-images", "shop-images"),
    secrets=(ResourceRef("42", "tls-key"), ResourceRef("shop-1234", "stripe-key")),
    sql_instances=(ResourceRef("example.com:db", "orders"),),
    buckets=("shop-assets",),
    topics=(ResourceRef("shop-1234", "orders"),),
)


def state(kind: WorkloadKind, message: object) -> WorkloadState:
    return state_of(Workload(kind, "shop-1234", "europe-west1", "checkout"), message)


@pytest.mark.parametrize(
    "state",
    [
        state(
            WorkloadKind.SERVICE,
            types.Service(template=types.RevisionTemplate(containers=CONTAINERS, volumes=VOLUMES)),
        ),
        state(
            WorkloadKind.JOB,
            types.Job(
                template=types.ExecutionTemplate(
                    template=types.TaskTemplate(containers=CONTAINERS, volumes=VOLUMES)
                )
            ),
        ),
        state(
            WorkloadKind.WORKER_POOL,
            types.WorkerPool(
                template=types.WorkerPoolRevisionTemplate(containers=CONTAINERS, volumes=VOLUMES)
            ),
        ),
    ],
    ids=lambda state: str(state.workload.kind),
)
def test_references_in_a_template_are_found(state: WorkloadState) -> None:
    assert dependencies_of(state) == DEPENDENCIES


@pytest.mark.parametrize("text", ["$(reboot)", "a b", "a;b", "a\nb", "--project=x", "../x", "ä"])
def test_invalid_names_are_ignored(text: str) -> None:
    """A name ends up in a command that users run."""
    template = types.RevisionTemplate(
        containers=[
            types.Container(
                image=f"gcr.io/{text}/web",
                env=[
                    types.EnvVar(value=f"projects/shop-1234/topics/{text}"),
                    types.EnvVar(value=f"projects/{text}/topics/orders"),
                ],
            )
        ],
        volumes=[
            types.Volume(secret=types.SecretVolumeSource(secret=text)),
            types.Volume(secret=types.SecretVolumeSource(secret=f"projects/{text}/secrets/tls-key")),
            types.Volume(
                cloud_sql_instance=types.CloudSqlInstance(instances=[f"p:r:{text}", f"{text}:r:db"])
            ),
            types.Volume(gcs=types.GCSVolumeSource(bucket=text)),
        ],
    )
    assert (
        dependencies_of(state(WorkloadKind.SERVICE, types.Service(template=template)))
        == WorkloadDependencies()
    )


def test_empty_template_has_no_dependencies() -> None:
    assert dependencies_of(state(WorkloadKind.SERVICE, types.Service())) == WorkloadDependencies()
