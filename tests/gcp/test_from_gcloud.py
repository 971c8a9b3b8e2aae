"""The manifests in docs/how-to/from-gcloud.md have the effect of the gcloud commands that they replace."""

from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.plan.dry_run import dry_run
from cloudrun_identity_playground.emulator.emulator import Emulator
from cloudrun_identity_playground.emulator.seed import Project, Seed, Workload
from tests.documented import ROOT, examples
from tests.gcp.conftest import Observer

SHOP = "shop-prod.iam.gserviceaccount.com"
LEDGER = "ledger-prod.iam.gserviceaccount.com"
DEFAULT = "123456789012-compute@developer.gserviceaccount.com"
SEED = Seed(
    strict=True,
    projects=(
        Project(
            project_id="shop-prod",
            project_number="123456789012",
            services=(Workload(location="europe-west1", name="checkout"),),
            jobs=(Workload(location="europe-west1", name="settlement"),),
            worker_pools=(Workload(location="europe-west1", name="bookings"),),
        ),
        Project(project_id="ledger-prod"),
    ),
)


async def test_manifests_have_the_effect_of_the_gcloud_commands() -> None:
    objects = [
        obj for example in examples(ROOT / "docs" / "how-to" / "from-gcloud.md") for obj in example.objects
    ]
    async with Emulator(seed=SEED) as emulator:
        clients = GoogleClients(emulator.grpc_address, Observer(), read_only=True)
        plan = await dry_run(clients, objects)
        await clients.close()

    assert not plan.is_blocked, plan.obstacles
    assert {f"{step.resource}: {step.sign} {step.text}" for step in plan.steps} == {
        "Project ledger-prod: ~ crossProjectUsage: Denied → Allowed",
        "CustomRole projects/shop-prod/roles/flowStarter: + role: absent → created",
        f"ServiceAccount checkout@{SHOP}: + account: absent → created",
        f"ServiceAccount ledger-writer@{LEDGER}: + account: absent → created",
        f"Service europe-west1/checkout of project shop-prod: ~ service account: {DEFAULT} → checkout@{SHOP}",
        f"Job europe-west1/settlement of project shop-prod: ~ service account: {DEFAULT} → checkout@{SHOP}",
        "WorkerPool europe-west1/bookings of project shop-prod: "
        f"~ service account: {DEFAULT} → ledger-writer@{LEDGER}",
        f"IAM policy of Project shop-prod: + roles/cloudsql.client for serviceAccount:checkout@{SHOP}",
        f"IAM policy of ServiceAccount checkout@{SHOP}: "
        "+ roles/iam.serviceAccountUser for group:deployers@example.com",
        f"IAM policy of ServiceAccount ledger-writer@{LEDGER}: + roles/iam.serviceAccountTokenCreator for "
        "serviceAccount:service-123456789012@serverless-robot-prod.iam.gserviceaccount.com",
        "IAM policy of Service europe-west1/checkout of project shop-prod: "
        "+ roles/run.invoker for group:storefront@example.com",
    }
