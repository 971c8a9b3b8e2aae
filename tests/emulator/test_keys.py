from __future__ import annotations

import json

import pytest
from google.api_core import exceptions
from google.cloud import iam_admin_v1 as iam
from google.cloud import orgpolicy_v2 as orgpolicy
from google.oauth2 import service_account

from .clients import Clients, Clock

ACCOUNT = "projects/shop/serviceAccounts/checkout@shop.iam.gserviceaccount.com"
KeyType = iam.ListServiceAccountKeysRequest.KeyType


async def test_the_private_half_is_in_the_answer_of_the_create_alone(clients: Clients) -> None:
    await clients.create_account()
    created = await clients.iam.create_service_account_key(name=ACCOUNT)
    credentials = service_account.Credentials.from_service_account_info(json.loads(created.private_key_data))

    assert credentials.service_account_email == "checkout@shop.iam.gserviceaccount.com"
    assert created.name.startswith(f"{ACCOUNT}/keys/")
    found = await clients.iam.get_service_account_key(name=created.name)
    assert not found.private_key_data
    assert found.key_type is KeyType.USER_MANAGED


async def test_the_key_that_google_holds_is_listed_unless_only_others_are_asked_for(clients: Clients) -> None:
    await clients.create_account()
    mine = await clients.iam.create_service_account_key(name=ACCOUNT)
    everything = await clients.iam.list_service_account_keys(name=ACCOUNT)
    ours = await clients.iam.list_service_account_keys(name=ACCOUNT, key_types=[KeyType.USER_MANAGED])

    assert {key.key_type for key in everything.keys} == {KeyType.USER_MANAGED, KeyType.SYSTEM_MANAGED}
    assert [key.name for key in ours.keys] == [mine.name]


async def test_a_key_is_disabled_enabled_and_deleted(clients: Clients) -> None:
    await clients.create_account()
    key = await clients.iam.create_service_account_key(name=ACCOUNT)
    await clients.iam.disable_service_account_key(iam.DisableServiceAccountKeyRequest(name=key.name))
    assert (await clients.iam.get_service_account_key(name=key.name)).disabled
    await clients.iam.enable_service_account_key(iam.EnableServiceAccountKeyRequest(name=key.name))
    assert not (await clients.iam.get_service_account_key(name=key.name)).disabled

    await clients.iam.delete_service_account_key(name=key.name)
    with pytest.raises(exceptions.NotFound):
        await clients.iam.get_service_account_key(name=key.name)


@pytest.mark.parametrize(
    "constraint", ["iam.disableServiceAccountKeyCreation", "iam.managed.disableServiceAccountKeyCreation"]
)
async def test_an_organization_policy_forbids_keys(clients: Clients, constraint: str) -> None:
    await clients.create_account()
    rule = orgpolicy.PolicySpec.PolicyRule(enforce=True)
    policy = orgpolicy.Policy(
        name=f"projects/shop/policies/{constraint}", spec=orgpolicy.PolicySpec(rules=[rule])
    )
    await clients.org_policy.create_policy(parent="projects/shop", policy=policy)

    with pytest.raises(exceptions.FailedPrecondition):
        await clients.iam.create_service_account_key(name=ACCOUNT)


async def test_keys_survive_an_undelete(clients: Clients, clock: Clock) -> None:
    account = await clients.create_account()
    key = await clients.iam.create_service_account_key(name=ACCOUNT)
    await clients.iam.delete_service_account(name=ACCOUNT)
    await clients.iam.undelete_service_account(
        iam.UndeleteServiceAccountRequest(name=f"projects/shop/serviceAccounts/{account.unique_id}")
    )
    assert (await clients.iam.get_service_account_key(name=key.name)).name == key.name
