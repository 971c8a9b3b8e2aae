"""Users and groups whose addresses change: aliases, renames, deletions."""

from __future__ import annotations

import pytest
from google.api_core import exceptions

from cloudrun_identity_playground.emulator import Emulator
from cloudrun_identity_playground.emulator.edit_errors import EditError

from .clients import Clients, members

ROLE = "roles/viewer"
JOHN, ALIAS = "user:john.doe@gmail.com", "user:john@acme.com"
ANN = "user:ann@acme.com"


async def test_alias_is_registered_as_the_primary_address(clients: Clients, emulator: Emulator) -> None:
    emulator.edit({"principal": JOHN, "aliases": ["john@acme.com"]})

    written = await clients.grant(ROLE, ANN, ALIAS)

    assert members(written, ROLE) == [ANN, JOHN]
    assert members(await clients.policy(), ROLE) == [ANN, JOHN]


async def test_alias_beside_its_primary_address_is_one_member(clients: Clients, emulator: Emulator) -> None:
    emulator.edit({"principal": "group:ops@acme.com", "aliases": ["operations@acme.com"]})
    await clients.grant(ROLE, "group:ops@acme.com", ANN)

    written = await clients.grant(ROLE, "group:Operations@acme.com")

    assert members(written, ROLE) == ["group:ops@acme.com", ANN]


async def test_renamed_group_is_shown_in_every_policy(clients: Clients, emulator: Emulator) -> None:
    await clients.create_account()
    before = await clients.grant(ROLE, "group:ops@acme.com", ANN)

    emulator.edit({"principal": "group:ops@acme.com", "rename": "platform@acme.com"})

    after = await clients.policy()
    assert members(after, ROLE) == ["group:platform@acme.com", ANN]
    assert after.etag == before.etag
    written = await clients.grant(ROLE, "group:ops@acme.com")  # the former address is an alias
    assert members(written, ROLE) == ["group:platform@acme.com", ANN]


async def test_deleted_user_is_shown_as_deleted_until_restored(clients: Clients, emulator: Emulator) -> None:
    before = await clients.grant(ROLE, ANN)

    emulator.edit({"principal": ANN, "delete": True})

    [tombstone] = members(await clients.policy(), ROLE)
    assert tombstone.startswith(f"deleted:{ANN}?uid=")
    with pytest.raises(exceptions.InvalidArgument, match=r"User ann@acme\.com does not exist"):
        await clients.grant("roles/editor", ANN)
    assert members(await clients.set_policy(await clients.policy()), ROLE) == [tombstone]
    emulator.edit({"principal": ANN, "undelete": True})
    assert members(await clients.policy(), ROLE) == members(before, ROLE)


async def test_created_user_is_another_one_than_the_deleted_one(clients: Clients, emulator: Emulator) -> None:
    await clients.grant(ROLE, ANN)
    emulator.edit({"principal": ANN, "delete": True})
    emulator.edit({"principal": ANN, "create": True})

    written = await clients.grant(ROLE, ANN)

    [tombstone, live] = members(written, ROLE)
    assert tombstone.startswith(f"deleted:{ANN}?uid=")
    assert live == ANN


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({}, "set one of aliases, rename"),
        ({"rename": "a@acme.com", "delete": True}, "set one of aliases, rename"),
    ],
)
async def test_principal_edit_needs_exactly_one_change(
    emulator: Emulator, change: dict[str, object], problem: str
) -> None:
    with pytest.raises(EditError, match=problem):
        emulator.edit({"principal": ANN, **change})


async def test_existing_user_is_not_created_again(emulator: Emulator) -> None:
    emulator.edit({"principal": ANN, "create": True})
    with pytest.raises(EditError, match="exists"):
        emulator.edit({"principal": ANN, "create": True})
