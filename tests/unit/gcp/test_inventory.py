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
    """The accounts of one project, with calls that take a second and show what stood when they began."""

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


async def test_a_sweep_of_many_accounts_is_one_list() -> None:
    emails = [f"account-{number}@shop-1234.example" for number in range(50)]
    accounts = Accounts(*emails)
    known = inventory(accounts)

    found = await asyncio.gather(*(known.service_account(PROJECT, email, max_age=300) for email in emails))

    assert [account and account.email for account in found] == emails
    assert accounts.calls == {"list": 1}


async def test_age_zero_is_a_read_of_ones_own() -> None:
    accounts = Accounts(ANN)
    known = inventory(accounts)
    await known.service_account(PROJECT, ANN, max_age=300)
    accounts.put(ANN, "changed behind our back")

    account = await known.service_account(PROJECT, ANN, max_age=0)

    assert account is not None
    assert account.display_name == "changed behind our back"
    assert accounts.calls == {"list": 1, "get": 1}


async def test_a_single_read_serves_a_resync_that_comes_soon_after() -> None:
    accounts = Accounts(ANN)
    known = inventory(accounts)
    await known.service_account(PROJECT, ANN, max_age=0)

    assert await known.service_account(PROJECT, ANN, max_age=300) == accounts.existing[ANN]
    assert accounts.calls == {"get": 1}


async def test_an_aged_list_is_read_anew() -> None:
    accounts = Accounts(ANN)
    known = inventory(accounts)
    await known.service_account(PROJECT, ANN, max_age=300)
    await asyncio.sleep(300)

    await known.service_account(PROJECT, ANN, max_age=300)

    assert accounts.calls == {"list": 2}


async def test_a_list_from_before_our_write_does_not_count_for_what_we_wrote() -> None:
    accounts = Accounts(ANN, BOB)
    known = inventory(accounts)
    await known.service_account(PROJECT, ANN, max_age=300)
    await asyncio.sleep(5)
    accounts.put(ANN, "ours")
    known.wrote_account(PROJECT, ANN)
    await asyncio.sleep(5)

    ann = await known.service_account(PROJECT, ANN, max_age=300)
    bob = await known.service_account(PROJECT, BOB, max_age=300)

    assert ann is not None
    assert ann.display_name == "ours"
    assert bob is not None
    assert accounts.calls == {"list": 1, "get": 1}


async def test_a_read_under_way_while_we_write_does_not_count_either() -> None:
    accounts = Accounts(ANN)
    known = inventory(accounts)
    listing = asyncio.create_task(known.service_account(PROJECT, ANN, max_age=300))
    await asyncio.sleep(0.5)
    accounts.put(ANN, "ours")
    known.wrote_account(PROJECT, ANN)
    await listing

    ann = await known.service_account(PROJECT, ANN, max_age=300)

    assert ann is not None
    assert ann.display_name == "ours"


async def test_absence_from_a_list_is_made_sure_of() -> None:
    accounts = Accounts(ANN, BOB)
    accounts.unlisted = {BOB}
    known = inventory(accounts)

    assert await known.service_account(PROJECT, BOB, max_age=300) == accounts.existing[BOB]


async def test_what_does_not_exist_is_none_and_never_remembered_as_such() -> None:
    accounts = Accounts()
    known = inventory(accounts)
    assert await known.service_account(PROJECT, ANN, max_age=0) is None
    accounts.put(ANN)

    assert await known.service_account(PROJECT, ANN, max_age=300) == accounts.existing[ANN]


async def test_an_account_that_went_is_gone_from_older_single_reads() -> None:
    accounts = Accounts(ANN)
    known = inventory(accounts)
    await known.service_account(PROJECT, ANN, max_age=0)
    del accounts.existing[ANN]
    assert await known.service_account(PROJECT, ANN, max_age=0) is None

    assert await known.service_account(PROJECT, ANN, max_age=300) is None


async def test_other_faults_reach_the_caller() -> None:
    accounts = Accounts(ANN)
    accounts.broken = True

    with pytest.raises(GoogleError) as raised:
        await inventory(accounts).service_account(PROJECT, ANN, max_age=0)

    assert raised.value.fault is Fault.PERMISSION_DENIED


class Services:
    """Services of one location by name, each with the account of its template; lists are counted."""

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
    """A service of which the revision `old` serves beside the latest one."""
    return settled(workload, account, serving_revisions=("new", "old"))


async def test_who_runs_as_what_is_sorted_once_a_list_however_many_ask() -> None:
    services = Services(web=ANN, shop=BOB.upper())
    known = Inventory(None, services, asyncio.get_running_loop().time)

    def running_as(email: str) -> Coroutine[Any, Any, tuple[Workload, ...]]:
        return known.running_as(PROJECT, "europe-west1", WorkloadKind.SERVICE, email, 300)

    anns, bobs, nobodys = await asyncio.gather(
        running_as(ANN), running_as(BOB), running_as("eve@shop-1234.example")
    )

    assert [workload.name for workload in anns] == ["web"]
    assert [workload.name for workload in bobs] == ["web", "shop"], "what still serves counts as well"
    assert nobodys == ()
    assert services.calls == {"list": 1, "revision": 2}


async def test_the_whole_is_listed_anew_after_a_write() -> None:
    services = Services(web=ANN)
    known = Inventory(None, services, asyncio.get_running_loop().time)

    async def listed() -> set[str]:
        return set(await known.workloads(PROJECT, "europe-west1", WorkloadKind.SERVICE, max_age=300))

    assert await listed() == {"web"}
    await asyncio.sleep(5)
    services.accounts["shop"] = BOB
    known.wrote_workload(Workload(WorkloadKind.SERVICE, PROJECT, "europe-west1", "shop"))
    await asyncio.sleep(5)

    assert await listed() == {"web", "shop"}
    assert await listed() == {"web", "shop"}
    assert services.calls == {"list": 2}
