"""Checks of ManagedProjects by `cloudrun-identity check`."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from cloudrun_identity.commands.check_results import Result, State
from cloudrun_identity.commands.project_checks import check_projects
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.token_file import TokenFile
from cloudrun_identity.kube.resources import Object
from cloudrun_identity_playground.emulator.emulator import Emulator
from cloudrun_identity_playground.emulator.errors import error_info
from cloudrun_identity_playground.emulator.seed import (
    Binding,
    CustomRole,
    OrgPolicy,
    Project,
    Quotas,
    Seed,
    ServiceAccount,
)
from tests.gcp.conftest import Observer

OPERATOR = "serviceAccount:operator@acme-ops.iam.gserviceaccount.com"
HELD = (
    "resourcemanager.projects.get",
    "iam.serviceAccounts.get",
    "run.services.get",
    "orgpolicy.policy.get",
    "iam.serviceAccounts.create",
)
SEED = Seed(
    strict=True,
    without_token="admin",
    projects=(
        Project(project_id="acme-ops", service_accounts=(ServiceAccount(account_id="operator"),)),
        Project(
            project_id="acme-shop",
            roles=(CustomRole(role_id="held", permissions=HELD),),
            policy=(Binding(role="projects/acme-shop/roles/held", members=(OPERATOR,)),),
            org_policies=(
                OrgPolicy(constraint="iam.disableServiceAccountCreation", enforce=True),
                OrgPolicy(constraint="iam.disableServiceAccountKeyCreation", enforce=True),
            ),
        ),
    ),
)
SERVICE_DISABLED = error_info("SERVICE_DISABLED", "googleapis.com", service="run.googleapis.com")


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(seed=SEED) as emulator:
        yield emulator


def managed(project_id: str = "acme-shop", **spec: Any) -> Object:
    return {
        "apiVersion": "cloudrun-identity.dev/v1alpha1",
        "kind": "ManagedProject",
        "metadata": {"name": "shop", "uid": "1"},
        "spec": {"projectID": project_id, "locations": ["europe-west1"], **spec},
    }


async def checked(clients: GoogleClients, project: Object) -> dict[str, Result]:
    """Return the results by the last part of their names."""
    results = await check_projects([project], clients, OPERATOR)
    return {result.check.rpartition(": ")[2]: result for result in results}


async def test_apis_and_permissions_of_a_good_project_pass(clients: GoogleClients) -> None:
    results = await checked(clients, managed())
    assert results["APIs"].state is State.PASSED
    assert results["APIs"].message == "iam.googleapis.com, run.googleapis.com, orgpolicy.googleapis.com"
    assert results["permissions"].state is State.PASSED


async def test_enforced_organization_policies_are_named_with_the_command(clients: GoogleClients) -> None:
    policies = (await checked(clients, managed()))["organization policies"]
    assert policies.state is State.FAILED
    assert policies.remedy == (
        "gcloud resource-manager org-policies disable-enforce iam.disableServiceAccountCreation "
        "--project=acme-shop",
    )
    keys = (await checked(clients, managed(guardrails={"keys": "Allowed"})))["organization policies"]
    assert "iam.disableServiceAccountKeyCreation" in keys.message


async def test_used_quotas_are_counted(clients: GoogleClients) -> None:
    quotas = (await checked(clients, managed()))["quotas"]
    assert quotas.state is State.PASSED
    assert quotas.message == (
        "0 service accounts (100 by default), 1 of 300 custom roles, 1 of 1500 members and 0 of 250 groups "
        "and domains in the policy of the project"
    )


@pytest.mark.parametrize(
    ("accounts", "roles", "members", "state"),
    [
        (100, 0, 0, State.SKIPPED),
        (0, 300, 0, State.FAILED),
        (0, 0, 1500, State.FAILED),
    ],
    ids=["accounts", "roles", "members"],
)
async def test_full_project_is_reported(
    observer: Observer, accounts: int, roles: int, members: int, state: State
) -> None:
    full = Project(
        project_id="acme-full",
        quotas=Quotas(service_accounts=accounts + 1),
        service_accounts=tuple(ServiceAccount(account_id=f"account-{each}") for each in range(accounts)),
        roles=tuple(
            CustomRole(role_id=f"role{each}", permissions=("run.jobs.get",)) for each in range(roles)
        ),
        policy=(
            Binding(
                role="roles/run.viewer", members=tuple(f"user:u{each}@example.com" for each in range(members))
            ),
        ),
    )
    async with Emulator(seed=Seed(projects=(full,))) as emulator:
        clients = GoogleClients(emulator.grpc_address, observer)
        try:
            quotas = (await checked(clients, managed("acme-full")))["quotas"]
        finally:
            await clients.close()
    assert quotas.state is state, quotas.message


async def test_disabled_api_is_named_with_the_command(clients: GoogleClients, emulator: Emulator) -> None:
    emulator.faults.inject(
        "google.cloud.run.v2.Services/GetService",
        grpc.StatusCode.PERMISSION_DENIED,
        details=[SERVICE_DISABLED],
    )
    apis = (await checked(clients, managed()))["APIs"]
    assert apis.state is State.FAILED
    assert apis.remedy == ("gcloud services enable run.googleapis.com --project=acme-shop",)


def resources_of(*services: str) -> dict[str, Any]:
    entry = {
        "roles": ["*"],
        "targetKinds": ["Resource"],
        "services": list(services),
        "names": ["*"],
        "members": ["*"],
        "namespaces": ["shop"],
    }
    return {"grants": [entry]}


async def test_apis_that_guardrails_list_for_resources_are_checked(
    clients: GoogleClients, emulator: Emulator
) -> None:
    project = managed(guardrails=resources_of("eventarc.googleapis.com"))
    assert "eventarc.googleapis.com" in (await checked(clients, project))["APIs"].message
    emulator.faults.inject("google.iam.v1.IAMPolicy/GetIamPolicy", grpc.StatusCode.UNIMPLEMENTED)
    apis = (await checked(clients, project))["APIs"]
    assert apis.state is State.FAILED
    assert "does not serve google.iam.v1.IAMPolicy over gRPC" in apis.message


async def test_missing_permissions_come_with_the_commands_that_grant_them(
    emulator: Emulator, observer: Observer, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text(OPERATOR)
    clients = GoogleClients(emulator.grpc_address, observer, tokens=TokenFile(token))
    try:
        grants = [{"roles": ["roles/viewer"], "targetKinds": ["Project"], "members": ["identities"]}]
        project = managed(guardrails={"grants": grants}, namespaces={"names": ["shop"]})
        permissions = (await checked(clients, project))["permissions"]
        absent = await checked(clients, managed("acme-none"))
    finally:
        await clients.close()
    assert permissions.state is State.FAILED
    assert "run.services.update" in permissions.message
    assert "iam.serviceAccounts.create" not in permissions.message
    assert "iam.serviceAccounts.actAs" not in permissions.message, "it can be granted on accounts"
    create, bind, *on_project = permissions.remedy
    assert "gcloud iam roles create cloudrunIdentityOperator --project=acme-shop" in create
    assert (
        "|| gcloud iam roles update cloudrunIdentityOperator --project=acme-shop --add-permissions=" in create
    )
    assert f"--member={OPERATOR}" in bind
    assert any("api.getAttribute('iam.googleapis.com/modifiedGrantsByRole'" in line for line in on_project)
    assert "does not exist, or the operator may not read it" in absent["ManagedProject shop"].message


async def test_suspended_and_invalid_projects_are_reported_without_a_call(
    clients: GoogleClients, observer: Observer
) -> None:
    suspended = await checked(clients, managed(suspend=True))
    assert suspended["ManagedProject shop"].state is State.SKIPPED
    [invalid] = await check_projects([managed(driftInterval=5)], clients, OPERATOR)
    assert invalid.state is State.FAILED
    assert "spec.driftInterval" in invalid.message
    assert observer.calls == []
