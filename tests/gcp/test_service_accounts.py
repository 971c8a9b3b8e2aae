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


async def test_an_account_is_created_as_asked_and_found_by_email_and_by_unique_id(
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


async def test_a_missing_account_is_not_found(accounts: ServiceAccounts) -> None:
    with pytest.raises(GoogleError) as raised:
        await accounts.get(PROJECT, "nobody@shop-1234.iam.gserviceaccount.com")

    assert raised.value.fault is Fault.NOT_FOUND
    assert raised.value.method == f"{IAM}/GetServiceAccount"


async def test_an_account_id_is_taken_once(accounts: ServiceAccounts) -> None:
    await create(accounts)

    with pytest.raises(GoogleError) as raised:
        await create(accounts)

    assert raised.value.fault is Fault.ALREADY_EXISTS


async def test_a_patch_changes_what_it_names_and_nothing_else(accounts: ServiceAccounts) -> None:
    created = await create(accounts)

    await accounts.patch(PROJECT, created.unique_id, display_name="Till")
    assert (await accounts.get(PROJECT, created.email)).display_name == "Till"
    assert (await accounts.get(PROJECT, created.email)).description == "Takes the money"

    await accounts.patch(PROJECT, created.unique_id, description="")
    assert (await accounts.get(PROJECT, created.email)).display_name == "Till"
    assert (await accounts.get(PROJECT, created.email)).description == ""


async def test_an_account_is_disabled_and_enabled(accounts: ServiceAccounts) -> None:
    created = await create(accounts)

    await accounts.disable(PROJECT, created.unique_id)
    assert (await accounts.get(PROJECT, created.email)).disabled

    await accounts.enable(PROJECT, created.unique_id)
    assert not (await accounts.get(PROJECT, created.email)).disabled


async def test_a_deleted_account_comes_back_as_the_same_one(accounts: ServiceAccounts) -> None:
    created = await create(accounts)
    await accounts.delete(PROJECT, created.unique_id)
    with pytest.raises(GoogleError) as raised:
        await accounts.get(PROJECT, created.email)
    assert raised.value.fault is Fault.NOT_FOUND

    assert await accounts.undelete(PROJECT, created.unique_id) == created
    assert await accounts.get(PROJECT, created.email) == created


async def test_a_unique_id_never_reaches_the_account_that_took_the_email(accounts: ServiceAccounts) -> None:
    first = await create(accounts)
    await accounts.delete(PROJECT, first.unique_id)
    second = await create(accounts)

    with pytest.raises(GoogleError) as raised:
        await accounts.delete(PROJECT, first.unique_id)

    assert raised.value.fault is Fault.NOT_FOUND
    assert await accounts.get(PROJECT, second.email) == second


async def test_a_list_shows_every_account_page_by_page(
    accounts: ServiceAccounts, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloudrun_identity.gcp.service_accounts._PAGE_SIZE", 2)
    created = [await create(accounts, f"account-{number}") for number in range(5)]

    listed = await accounts.list(PROJECT)

    assert [account for account in listed if account in created] == created
    assert emulator.calls[f"{IAM}/ListServiceAccounts"] == (len(listed) + 1) // 2


async def test_a_page_holds_a_hundred(accounts: ServiceAccounts, emulator: Emulator) -> None:
    for number in range(30):
        await create(accounts, f"account-{number:02}")

    assert len(await accounts.list(PROJECT)) >= 30
    assert emulator.calls[f"{IAM}/ListServiceAccounts"] == 1


async def test_a_create_whose_answer_is_lost_is_not_sent_twice(
    accounts: ServiceAccounts, emulator: Emulator
) -> None:
    emulator.faults.inject(f"{IAM}/CreateServiceAccount", grpc.StatusCode.UNAVAILABLE, applied=True)

    with pytest.raises(GoogleError) as raised:
        await create(accounts)

    assert raised.value.fault is Fault.UNAVAILABLE
    assert emulator.calls[f"{IAM}/CreateServiceAccount"] == 1
