"""Places of use: what the record of an account keeps, and when it is pruned."""

from dataclasses import replace
from typing import Any

import pytest

from cloudrun_identity.api import LedgerAccount, Origin
from cloudrun_identity.api.ledger_records import MAX_PLACES
from cloudrun_identity.controllers.cloud_run_identity.account import AccountSeen, AccountWant
from cloudrun_identity.controllers.cloud_run_identity.account_records import adopted, creating, taken_back
from cloudrun_identity.controllers.cloud_run_identity.actions import RecordUses
from cloudrun_identity.controllers.cloud_run_identity.plan import plan
from cloudrun_identity.gcp.service_accounts import ServiceAccount
from tests.unit.controllers.cloud import PROJECT_ID
from tests.unit.controllers.cluster_state import EMAIL, identity, project, record

from .account_bench import NOON, AccountBench

ACCOUNT = ServiceAccount(PROJECT_ID, EMAIL, "111")
SETTLED = record(origin=Origin.CREATED, unique_ids=("111",))
HERE, THERE = f"{PROJECT_ID}/europe-west1", "run-prod-5678/us-east1"


def want(*places: str) -> AccountWant:
    return AccountWant(identity(), PROJECT_ID, EMAIL, places=lambda: frozenset(places))


def recorded(kept: LedgerAccount, *declared: str, unused: tuple[str, ...] = ()) -> list[object]:
    """Return the actions for the places of an account that is as declared otherwise."""
    seen = AccountSeen(ACCOUNT, kept, unused=frozenset(unused))
    return list(plan(want(*declared), seen, NOON).actions)


def uses(added: tuple[str, ...] = (), dropped: tuple[str, ...] = ()) -> RecordUses:
    return RecordUses(want().target.full_name, added=frozenset(added), dropped=frozenset(dropped))


@pytest.mark.parametrize(
    ("kept", "declared", "unused", "expected"),
    [
        ((), (HERE,), (), [uses(added=(HERE,))]),
        ((HERE,), (HERE,), (), []),
        ((HERE, THERE), (HERE,), (), []),
        ((HERE, THERE), (HERE,), (THERE,), [uses(dropped=(THERE,))]),
        ((THERE,), (THERE,), (THERE,), []),
        ((THERE,), (HERE,), (THERE,), [uses(added=(HERE,), dropped=(THERE,))]),
    ],
)
def test_place_is_kept_until_nothing_declares_or_uses_it(
    kept: tuple[str, ...], declared: tuple[str, ...], unused: tuple[str, ...], expected: list[object]
) -> None:
    assert recorded(SETTLED.replace(used_in=kept), *declared, unused=unused) == expected


def test_record_of_a_new_account_has_the_declared_places() -> None:
    wanted = want(HERE)
    assert creating(wanted, None, NOON).used_in == (HERE,)
    assert creating(wanted, SETTLED.replace(used_in=(THERE,)), NOON).used_in == (HERE, THERE)
    assert adopted(wanted, ACCOUNT).used_in == (HERE,)
    assert taken_back(wanted, SETTLED.replace(used_in=(THERE,)), ACCOUNT).used_in == (HERE, THERE)


def test_full_record_counts_as_use_and_is_not_written_again() -> None:
    places = tuple(f"{PROJECT_ID}/l{number:03}" for number in range(MAX_PLACES))
    full = SETTLED.with_uses(places)
    assert (len(full.used_in), full.used_elsewhere) == (MAX_PLACES, False)
    beyond = full.with_uses({"zz/z"})
    assert (len(beyond.used_in), beyond.used_elsewhere) == (MAX_PLACES, True)
    assert recorded(beyond, "zz/z") == []


async def test_place_that_an_attachment_recorded_meanwhile_is_kept() -> None:
    bench = AccountBench()
    bench.google.put(EMAIL, display_name="theirs")
    bench.ledgers.keep(SETTLED)
    wanted = bench.want(displayName="Till", disabled=True)
    seen = await bench.controller.observe(wanted, 0.0)
    bench.ledgers.keep(SETTLED.with_uses({THERE}))
    for action in bench.controller.plan(wanted, seen, NOON).actions:
        seen = (await bench.controller.execute(action, wanted, seen)).seen
    assert bench.record.used_in == (THERE,)
    assert bench.record.disabled


async def test_pruned_place_is_kept_if_it_is_declared_by_then() -> None:
    bench = AccountBench()
    bench.ledgers.keep(SETTLED.replace(used_in=(THERE,)))
    declared: list[str] = []
    wanted = bench.want()
    wanted = replace(wanted, account=replace(wanted.account, places=lambda: frozenset(declared)))
    seen = await bench.controller.observe(wanted, 0.0)
    seen = replace(seen, account=replace(seen.account, account=ACCOUNT, unused=frozenset({THERE})))
    (action,) = bench.controller.plan(wanted, seen, NOON).actions
    declared.append(THERE)
    await bench.controller.execute(action, wanted, seen)
    assert bench.record.used_in == (THERE,)


@pytest.mark.parametrize("used", [True, False])
async def test_undeclared_place_is_pruned_when_nothing_runs_there(used: bool) -> None:
    bench = AccountBench()
    bench.google.put(EMAIL)
    bench.run.services = {("us-east1", "web"): EMAIL} if used else {}
    bench.ledgers.keep(SETTLED.replace(used_in=(HERE, f"{PROJECT_ID}/us-east1")))
    delegated: Any = project(locations=["europe-west1"])
    await bench.step(delegated)
    assert (f"{PROJECT_ID}/us-east1" in bench.record.used_in) is used
    assert HERE in bench.record.used_in
    assert "us-east1" in {location for _, location in bench.run.looked_at}, "it is looked at"
    bench.run.looked_at.clear()
    await bench.step(delegated)
    assert bool(bench.run.looked_at) is used, "a declared place is not listed for this"
