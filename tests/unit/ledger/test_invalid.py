"""Stored ledgers that are invalid: they are not overwritten, and their owners are reported."""

import pytest

from cloudrun_identity.ledger.objects import LedgerInvalid, object_name
from cloudrun_identity.ledger.store import Ledgers
from tests.unit.kube.fake_api import FakeApi

from .stored_ledgers import LEDGERS, NAMESPACE, PROJECT, entered, stored


async def test_invalid_object_is_not_overwritten(
    api: FakeApi, ledgers: Ledgers, caplog: pytest.LogCaptureFixture
) -> None:
    api.put(LEDGERS, {"metadata": {"name": object_name(PROJECT), "namespace": NAMESPACE}, "spec": {}})
    await ledgers.fill()
    assert "cannot be read" in caplog.text
    with pytest.raises(LedgerInvalid):
        await ledgers.update(PROJECT, entered("a"))
    assert stored(api)["spec"] == {}


async def test_invalid_edit_keeps_the_last_valid_ledger_and_stops_updates(
    api: FakeApi, ledgers: Ledgers, caplog: pytest.LogCaptureFixture
) -> None:
    known = await ledgers.update(PROJECT, entered("a"))
    edited = stored(api)
    edited["spec"]["bindings"][0]["members"][0]["owners"] = ["web"]

    ledgers.observed(api.put(LEDGERS, edited), deleted=False)

    assert "owners[0]: 'web': must be KIND/NAMESPACE/NAME/UID" in caplog.text
    assert ledgers.ledger(PROJECT) == known
    with pytest.raises(LedgerInvalid):
        await ledgers.update(PROJECT, entered("b"))
    assert stored(api)["spec"] == edited["spec"]


async def test_invalid_edit_concerns_its_owners_until_it_is_repaired(api: FakeApi, ledgers: Ledgers) -> None:
    await ledgers.update(PROJECT, entered("a"))
    valid = stored(api)
    owners = ledgers.ledger(PROJECT).owner_keys
    edited = {**valid, "spec": {**valid["spec"], "bindings": [{}]}}

    assert ledgers.observed(api.put(LEDGERS, edited), deleted=False) == owners
    with pytest.raises(LedgerInvalid):
        ledgers.check(PROJECT)
    for owner_key in owners:
        assert object_name(PROJECT) in ledgers.invalid_ledger_of(owner_key)
    assert ledgers.invalid_ledger_of("IAMBinding/payments/another") == ""

    repaired = api.put(LEDGERS, {**stored(api), "spec": valid["spec"]})
    assert ledgers.observed(repaired, deleted=False) == owners
    ledgers.check(PROJECT)
    assert not any(map(ledgers.invalid_ledger_of, owners))


async def test_deleted_invalid_ledger_is_forgotten(api: FakeApi, ledgers: Ledgers) -> None:
    await ledgers.update(PROJECT, entered("a"))
    ledgers.observed(api.put(LEDGERS, {**stored(api), "spec": {}}), deleted=False)
    ledgers.observed(api.put(LEDGERS, stored(api)), deleted=True)
    ledgers.check(PROJECT)
    assert ledgers.ledger(PROJECT).is_empty


async def test_ledgers_are_incomplete_while_an_object_was_never_valid(api: FakeApi, ledgers: Ledgers) -> None:
    await ledgers.update(PROJECT, entered("a"))
    sound = stored(api)
    broken = {**sound, "spec": {**sound["spec"], "bindings": [{}]}}
    ledgers.observed(api.put(LEDGERS, broken), deleted=False)
    ledgers.check_complete()  # the last valid version is kept
    assert ledgers.invalid_count() == 1

    successor = Ledgers(api, NAMESPACE)
    await successor.fill()
    with pytest.raises(LedgerInvalid, match=f"PolicyLedger {NAMESPACE}/{object_name(PROJECT)} cannot"):
        successor.check_complete()
    successor.observed(api.put(LEDGERS, {**stored(api), "spec": sound["spec"]}), deleted=False)
    successor.check_complete()
    assert successor.invalid_count() == 0


async def test_ledgers_are_complete_after_an_invalid_object_is_deleted(
    api: FakeApi, ledgers: Ledgers
) -> None:
    broken = {"metadata": {"name": object_name(PROJECT), "namespace": NAMESPACE}, "spec": {}}
    ledgers.observed(api.put(LEDGERS, broken), deleted=False)
    ledgers.observed(api.put(LEDGERS, stored(api)), deleted=True)
    ledgers.check_complete()
