from __future__ import annotations

from datetime import timedelta

import pytest
from google.api_core import exceptions
from google.cloud import iam_admin_v1 as iam
from google.protobuf.field_mask_pb2 import FieldMask

from cloudrun_identity_playground.emulator import Emulator, Seed

from .clients import Clients, Clock, retry_seconds

NAME = "projects/shop/serviceAccounts/checkout@shop.iam.gserviceaccount.com"


async def test_created_account_has_all_output_fields(clients: Clients) -> None:
    account = await clients.iam.create_service_account(
        name="projects/shop",
        account_id="checkout",
        service_account=iam.ServiceAccount(display_name="Checkout", description="Pays", disabled=True),
    )

    assert account.name == NAME
    assert account.project_id == "shop"
    assert account.email == "checkout@shop.iam.gserviceaccount.com"
    assert account.unique_id.isdigit()
    assert len(account.unique_id) == 21
    assert account.oauth2_client_id == account.unique_id
    assert (account.display_name, account.description) == ("Checkout", "Pays")
    assert not account.disabled  # ignored by create


async def test_account_etag_is_constant_and_ignored(clients: Clients) -> None:
    first, second = await clients.create_account("checkout"), await clients.create_account("pricing")
    await patch(clients, display_name="changed")

    assert first.etag == second.etag == (await clients.iam.get_service_account(name=NAME)).etag
    assert first.etag == b"01021920"


@pytest.mark.parametrize("account_id", ["short", "1digits", "ends-with-", "has_underscore", "x" * 31])
async def test_invalid_account_id_is_refused(clients: Clients, account_id: str) -> None:
    with pytest.raises(exceptions.InvalidArgument):
        await clients.create_account(account_id)


async def test_email_in_use_is_refused(clients: Clients) -> None:
    await clients.create_account()
    with pytest.raises(exceptions.AlreadyExists):
        await clients.create_account()


async def test_account_is_addressed_by_email_or_unique_id(clients: Clients) -> None:
    account = await clients.create_account()
    number = (await clients.projects.get_project(name="projects/shop")).name

    for name in (
        NAME,
        f"projects/shop/serviceAccounts/{account.unique_id}",
        f"projects/-/serviceAccounts/{account.unique_id}",
        f"{number}/serviceAccounts/{account.email}",
    ):
        assert (await clients.iam.get_service_account(name=name)).name == NAME


async def test_a_missing_account_is_not_found_in_its_project(clients: Clients) -> None:
    with pytest.raises(exceptions.NotFound, match="Unknown service account"):
        await clients.iam.get_service_account(name=NAME)


async def test_a_missing_account_is_forbidden_with_the_wildcard_project(clients: Clients) -> None:
    with pytest.raises(exceptions.PermissionDenied) as error:
        await clients.iam.get_service_account(name=NAME.replace("shop/", "-/", 1))

    assert error.value.reason == "IAM_PERMISSION_DENIED"
    assert error.value.domain == "iam.googleapis.com"


async def test_lists_have_20_items_per_page_and_at_most_100(clients: Clients) -> None:
    for number in range(30):
        await clients.create_account(f"account-{number:02}")

    first = await clients.iam.list_service_accounts(name="projects/shop")
    pages = [page async for page in first.pages]
    large = await clients.iam.list_service_accounts(
        iam.ListServiceAccountsRequest(name="projects/shop", page_size=100)
    )

    assert [len(page.accounts) for page in pages] == [20, 10]
    assert len(large.accounts) == 30


async def test_deletion_between_pages_skips_no_account(clients: Clients) -> None:
    for number in range(25):
        await clients.create_account(f"account-{number:02}")
    request = iam.ListServiceAccountsRequest(name="projects/shop")
    page = await clients.iam.list_service_accounts(request)
    await clients.iam.delete_service_account(name=page.accounts[0].name)

    request.page_token = page.next_page_token
    following = await clients.iam.list_service_accounts(request)

    assert [account.email.split("@")[0] for account in following.accounts] == [
        f"account-{number}" for number in range(20, 25)
    ]


async def test_patch_returns_only_the_patched_fields(clients: Clients) -> None:
    await clients.create_account()
    echo = await patch(clients, description="new")

    assert echo == iam.ServiceAccount(name=NAME, description="new")
    assert (await clients.iam.get_service_account(name=NAME)).description == "new"


async def test_patch_refuses_other_fields(clients: Clients) -> None:
    await clients.create_account()
    with pytest.raises(exceptions.InvalidArgument):
        await patch(clients, disabled=True)


async def test_account_is_disabled_and_enabled(clients: Clients) -> None:
    await clients.create_account()
    await clients.iam.disable_service_account(iam.DisableServiceAccountRequest(name=NAME))
    assert (await clients.iam.get_service_account(name=NAME)).disabled
    await clients.iam.enable_service_account(iam.EnableServiceAccountRequest(name=NAME))
    assert not (await clients.iam.get_service_account(name=NAME)).disabled


async def test_deleted_account_is_undeleted_by_unique_id(clients: Clients) -> None:
    account = await clients.create_account()
    await clients.iam.delete_service_account(name=NAME)
    with pytest.raises(exceptions.NotFound):
        await clients.iam.get_service_account(name=NAME)

    restored = await undelete(clients, account.unique_id)

    assert restored.restored_account.unique_id == account.unique_id
    assert (await clients.iam.get_service_account(name=NAME)).unique_id == account.unique_id


async def test_an_account_cannot_be_undeleted_after_30_days(clients: Clients, clock: Clock) -> None:
    account = await clients.create_account()
    await clients.iam.delete_service_account(name=NAME)
    clock.advance(30 * 24 * 3600 + 1)

    with pytest.raises(exceptions.NotFound):
        await undelete(clients, account.unique_id)


async def test_account_with_a_reused_email_cannot_be_undeleted(clients: Clients) -> None:
    account = await clients.create_account()
    await clients.iam.delete_service_account(name=NAME)
    successor = await clients.create_account()

    assert successor.unique_id != account.unique_id
    with pytest.raises(exceptions.FailedPrecondition):
        await undelete(clients, account.unique_id)


async def test_a_project_has_100_accounts_at_most(clients: Clients) -> None:
    for number in range(100):
        await clients.create_account(f"account-{number:03}")

    with pytest.raises(exceptions.ResourceExhausted) as error:
        await clients.create_account("one-more")
    assert error.value.message == "Maximum number of service accounts on project reached."
    assert (error.value.reason, retry_seconds(error.value)) == (None, 86_401)


async def test_accounts_of_a_domain_scoped_project_have_their_own_suffix(clients: Clients) -> None:
    account = await clients.create_account(project="example.com:shop")

    assert account.email == "checkout@shop.example.com.iam.gserviceaccount.com"


async def test_account_policy_survives_undelete_but_not_recreation(clients: Clients) -> None:
    account = await clients.create_account()
    await clients.grant("roles/iam.serviceAccountUser", "user:ann@example.com", resource=NAME)
    await clients.iam.delete_service_account(name=NAME)
    await undelete(clients, account.unique_id)
    assert len((await clients.policy(NAME)).bindings) == 1

    await clients.iam.delete_service_account(name=NAME)
    await clients.create_account()
    assert not (await clients.policy(NAME)).bindings


class TestLag:
    @pytest.fixture
    async def emulator(self, clock: Clock):
        async with Emulator(seed=Seed(lag=timedelta(seconds=10)), clock=clock) as running:
            yield running

    async def test_reads_after_create_flap_during_the_lag(self, clients: Clients, clock: Clock) -> None:
        await clients.create_account()
        assert [await self.reads(clients) for _ in range(4)] == [True, False, True, False]

        clock.advance(10)
        assert [await self.reads(clients) for _ in range(3)] == [True, True, True]

    async def test_lag_and_absence_differ_in_their_message(self, clients: Clients) -> None:
        await clients.create_account()
        await self.reads(clients)
        with pytest.raises(exceptions.NotFound, match=rf"Service account {NAME} does not exist\."):
            await clients.iam.get_service_account(name=NAME)

    async def test_create_after_a_stale_read_conflicts(self, clients: Clients) -> None:
        await clients.create_account()
        await self.reads(clients)
        assert not await self.reads(clients)
        with pytest.raises(exceptions.AlreadyExists):
            await clients.create_account()

    async def test_a_read_right_after_disable_is_stale(self, clients: Clients, clock: Clock) -> None:
        await clients.create_account()
        clock.advance(10)
        await clients.iam.disable_service_account(iam.DisableServiceAccountRequest(name=NAME))

        assert not (await clients.iam.get_service_account(name=NAME)).disabled
        assert (await clients.iam.get_service_account(name=NAME)).disabled

    async def test_policy_refuses_new_account_after_a_successful_read(
        self, clients: Clients, clock: Clock
    ) -> None:
        account = await clients.create_account()
        assert await self.reads(clients)
        with pytest.raises(
            exceptions.InvalidArgument, match=f"Service account {account.email} does not exist"
        ):
            await clients.grant("roles/run.developer", f"serviceAccount:{account.email}")

        clock.advance(10)
        policy = await clients.grant("roles/run.developer", f"serviceAccount:{account.email}")
        assert len(policy.bindings) == 1

    async def reads(self, clients: Clients) -> bool:
        try:
            await clients.iam.get_service_account(name=NAME)
        except exceptions.NotFound:
            return False
        return True


async def patch(clients: Clients, **fields: object) -> iam.ServiceAccount:
    return await clients.iam.patch_service_account(
        iam.PatchServiceAccountRequest(
            service_account=iam.ServiceAccount(name=NAME, **fields), update_mask=FieldMask(paths=list(fields))
        )
    )


async def undelete(clients: Clients, unique_id: str) -> iam.UndeleteServiceAccountResponse:
    return await clients.iam.undelete_service_account(
        iam.UndeleteServiceAccountRequest(name=f"projects/shop/serviceAccounts/{unique_id}")
    )
