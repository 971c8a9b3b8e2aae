"""Keys of service accounts."""

import io
import itertools
import json
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.keys import Keys
from cloudrun_identity.gcp.service_accounts import ServiceAccounts
from cloudrun_identity.manager import logs
from cloudrun_identity_playground.emulator.emulator import Emulator

PROJECT = "shop-1234"
LIST = "google.iam.admin.v1.IAM/ListServiceAccountKeys"


@pytest.fixture
def keys(clients: GoogleClients) -> Keys:
    ticks = itertools.count(100)
    return Keys(clients, lambda: next(ticks) / 1000)


@pytest.fixture
async def account(clients: GoogleClients) -> str:
    """Create an account and return its unique id."""
    return (await ServiceAccounts(clients).create(PROJECT, "checkout", "", "")).unique_id


async def test_key_is_created_disabled_and_deleted(keys: Keys, account: str) -> None:
    made = await keys.create(PROJECT, account)
    file = json.loads(made.file)
    assert (file["type"], file["private_key_id"]) == ("service_account", made.key.key_id)
    assert abs(made.key.created - datetime.now(UTC)) < timedelta(minutes=5)
    assert (made.key.expires, made.key.disabled) == (None, False)
    assert await keys.list(PROJECT, account, 60.0) == {made.key.key_id: made.key}

    await keys.disable(PROJECT, account, made.key.key_id)
    assert await keys.list(PROJECT, account, 60.0) == {made.key.key_id: replace(made.key, disabled=True)}

    await keys.delete(PROJECT, account, made.key.key_id)
    assert await keys.list(PROJECT, account, 60.0) == {}


async def test_google_managed_key_is_not_listed(keys: Keys, account: str) -> None:
    assert await keys.list(PROJECT, account, 0.0) == {}


async def test_cached_list_is_used_until_the_next_write(keys: Keys, account: str, emulator: Emulator) -> None:
    for _ in range(3):
        await keys.list(PROJECT, account, 60.0)
    assert emulator.calls[LIST] == 1

    await keys.create(PROJECT, account)
    assert len(await keys.list(PROJECT, account, 60.0)) == 1
    assert emulator.calls[LIST] == 2


async def test_disabling_a_missing_key_is_not_found(keys: Keys, account: str) -> None:
    with pytest.raises(GoogleError) as raised:
        await keys.disable(PROJECT, account, "0" * 40)

    assert raised.value.fault is Fault.NOT_FOUND


async def test_private_key_is_never_logged(keys: Keys, account: str) -> None:
    stream, root = io.StringIO(), logging.getLogger()
    handlers, level = root.handlers, root.level
    logs.configure(logging.DEBUG, stream)
    try:
        made = await keys.create(PROJECT, account)
        logging.getLogger("cloudrun_identity.test").debug("%r", made, extra={"made": made})
    finally:
        root.handlers = handlers
        root.setLevel(level)
        logging.captureWarnings(False)

    assert made.key.key_id in stream.getvalue()
    for line in json.loads(made.file)["private_key"].splitlines():
        assert line not in stream.getvalue()
