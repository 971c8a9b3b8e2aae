"""A policy with the e-mail of a recreated account that means the old account."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.cloud import iam_admin_v1 as iam

from cloudrun_identity_playground.emulator import Emulator, Seed
from cloudrun_identity_playground.emulator.snapshot import snapshot

from .clients import Clients, Clock, members

ACCOUNT = "projects/shop/serviceAccounts/checkout@shop.iam.gserviceaccount.com"
MEMBER = "serviceAccount:checkout@shop.iam.gserviceaccount.com"
ROLE = "roles/viewer"


@pytest.fixture
async def emulator(clock: Clock) -> AsyncIterator[Emulator]:
    async with Emulator(seed=Seed(stale_ids=True), clock=clock) as running:
        yield running


@pytest.fixture
async def old(clients: Clients) -> iam.ServiceAccount:
    """The account that has the grant."""
    account = await clients.create_account()
    await clients.grant(ROLE, "user:ann@example.com", MEMBER)
    return account


def bound_to(emulator: Emulator, role: str = ROLE) -> str:
    bindings: list[Any] = snapshot(emulator.cloud)["policies"]["projects/shop"]["bindings"]
    [unique_id] = [each["boundTo"].get(MEMBER, "") for each in bindings if each["role"] == role]
    return str(unique_id)


async def test_no_tombstone_is_shown_once_another_account_has_the_email(
    clients: Clients, emulator: Emulator, old: iam.ServiceAccount
) -> None:
    before = await clients.policy()
    new = await clients.recreate_account(ACCOUNT)

    assert await clients.policy() == before
    assert bound_to(emulator) == old.unique_id != new.unique_id


async def test_deleted_account_is_shown_as_a_tombstone(clients: Clients, old: iam.ServiceAccount) -> None:
    await clients.iam.delete_service_account(name=ACCOUNT)
    assert members(await clients.policy(), ROLE) == [
        "user:ann@example.com",
        f"deleted:{MEMBER}?uid={old.unique_id}",
    ]


async def test_writing_the_same_member_again_changes_nothing(
    clients: Clients, emulator: Emulator, old: iam.ServiceAccount
) -> None:
    await clients.recreate_account(ACCOUNT)
    await clients.set_policy(await clients.policy())
    written = await clients.grant(ROLE, MEMBER)

    assert members(written, ROLE) == ["user:ann@example.com", MEMBER]
    assert bound_to(emulator) == old.unique_id


async def test_removal_and_next_add_bind_the_new_account(
    clients: Clients, emulator: Emulator, old: iam.ServiceAccount
) -> None:
    new = await clients.recreate_account(ACCOUNT)
    policy = await clients.policy()
    policy.bindings[0].members.remove(MEMBER)
    await clients.set_policy(policy)
    await clients.grant(ROLE, MEMBER)

    assert bound_to(emulator) == new.unique_id


async def test_member_of_another_binding_is_the_new_account(
    clients: Clients, emulator: Emulator, old: iam.ServiceAccount
) -> None:
    new = await clients.recreate_account(ACCOUNT)
    await clients.grant("roles/browser", MEMBER)

    assert bound_to(emulator) == old.unique_id
    assert bound_to(emulator, "roles/browser") == new.unique_id
