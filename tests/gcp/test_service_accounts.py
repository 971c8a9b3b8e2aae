"""Service accounts."""

import grpc
import pytest

from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.service_accounts import ServiceAccount, ServiceAccounts
from cloudrun_identity_playground.emulator.emulator import Emulator

PROJECT = "shop-1234"
IAM = "google.iam.admin.v1.IAM"


@pytest.fixture
def accounts(clients: GoogleClients) -> ServiceAccounts:
    return ServiceAccounts(clients)


async def create(accounts: ServiceAccounts, account_id: str = "checkout") -> ServiceAccount:
    return await accounts.create(PROJECT, account_id, "Checkout", "Takes the money")


async def test_created_account_is_found_by_email_and_unique_id(
    accounts: ServiceAccounts,
) -> None:
    created = await create(accounts)

    assert created == ServiceAccount(
        project_id=PROJECT,
        email="checkout@shop-1234.iam.gserviceaccount.com",
        unique_id=created.unique_id,
        display_name="Checkout",
        description="Takes the money",
        disabled=False,
    )
    assert created.unique_id.isdigit()
    assert await accounts.get(PROJECT, created.email) == created
    assert await accounts.get(PROJECT, created.unique_id) == created


async def test_missing_account_is_not_found(accounts: ServiceAccounts) -> None:
    with pytest.raises(GoogleError) as raised:
        await accounts.get(PROJECT, "nobody@shop-1234.iam.gserviceaccount.com")

    assert raised.value.fault is Fault.NOT_FOUND
    assert raised.value.method == f"{IAM}/GetServiceAccount"
    assert raised.value.resource == (
        "projects/shop-1234/serviceAccounts/nobody@shop-1234.iam.gserviceaccount.com"
    )


async def test_new_account_is_known_once_it_has_propagated(
    accounts: ServiceAccounts, emulator: Emulator
) -> None:
    emulator.switches.update({"lag": "900s", "flappingReads": "none"})
    created = await create(accounts)
    assert await accounts.get(PROJECT, created.email) == created
    assert not await accounts.is_known(PROJECT, created.email)

    emulator.switches.update({"lag": "0s"})
    assert await accounts.is_known(PROJECT, created.email)


async def test_second_create_with_one_id_already_exists(accounts: ServiceAccounts) -> None:
    await create(accounts)

    with pytest.raises(GoogleError) as raised:
        await create(accounts)

    assert raised.value.fault is Fault.ALREADY_EXISTS


async def test_patch_changes_the_given_fields_only(accounts: ServiceAccounts) -> None:
    created = await create(accounts)

    await accounts.patch(PROJECT, created.unique_id, display_name="Till")
    assert (await accounts.get(PROJECT, created.email)).display_name == "Till"
    assert (await accounts.get(PROJECT, created.email)).description == "Takes the money"

    await accounts.patch(PROJECT, created.unique_id, description="")
    assert (await accounts.get(PROJECT, created.email)).display_name == "Till"
    assert (await accounts.get(PROJECT, created.email)).description == ""


async def test_account_is_disabled_and_enabled(accounts: ServiceAccounts) -> None:
    created = await create(accounts)

    await accounts.disable(PROJECT, created.unique_id)
    assert (await accounts.get(PROJECT, created.email)).disabled

    await accounts.enable(PROJECT, created.unique_id)
    assert not (await accounts.get(PROJECT, created.email)).disabled


async def test_undelete_restores_the_account(accounts: ServiceAccounts) -> None:
    created = await create(accounts)
    await accounts.delete(PROJECT, created.unique_id)
    with pytest.raises(GoogleError) as raised:
        await accounts.get(PROJECT, created.email)
    assert raised.value.fault is Fault.NOT_FOUND

    assert await accounts.undelete(PROJECT, created.unique_id) == created
    assert await accounts.get(PROJECT, created.email) == created


async def test_unique_id_does_not_match_a_recreated_account(accounts: ServiceAccounts) -> None:
    first = await create(accounts)
    await accounts.delete(PROJECT, first.unique_id)
    second = await create(accounts)

    with pytest.raises(GoogleError) as raised:
        await accounts.delete(PROJECT, first.unique_id)

    assert raised.value.fault is Fault.NOT_FOUND
    assert await accounts.get(PROJECT, second.email) == second


async def test_list_returns_the_accounts_of_all_pages(
    accounts: ServiceAccounts, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloudrun_identity.gcp.service_accounts._PAGE_SIZE", 2)
    created = [await create(accounts, f"account-{number}") for number in range(5)]

    listed = await accounts.list(PROJECT)

    assert [account for account in listed if account in created] == created
    assert emulator.calls[f"{IAM}/ListServiceAccounts"] == (len(listed) + 1) // 2


async def test_page_has_up_to_100_accounts(accounts: ServiceAccounts, emulator: Emulator) -> None:
    for number in range(30):
        await create(accounts, f"account-{number:02}")

    assert len(await accounts.list(PROJECT)) >= 30
    assert emulator.calls[f"{IAM}/ListServiceAccounts"] == 1


async def test_create_with_a_lost_answer_is_not_retried(
    accounts: ServiceAccounts, emulator: Emulator
) -> None:
    emulator.faults.inject(f"{IAM}/CreateServiceAccount", grpc.StatusCode.UNAVAILABLE, applied=True)

    with pytest.raises(GoogleError) as raised:
        await create(accounts)

    assert raised.value.fault is Fault.UNAVAILABLE
    assert emulator.calls[f"{IAM}/CreateServiceAccount"] == 1
