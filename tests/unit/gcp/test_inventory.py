"""Cached service accounts and workloads."""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import Any

import pytest

from cloudrun_identity.api import WorkloadKind
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.inventory import Inventory
from cloudrun_identity.gcp.service_accounts import ServiceAccount
from cloudrun_identity.gcp.workloads import Workload, WorkloadState
from tests.unit.gcp.workload_states import settled

pytestmark = pytest.mark.looptime(start=0)

PROJECT = "shop-1234"
ANN, BOB = "ann@shop-1234.example", "bob@shop-1234.example"


class Accounts:
    """Accounts of one project. Calls take a second and show the state at their start."""

    def __init__(self, *emails: str) -> None:
        self.calls: Counter[str] = Counter()
        self.existing: dict[str, ServiceAccount] = {}
        self.unlisted: set[str] = set()
        self.broken = False
        for email in emails:
            self.put(email)

    def put(self, email: str, display_name: str = "") -> None:
        self.existing[email] = ServiceAccount(PROJECT, email, "1", display_name)

    async def get(self, project_id: str, email: str) -> ServiceAccount:
        self.calls["get"] += 1
        account = self.existing.get(email)
        await asyncio.sleep(1)
        if self.broken:
            raise GoogleError(Fault.PERMISSION_DENIED, "IAM/GetServiceAccount", "no")
        if account is None:
            raise GoogleError(Fault.NOT_FOUND, "IAM/GetServiceAccount", "Unknown service account")
        return account

    async def list(self, project_id: str) -> list[ServiceAccount]:
        self.calls["list"] += 1
        listed = [account for email, account in self.existing.items() if email not in self.unlisted]
        await asyncio.sleep(1)
        return listed


def inventory(accounts: Accounts) -> Inventory:
    return Inventory(accounts, None, asyncio.get_running_loop().time)


async def test_resync_of_many_accounts_costs_one_list() -> None:
    emails = [f"account-{number}@shop-1234.example" for number in range(50)]
    accounts = Accounts(*emails)
    cached = inventory(accounts)

    found = await asyncio.gather(*(cached.service_account(PROJECT, email, max_age=300) for email in emails))

    assert [account and account.email for account in found] == emails
    assert accounts.calls == {"list": 1}


async def test_age_zero_reads_the_account() -> None:
    accounts = Accounts(ANN)
    cached = inventory(accounts)
    await cached.service_account(PROJECT, ANN, max_age=300)
    accounts.put(ANN, "changed by another client")

    account = await cached.service_account(PROJECT, ANN, max_age=0)

    assert account is not None
    assert account.display_name == "changed by another client"
    assert accounts.calls == {"list": 1, "get": 1}


async def test_single_read_is_reused_by_a_resync() -> None:
    accounts = Accounts(ANN)
    cached = inventory(accounts)
    await cached.service_account(PROJECT, ANN, max_age=0)

    assert await cached.service_account(PROJECT, ANN, max_age=300) == accounts.existing[ANN]
    assert accounts.calls == {"get": 1}


async def test_old_list_is_read_again() -> None:
    accounts = Accounts(ANN)
    cached = inventory(accounts)
    await cached.service_account(PROJECT, ANN, max_age=300)
    await asyncio.sleep(300)

    await cached.service_account(PROJECT, ANN, max_age=300)

    assert accounts.calls == {"list": 2}


async def test_list_before_a_write_is_not_used_for_the_written_account() -> None:
    accounts = Accounts(ANN, BOB)
    cached = inventory(accounts)
    await cached.service_account(PROJECT, ANN, max_age=300)
    await asyncio.sleep(5)
    accounts.put(ANN, "written")
    cached.invalidate_account(PROJECT, ANN)
    await asyncio.sleep(5)

    ann = await cached.service_account(PROJECT, ANN, max_age=300)
    bob = await cached.service_account(PROJECT, BOB, max_age=300)

    assert ann is not None
    assert ann.display_name == "written"
    assert bob is not None
    assert accounts.calls == {"list": 1, "get": 1}


async def test_list_in_flight_during_a_write_is_not_used() -> None:
    accounts = Accounts(ANN)
    cached = inventory(accounts)
    listing = asyncio.create_task(cached.service_account(PROJECT, ANN, max_age=300))
    await asyncio.sleep(0.5)
    accounts.put(ANN, "written")
    cached.invalidate_account(PROJECT, ANN)
    await listing

    ann = await cached.service_account(PROJECT, ANN, max_age=300)

    assert ann is not None
    assert ann.display_name == "written"


async def test_account_missing_in_a_list_is_read() -> None:
    accounts = Accounts(ANN, BOB)
    accounts.unlisted = {BOB}
    cached = inventory(accounts)

    assert await cached.service_account(PROJECT, BOB, max_age=300) == accounts.existing[BOB]


async def test_missing_account_is_none_and_not_cached() -> None:
    accounts = Accounts()
    cached = inventory(accounts)
    assert await cached.service_account(PROJECT, ANN, max_age=0) is None
    accounts.put(ANN)

    assert await cached.service_account(PROJECT, ANN, max_age=300) == accounts.existing[ANN]


async def test_deleted_account_is_dropped_from_the_cache() -> None:
    accounts = Accounts(ANN)
    cached = inventory(accounts)
    await cached.service_account(PROJECT, ANN, max_age=0)
    del accounts.existing[ANN]
    assert await cached.service_account(PROJECT, ANN, max_age=0) is None

    assert await cached.service_account(PROJECT, ANN, max_age=300) is None


async def test_other_faults_are_raised() -> None:
    accounts = Accounts(ANN)
    accounts.broken = True

    with pytest.raises(GoogleError) as raised:
        await inventory(accounts).service_account(PROJECT, ANN, max_age=0)

    assert raised.value.fault is Fault.PERMISSION_DENIED


class Services:
    """Services of one location by name, with the accounts of their templates. Counts the calls."""

    def __init__(self, **accounts: str) -> None:
        self.accounts = accounts
        self.calls: Counter[str] = Counter()

    async def list(self, project_id: str, location: str, kind: WorkloadKind) -> list[WorkloadState]:
        self.calls["list"] += 1
        await asyncio.sleep(1)
        return [
            service(Workload(kind, project_id, location, name), account)
            for name, account in self.accounts.items()
        ]

    async def revision_account(self, workload: Workload, revision: str) -> str:
        self.calls["revision"] += 1
        await asyncio.sleep(1)
        return BOB


def service(workload: Workload, account: str) -> WorkloadState:
    """Return a service with two serving revisions, `old` and the latest one."""
    return settled(workload, account, serving_revisions=("new", "old"))


async def test_workloads_are_indexed_by_account_once_per_list() -> None:
    services = Services(web=ANN, shop=BOB.upper())
    cached = Inventory(None, services, asyncio.get_running_loop().time)

    def running_as(email: str) -> Coroutine[Any, Any, tuple[Workload, ...]]:
        return cached.running_as(PROJECT, "europe-west1", WorkloadKind.SERVICE, email, 300)

    of_ann, of_bob, of_eve = await asyncio.gather(
        running_as(ANN), running_as(BOB), running_as("eve@shop-1234.example")
    )

    assert [workload.name for workload in of_ann] == ["web"]
    assert [workload.name for workload in of_bob] == ["web", "shop"], "the serving revision `old` counts too"
    assert of_eve == ()
    assert services.calls == {"list": 1, "revision": 2}


async def test_workloads_are_listed_again_after_a_write() -> None:
    services = Services(web=ANN)
    cached = Inventory(None, services, asyncio.get_running_loop().time)

    async def listed() -> set[str]:
        return set(await cached.workloads(PROJECT, "europe-west1", WorkloadKind.SERVICE, max_age=300))

    assert await listed() == {"web"}
    await asyncio.sleep(5)
    services.accounts["shop"] = BOB
    cached.invalidate_workload(Workload(WorkloadKind.SERVICE, PROJECT, "europe-west1", "shop"))
    await asyncio.sleep(5)

    assert await listed() == {"web", "shop"}
    assert await listed() == {"web", "shop"}
    assert services.calls == {"list": 2}
