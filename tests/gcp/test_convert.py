"""Test that the manifests of a conversion plan no change of what the other tool has made."""

from typing import Any

import yaml

from cloudrun_identity.converting.convert import convert, declarations_in
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.plan.dry_run import dry_run
from cloudrun_identity.plan.model import DryRun
from cloudrun_identity_playground.emulator.emulator import Emulator
from cloudrun_identity_playground.emulator.seed import Project, Seed, ServiceAccount, Workload
from tests.gcp.conftest import Observer

CHECKOUT = "checkout@acme-shop.iam.gserviceaccount.com"
SEED = Seed(
    projects=(
        Project(project_id="acme-shop", service_accounts=(ServiceAccount(account_id="checkout"),)),
        Project(
            project_id="acme-data",
            services=(Workload(location="europe-west1", name="web", service_account=CHECKOUT),),
        ),
    )
)
ACCOUNT = {"account_id": "checkout", "project": "acme-shop", "email": CHECKOUT}
SERVICE = {
    "project": "acme-data",
    "location": "europe-west1",
    "name": "web",
    "template": [{"service_account": CHECKOUT}],
}


def state(**values: dict[str, Any]) -> dict[str, Any]:
    """Return the state of Terraform with one resource of each type."""
    resources = [
        {"mode": "managed", "type": kind, "address": f"{kind}.x", "values": each}
        for kind, each in values.items()
    ]
    root = {"root_module": {"resources": resources}}
    return {"format_version": "1.0", "terraform_version": "1.9.0", "values": root}


async def test_workload_that_runs_as_an_account_of_another_project_stays_unchanged() -> None:
    declared = declarations_in(
        [state(google_service_account=ACCOUNT, google_cloud_run_v2_service=SERVICE)], ""
    )
    result = convert(declared)
    async with Emulator(seed=SEED) as emulator:
        clients = GoogleClients(emulator.grpc_address, Observer(), read_only=True)
        try:
            plan = await dry_run(clients, yaml.safe_load_all(result.text))
        finally:
            await clients.close()
    assert (plan, result.left_out) == (DryRun((), ()), ())
