"""Cached service accounts and workloads, with the number of requests."""

import asyncio
import time
from dataclasses import replace

import pytest

from cloudrun_identity.api import WorkloadKind
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.inventory import Inventory
from cloudrun_identity.gcp.run import Run, Workload
from cloudrun_identity.gcp.service_accounts import ServiceAccounts
from cloudrun_identity_playground.emulator.emulator import Emulator

PROJECT, LOCATION = "shop-1234", "europe-west1"
CHECKOUT = Workload(WorkloadKind.SERVICE, PROJECT, LOCATION, "checkout")


@pytest.fixture
def accounts(clients: GoogleClients) -> ServiceAccounts:
    return ServiceAccounts(clients)


@pytest.fixture
def inventory(clients: GoogleClients, accounts: ServiceAccounts) -> Inventory:
    return Inventory(accounts, Run(clients), time.monotonic)


async def test_concurrent_resyncs_cost_one_list(
    inventory: Inventory, accounts: ServiceAccounts, emulator: Emulator
) -> None:
    emails = [(await accounts.create(PROJECT, f"account-{number:02}", "", "")).email for number in range(50)]
    emulator.calls.reset()

    found = await asyncio.gather(*(inventory.service_account(PROJECT, email, 300) for email in emails))

    assert [account and account.email for account in found] == emails
    assert dict(emulator.calls) == {"google.iam.admin.v1.IAM/ListServiceAccounts": 1}


async def test_kind_and_location_is_listed_once(inventory: Inventory, emulator: Emulator) -> None:
    for _ in range(3):
        services = await inventory.workloads(PROJECT, LOCATION, WorkloadKind.SERVICE, 300)
        jobs = await inventory.workloads(PROJECT, LOCATION, WorkloadKind.JOB, 300)
        await inventory.workload(CHECKOUT, 300)

    assert set(services) == {"checkout", "pinned"}
    assert set(jobs) == {"nightly"}
    assert dict(emulator.calls) == {
        "google.cloud.run.v2.Services/ListServices": 1,
        "google.cloud.run.v2.Jobs/ListJobs": 1,
    }


async def test_own_write_is_visible_at_any_accepted_age(
    inventory: Inventory, accounts: ServiceAccounts, clients: GoogleClients
) -> None:
    email = (await accounts.create(PROJECT, "till-roll", "", "")).email
    state = (await inventory.workloads(PROJECT, LOCATION, WorkloadKind.SERVICE, 300))["checkout"]

    await Run(clients).set_service_account(state, email)
    inventory.invalidate_workload(CHECKOUT)

    updated = await inventory.workload(CHECKOUT, 300)
    assert updated is not None
    assert updated.service_account == email


async def test_missing_workload_is_none(inventory: Inventory) -> None:
    assert await inventory.workload(Workload(WorkloadKind.JOB, PROJECT, LOCATION, "nowhere"), 0) is None


async def test_account_of_an_older_serving_revision_is_read_once(
    inventory: Inventory, accounts: ServiceAccounts, clients: GoogleClients, emulator: Emulator
) -> None:
    run = Run(clients)
    email = (await accounts.create(PROJECT, "till-roll", "", "")).email
    before = await run.get(CHECKOUT)
    await run.set_service_account(before, email)
    after = await run.get(CHECKOUT)
    both = replace(after, serving_revisions=(*before.serving_revisions, *after.serving_revisions))
    emulator.calls.reset()

    for _ in range(2):
        assert await inventory.serving_accounts(after) == {after.latest_ready_revision: email}
    assert dict(emulator.calls) == {}
    for _ in range(2):
        assert await inventory.serving_accounts(both) == {
            before.latest_ready_revision: before.service_account,
            after.latest_ready_revision: email,
        }
    assert dict(emulator.calls) == {"google.cloud.run.v2.Revisions/GetRevision": 1}


async def test_revisions_of_the_least_recently_used_workload_are_dropped(
    inventory: Inventory, clients: GoogleClients, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloudrun_identity.gcp.inventory.REVISION_CACHE_SIZE", 1)
    state = replace(await Run(clients).get(CHECKOUT), latest_created_revision="")
    twin = replace(state, uid="another")
    emulator.calls.reset()
    for each in (state, state, twin, state):
        await inventory.serving_accounts(each)
    assert dict(emulator.calls) == {"google.cloud.run.v2.Revisions/GetRevision": 3}


async def test_deleted_revision_is_omitted(inventory: Inventory, clients: GoogleClients) -> None:
    state = replace(await Run(clients).get(CHECKOUT), serving_revisions=("deleted",))
    assert await inventory.serving_accounts(state) == {}


async def test_workload_from_a_reply_needs_no_read(
    inventory: Inventory, clients: GoogleClients, emulator: Emulator
) -> None:
    state = await Run(clients).get(CHECKOUT)
    emulator.calls.reset()

    inventory.update_workload(state)

    assert await inventory.workload(CHECKOUT, 300) == state
    assert dict(emulator.calls) == {}


async def test_listed_workload_uses_the_list_only(inventory: Inventory, emulator: Emulator) -> None:
    listed = await inventory.listed_workload(CHECKOUT, 300)
    assert listed is not None
    assert listed.workload == CHECKOUT
    nowhere = Workload(WorkloadKind.SERVICE, PROJECT, LOCATION, "nowhere")
    assert await inventory.listed_workload(nowhere, 300) is None
    assert dict(emulator.calls) == {"google.cloud.run.v2.Services/ListServices": 1}
