"""Looking at an account: what counts as lag, and what as gone."""

import pytest

from cloudrun_identity.api import LedgerAccount
from cloudrun_identity.controllers.cloud_run_identity.account_dependencies import AccountSeen
from cloudrun_identity.controllers.cloud_run_identity.propagation import GRACE
from cloudrun_identity.gcp.errors import Fault, GoogleError
from tests.unit.controllers.cloud import PROJECT_ID
from tests.unit.controllers.cluster_state import EMAIL, record

from .account_bench import NOON, AccountBench

FRESH = record(appeared_time=NOON)


@pytest.fixture
def bench() -> AccountBench:
    bench = AccountBench()
    bench.ledgers.keep(FRESH)
    return bench


async def look(bench: AccountBench, kept: LedgerAccount | None = FRESH) -> AccountSeen:
    return await bench.accounts.look(PROJECT_ID, EMAIL, kept, 300.0)


async def test_a_missing_account_is_lag_while_it_is_fresh(bench: AccountBench) -> None:
    assert await look(bench) == AccountSeen(None, lagging=True)
    bench.now = GRACE + 1
    assert await look(bench) == AccountSeen(None, lagging=False)


async def test_a_denied_read_is_lag_of_a_fresh_account_alone(bench: AccountBench) -> None:
    bench.google.faults = {"get": Fault.PERMISSION_DENIED}
    assert await look(bench) == AccountSeen(None, lagging=True)
    bench.now = GRACE + 1
    bench.google.faults = {"get": Fault.PERMISSION_DENIED}
    with pytest.raises(GoogleError):
        await look(bench)


async def test_what_nobody_has_recorded_is_not_lagging(bench: AccountBench) -> None:
    assert await look(bench, None) == AccountSeen(None, lagging=False)


async def test_an_account_that_is_not_steady_is_asked_for_anew(bench: AccountBench) -> None:
    bench.google.put(EMAIL)
    await look(bench)
    bench.google.put(EMAIL, "222")
    known = await look(bench)
    assert known.account
    assert known.account.unique_id == "111", "as old as it may be"
    shown = await look(bench, record(unique_id=""))
    assert shown.account
    assert shown.account.unique_id == "222"
