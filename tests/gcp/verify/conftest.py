"""An emulator with a project that others use, and a sandbox in it."""

import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity_playground.emulator.emulator import Emulator
from cloudrun_identity_playground.emulator.seed import (
    Binding,
    Condition,
    CustomRole,
    Project,
    Quotas,
    Secret,
    Seed,
    ServiceAccount,
    Workload,
)
from cloudrun_identity_playground.emulator.snapshot import snapshot
from tests.gcp.conftest import Observer
from tools.verify.sandbox import PERMISSIONS, Sandbox, Settings

PROJECT = "shop-1234"
LOCATION = "europe-west1"
SECRET = "stripe-key"
CALLER = "user:eve@example.com"
SEED = Seed(
    strict=True,
    projects=(
        Project(
            project_id=PROJECT,
            quotas=Quotas(service_accounts=14),
            # Resources of others with names as those of a run: they have no description and no label.
            service_accounts=(ServiceAccount(account_id="crid-verify-mine", description="keep me"),),
            services=(Workload(location=LOCATION, name="crid-verify-mine"),),
            # Exactly the permissions that a run needs.
            roles=(CustomRole(role_id="verifier", permissions=tuple(sorted(PERMISSIONS))),),
            secrets=(
                Secret(name=SECRET, policy=(Binding(role="roles/viewer", members=("group:a@b.com",)),)),
            ),
            policy=(
                Binding(role=f"projects/{PROJECT}/roles/verifier", members=(CALLER,)),
                Binding(role="roles/browser", members=("user:ann@example.com",)),
                Binding(
                    role="roles/run.viewer",
                    members=("user:bob@example.com",),
                    condition=Condition(expression="request.time.getHours() < 6", title="nightly"),
                ),
            ),
        ),
    ),
)
SETTINGS = Settings(
    project_id=PROJECT, location=LOCATION, secret=SECRET, max_accounts=20, interval=0.001, max_wait=10.0
)


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(seed=SEED, rest_port=0) as emulator:
        yield emulator


@pytest.fixture
async def sandbox(emulator: Emulator) -> AsyncIterator[Sandbox]:
    clients = GoogleClients(emulator.grpc_address, Observer())
    yield Sandbox(SETTINGS, clients)
    await clients.close()


def state(emulator: Emulator) -> Mapping[str, Any]:
    """Return everything in the project but deleted accounts and etags, which a run cannot restore."""
    found = snapshot(emulator.cloud, f"projects/{PROJECT}")
    found["serviceAccounts"] = [each for each in found["serviceAccounts"] if not each["deleted"]]
    found["policies"] = {
        name: policy.get("bindings")
        for name, policy in found["policies"].items()
        if not re.search(r"/serviceAccounts/\d+$", name)  # of a deleted account
    }
    return found
