"""Unmodified gcloud through the proxy: the commands of Google's pages about service identity, in their order.

https://cloud.google.com/run/docs/configuring/services/service-identity, `…/jobs/…` and `…/workerpools/…`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from cloudrun_identity.exporting.export import export
from cloudrun_identity.exporting.namespaces import Namespaces
from cloudrun_identity.exporting.survey import survey
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.plan.dry_run import dry_run
from cloudrun_identity_playground.emulator import Emulator, Seed

from .gcloud import environment, needs_gcloud

pytestmark = [pytest.mark.slow, needs_gcloud]

NUMBER = "123456789012"
SEED = {
    "projects": [
        {"projectID": "shop", "projectNumber": NUMBER},
        {"projectID": "ledger", "serviceAccounts": [{"accountID": "ledger-writer"}]},
    ]
}
ACCOUNT = "checkout@shop.iam.gserviceaccount.com"
WRITER = "ledger-writer@ledger.iam.gserviceaccount.com"
AGENT = f"serviceAccount:service-{NUMBER}@serverless-robot-prod.iam.gserviceaccount.com"
CREATOR = "roles/iam.serviceAccountTokenCreator"
IMAGES = "us-docker.pkg.dev/cloudrun/container"
ACCOUNTS = "iam service-accounts"
COMMANDS = f"""
{ACCOUNTS} create checkout --description=Pays --display-name=Checkout
projects add-iam-policy-binding shop --member=serviceAccount:{ACCOUNT} --role=roles/run.admin
projects add-iam-policy-binding shop --member=serviceAccount:{ACCOUNT} --role=roles/iam.serviceAccountUser
{ACCOUNTS} keys create my_key.json --iam-account={ACCOUNT}
{ACCOUNTS} add-iam-policy-binding {ACCOUNT} --member=user:ann@example.com --role=roles/iam.serviceAccountUser
run jobs create nightly --image {IMAGES}/job --service-account {ACCOUNT}
run jobs update nightly --image {IMAGES}/job:latest --service-account {ACCOUNT}
run jobs describe nightly --format export > job.yaml
run jobs replace job.yaml
run deploy web --image {IMAGES}/hello --service-account {ACCOUNT} --no-allow-unauthenticated
run services update web --service-account {ACCOUNT}
run services describe web --format export > service.yaml
run services replace service.yaml
resource-manager org-policies disable-enforce iam.disableCrossProjectServiceAccountUsage --project=ledger
{ACCOUNTS} add-iam-policy-binding {WRITER} --member={AGENT} --role={CREATOR}
beta run worker-pools deploy queue --image {IMAGES}/worker-pool --service-account {ACCOUNT}
beta run worker-pools update queue --service-account {WRITER}
beta run worker-pools describe queue --format export > workerpool.yaml
beta run worker-pools replace workerpool.yaml
"""


@dataclass(frozen=True)
class Gcloud:
    """gcloud in a directory of its own, which reaches the emulator as `*.googleapis.com`."""

    emulator: Emulator
    directory: Path

    async def __call__(self, command: str) -> str:
        """Run a command, and return its output, or write it to the file after `>`."""
        arguments, _, file = command.partition(" > ")
        process = await asyncio.create_subprocess_exec(
            *("gcloud", *arguments.split()),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self.directory,
            env=os.environ | environment(self.emulator, self.directory),
        )
        output, errors = await process.communicate()
        assert process.returncode == 0, f"{command}: {errors.decode()}"
        if file:
            (self.directory / file).write_bytes(output)
        return output.decode()


class Unobserved:
    def observed(self, method: str, code: str, seconds: float) -> None:
        pass


@pytest.fixture
async def gcloud(tmp_path: Path) -> AsyncIterator[Gcloud]:
    async with Emulator(seed=Seed.model_validate(SEED), proxy_port=0) as emulator:
        yield Gcloud(emulator, tmp_path)


async def changes_after_export(emulator: Emulator) -> Sequence[str]:
    """Return what applying the exported manifests of the project would change."""
    clients = GoogleClients(emulator.grpc_address, Unobserved(), read_only=True)
    try:
        exported = export(await survey(clients, "shop", ("europe-west1",), ()), Namespaces("shop"))
        planned = await dry_run(clients, list(yaml.safe_load_all(exported.text)))
    finally:
        await clients.close()
    return [f"{step.resource}: {step.text}" for step in planned.steps]


async def test_commands_for_service_identity_run_and_export_changes_nothing(gcloud: Gcloud) -> None:
    for command in COMMANDS.strip().splitlines():
        await gcloud(command)

    state = gcloud.emulator.cloud.workloads
    [job], [service], [pool] = (list(state[each]) for each in ("jobs", "services", "workerPools"))
    assert job.template.template.service_account == service.template.service_account == ACCOUNT
    assert pool.template.service_account == WRITER
    assert await changes_after_export(gcloud.emulator) == []
