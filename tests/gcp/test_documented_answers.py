"""The answers on docs/how-to/who-can.md are those of the commands on the page."""

import asyncio
import re
import shlex

import pytest
from click.testing import CliRunner

from cloudrun_identity.api import GrantState, TargetKind
from cloudrun_identity.cli import cli
from cloudrun_identity.commands import who_can
from cloudrun_identity.commands.access_cluster import ClusterFacts
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.keys import Keys
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.model import Ledger, entry_of
from cloudrun_identity_playground.emulator.emulator import Emulator
from cloudrun_identity_playground.emulator.seed import (
    Binding,
    Condition,
    Folder,
    Organization,
    Project,
    Seed,
    ServiceAccount,
    Workload,
)
from tests.documented import ROOT
from tests.gcp.conftest import Observer

PAGE = ROOT / "docs" / "how-to" / "who-can.md"
PROJECT = "payments-prod-1234"
EMAIL = f"checkout@{PROJECT}.iam.gserviceaccount.com"
RUNNER = f"serviceAccount:runner@{PROJECT}.iam.gserviceaccount.com"
DEPLOYERS, ANN = "group:deployers@example.com", "user:ann@example.com"
USER, DEVELOPER = "roles/iam.serviceAccountUser", "roles/run.developer"

SEED = Seed(
    strict=True,
    organizations=(Organization(organization_id="9", display_name="example.com"),),
    folders=(
        Folder(
            folder_id="12",
            parent="organizations/9",
            policy=(
                Binding(
                    role="roles/iam.serviceAccountTokenCreator",
                    members=(ANN,),
                    condition=Condition(
                        title="until-june", expression='request.time < timestamp("2027-06-01T00:00:00Z")'
                    ),
                ),
            ),
        ),
    ),
    projects=(
        Project(
            project_id=PROJECT,
            parent="folders/12",
            service_accounts=(
                ServiceAccount(account_id="checkout", policy=(Binding(role=USER, members=(DEPLOYERS,)),)),
                ServiceAccount(account_id="runner"),
            ),
            services=(Workload(location="europe-west1", name="checkout", service_account=EMAIL),),
            policy=(
                Binding(role=USER, members=(RUNNER,)),
                Binding(role=DEVELOPER, members=(DEPLOYERS,)),
            ),
        ),
    ),
)


def ledger(grant: Grant, owner: str) -> Ledger:
    return Ledger.of(grant.target, {grant: entry_of(grant, [owner], GrantState.GRANTED)})


CLUSTER = ClusterFacts(
    ledgers=(
        ledger(
            Grant(Target(TargetKind.SERVICE_ACCOUNT, PROJECT, "", EMAIL), USER, DEPLOYERS),
            "CloudRunIdentity/payments/checkout/uid-1",
        ),
        ledger(Grant(Target.project(PROJECT), USER, RUNNER), "IAMBinding/flows/runner/uid-2"),
    ),
    identities={"payments/checkout": {"email": EMAIL}},
    locations={PROJECT: ("europe-west1",)},
)

SESSIONS = re.findall(
    r"^```console\n\$ cloudrun-identity (.*)\n((?s:.*?))^```", PAGE.read_text(), re.MULTILINE
)


@pytest.mark.parametrize(("command", "shown"), SESSIONS, ids=[command[:50] for command, _ in SESSIONS])
async def test_documented_answer_is_that_of_the_command(
    command: str, shown: str, monkeypatch: pytest.MonkeyPatch, observer: Observer
) -> None:
    monkeypatch.setattr(who_can, "cluster_facts", lambda *_, **__: CLUSTER)
    async with Emulator(seed=SEED) as emulator:
        clients = GoogleClients(emulator.grpc_address, observer)
        await Keys(clients, lambda: 0.0).create(PROJECT, EMAIL)
        await clients.close()
        arguments = [*shlex.split(command), "--google-endpoint", emulator.grpc_address]
        result = await asyncio.to_thread(CliRunner().invoke, cli, arguments)
    printed = re.sub(
        r"\b[0-9a-f]{4}([0-9a-f]{36}), created \S+?,", "0f3c…, created 2026-03-01,", result.stdout
    )
    assert printed == shown
