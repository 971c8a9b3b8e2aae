"""Access that workload templates need."""

import pytest
from google.cloud.run_v2 import types

from cloudrun_identity.api import WorkloadKind
from cloudrun_identity.gcp.workload_dependencies import needs_of
from cloudrun_identity.gcp.workloads import Workload, WorkloadState, state_of
from cloudrun_identity.iam.workload_needs import Holder, WorkloadNeeds

NUMBER = "123456789012"
CONTAINERS = [
    types.Container(
        image="europe-docker.pkg.dev/shop-images/app/web:1",
        env=[
            types.EnvVar(
                name="KEY",
                value_source=types.EnvVarSource(secret_key_ref=types.SecretKeySelector(secret="stripe-key")),
            ),
            types.EnvVar(name="ORDERS", value="projects/shop-1234/topics/orders"),
            types.EnvVar(name="MAILS", value="projects/shop-1234/locations/europe-west1/queues/mails"),
            types.EnvVar(name="EVENTS", value="projects/other-1/subscriptions/events"),
            types.EnvVar(name="OTHER", value="see projects/shop-1234/topics/orders"),
        ],
    ),
    types.Container(image="eu.gcr.io/old-images/proxy@sha256:0"),
    types.Container(image="europe-docker.pkg.dev/shop-1234/app/sidecar"),
    types.Container(image="us-docker.pkg.dev/cloudrun/container/hello"),
    types.Container(image="docker.io/library/nginx"),
]
VOLUMES = [
    types.Volume(name="tls", secret=types.SecretVolumeSource(secret="projects/42/secrets/tls-key")),
    types.Volume(name="key", secret=types.SecretVolumeSource(secret="stripe-key")),
    types.Volume(
        name="eu",
        secret=types.SecretVolumeSource(secret=f"projects/{NUMBER}/locations/europe-west1/secrets/eu-key"),
    ),
    types.Volume(
        name="sql",
        cloud_sql_instance=types.CloudSqlInstance(instances=["example.com:db:europe-west1:orders"]),
    ),
    types.Volume(name="assets", gcs=types.GCSVolumeSource(bucket="shop-assets")),
    types.Volume(name="assets-too", gcs=types.GCSVolumeSource(bucket="shop-assets", read_only=True)),
    types.Volume(name="catalog", gcs=types.GCSVolumeSource(bucket="shop-catalog", read_only=True)),
]
NEEDS = {
    ("roles/secretmanager.secretAccessor", "Secret stripe-key", "shop-1234"),
    ("roles/secretmanager.secretAccessor", "Secret tls-key", "42"),
    ("roles/secretmanager.secretAccessor", "RegionalSecret europe-west1/eu-key", "shop-1234"),
    ("roles/cloudsql.client", "Project example.com:db", "example.com:db"),
    ("roles/storage.objectUser", "StorageBucket shop-assets", "shop-1234"),
    ("roles/storage.objectViewer", "StorageBucket shop-catalog", "shop-1234"),
    ("roles/pubsub.publisher", "PubSubTopic orders", "shop-1234"),
    ("roles/pubsub.subscriber", "PubSubSubscription events", "other-1"),
    ("roles/cloudtasks.enqueuer", "CloudTasksQueue europe-west1/mails", "shop-1234"),
    ("roles/artifactregistry.reader", "ArtifactRegistryRepository europe/app", "shop-images"),
}
SERVICE = WorkloadKind.SERVICE


def state(kind: WorkloadKind, message: object) -> WorkloadState:
    return state_of(Workload(kind, "shop-1234", "europe-west1", "checkout"), message)


def service(**template: object) -> WorkloadState:
    return state(SERVICE, types.Service(template=types.RevisionTemplate(**template)))


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
def test_needs_of_a_template_are_the_least_roles_on_its_resources(state: WorkloadState) -> None:
    found = needs_of(state, NUMBER)
    assert {(need.access.role, str(need.target), need.target.project_id) for need in found.needs} == NEEDS
    assert found.image_projects == ("cloudrun", "old-images", "shop-1234", "shop-images")


def test_each_need_names_the_parts_of_the_template_that_cause_it() -> None:
    needs = {need.name: need for need in needs_of(service(containers=CONTAINERS, volumes=VOLUMES)).needs}
    assert needs["stripe-key"].reason == (
        "reads the secret stripe-key (volume key, environment variable KEY)"
    )
    assert needs["shop-assets"].sources == ("volume assets",)


def test_roles_of_the_service_agent_are_not_for_the_identity() -> None:
    key = "projects/shop-1234/locations/europe-west1/keyRings/run/cryptoKeys/images"
    found = needs_of(service(containers=CONTAINERS, encryption_key=key))
    agent = {
        need.access.role: str(need.target)
        for need in found.needs
        if need.access.holder is not Holder.IDENTITY
    }
    assert agent == {
        "roles/artifactregistry.reader": "ArtifactRegistryRepository europe/app",
        "roles/cloudkms.cryptoKeyEncrypterDecrypter": "KMSCryptoKey europe-west1/run/images",
    }


def test_role_for_a_cloud_sql_instance_is_limited_to_the_instance() -> None:
    sql = types.Volume(cloud_sql_instance=types.CloudSqlInstance(instances=["shop-1234:europe-west1:orders"]))
    (need,) = needs_of(service(volumes=[sql])).needs
    assert need.condition
    assert need.condition.expression == (
        'resource.name == "projects/shop-1234/instances/orders" && '
        'resource.service == "sqladmin.googleapis.com"'
    )


@pytest.mark.parametrize(
    ("template", "text", "command"),
    [
        (
            {"vpc_access": types.VpcAccess(connector="projects/net-1/locations/europe-west1/connectors/c")},
            "shared VPC host project net-1",
            "gcloud projects add-iam-policy-binding net-1 --member=serviceAccount:{agent} "
            "--role=roles/vpcaccess.user",
        ),
        (
            {
                "vpc_access": types.VpcAccess(
                    network_interfaces=[
                        types.VpcAccess.NetworkInterface(
                            network="projects/net-1/global/networks/main",
                            subnetwork="projects/net-1/regions/europe-west1/subnetworks/run",
                        )
                    ]
                )
            },
            "subnetwork run of the shared VPC host project net-1",
            "gcloud compute networks subnets add-iam-policy-binding run --region=europe-west1 "
            "--project=net-1 --member=serviceAccount:{agent} --role=roles/compute.networkUser",
        ),
        (
            {"volumes": [types.Volume(name="x", nfs=types.NFSVolumeSource(server="10.0.0.2", path="/"))]},
            "NFS share needs no IAM role",
            "",
        ),
        (
            {"containers": [types.Container(image="eu.gcr.io/old-images/proxy")]},
            "repository eu.gcr.io of project old-images",
            "gcloud artifacts repositories add-iam-policy-binding eu.gcr.io --location=europe "
            "--project=old-images --member=serviceAccount:{agent} --role=roles/artifactregistry.reader",
        ),
        (
            {"containers": CONTAINERS[:1]},
            "tasks in queue mails that carry an OIDC or OAuth token",
            "",
        ),
    ],
    ids=["connector", "direct VPC", "NFS", "gcr.io", "queue"],
)
def test_requirements_that_no_object_declares_are_notes(
    template: dict[str, object], text: str, command: str
) -> None:
    (note,) = needs_of(service(**template)).notes
    assert text in note.text
    assert note.command == command


@pytest.mark.parametrize("connector", ["c", f"projects/{NUMBER}/locations/l/connectors/c"])
def test_network_of_the_own_project_needs_nothing(connector: str) -> None:
    access = types.VpcAccess(
        connector=connector, network_interfaces=[types.VpcAccess.NetworkInterface(network="default")]
    )
    assert needs_of(service(vpc_access=access), NUMBER) == WorkloadNeeds()


def test_image_of_a_domain_scoped_project_is_found() -> None:
    container = types.Container(image="us-docker.pkg.dev/example.com/images/app/web")
    found = needs_of(service(containers=[container]))
    assert found.image_projects == ("example.com:images",)
    assert [need.target.project_id for need in found.needs] == ["example.com:images"]


@pytest.mark.parametrize("text", ["$(reboot)", "a b", "a;b", "a\nb", "--project=x", "../x", "ä"])
def test_invalid_names_are_ignored(text: str) -> None:
    """A name ends up in a command that users run."""
    template = types.RevisionTemplate(
        encryption_key=f"projects/p-1/locations/l/keyRings/{text}/cryptoKeys/k",
        vpc_access=types.VpcAccess(connector=f"projects/{text}/locations/l/connectors/c"),
        containers=[
            types.Container(
                image=f"gcr.io/{text}/web",
                env=[
                    types.EnvVar(value=f"projects/shop-1234/topics/{text}"),
                    types.EnvVar(value=f"projects/{text}/topics/orders"),
                    types.EnvVar(value=f"projects/shop-1234/subscriptions/{text}"),
                    types.EnvVar(value=f"projects/shop-1234/locations/{text}/queues/mails"),
                ],
            ),
            types.Container(image=f"us-docker.pkg.dev/{text}/app/web"),
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
    assert needs_of(state(WorkloadKind.SERVICE, types.Service(template=template))) == WorkloadNeeds()


def test_reason_contains_no_text_that_could_end_a_comment() -> None:
    variable = types.EnvVar(name="A\n- evil: true", value="projects/shop-1234/topics/orders")
    (need,) = needs_of(service(containers=[types.Container(env=[variable])])).needs
    assert "\n" not in need.reason


def test_empty_template_needs_nothing() -> None:
    assert needs_of(state(WorkloadKind.SERVICE, types.Service())) == WorkloadNeeds()
