"""Accounts of a project that an operator with permissions on the project could take over."""

import asyncio

import pytest

from cloudrun_identity.controllers.managed_project import powerful_accounts
from cloudrun_identity.controllers.managed_project.powerful_accounts import MAX_AGE, PowerfulAccounts
from cloudrun_identity.gcp import policies as policies_module
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.errors import GoogleError
from cloudrun_identity.gcp.permissions import ACCOUNT_PERMISSIONS
from cloudrun_identity.gcp.policies import KEPT_FOR, MAX_WAIT, Policies
from cloudrun_identity.gcp.projects import Project
from cloudrun_identity.gcp.ratelimit import Priority, call_priority
from cloudrun_identity.gcp.roles import Roles
from cloudrun_identity.iam.grants import Target
from cloudrun_identity_playground.emulator.emulator import Emulator

SHOP = Project("shop-1234", "42", "Shop", active=True)
DOMAIN = "shop-1234.iam.gserviceaccount.com"
READ = "google.cloud.resourcemanager.v3.Projects/GetIamPolicy"


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 1.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def accounts(clients: GoogleClients, clock: Clock) -> PowerfulAccounts:
    return PowerfulAccounts(Policies(clients), Roles(clients), clock)


def grant(emulator: Emulator, role: str, member: str) -> None:
    name = "//cloudresourcemanager.googleapis.com/projects/shop-1234"
    emulator.edit({"policy": name, "add": [{"role": role, "member": member}], "unchecked": True})


async def found(accounts: PowerfulAccounts) -> list[str]:
    return [str(account) for account in await accounts.of(SHOP, ACCOUNT_PERMISSIONS)]


async def test_accounts_with_escalating_roles_are_found_owners_first(
    accounts: PowerfulAccounts, emulator: Emulator
) -> None:
    for role, account in (
        ("roles/iam.serviceAccountUser", f"ci@{DOMAIN}"),
        ("roles/editor", "42-compute@developer.gserviceaccount.com"),
        ("roles/owner", f"legacy@{DOMAIN}"),
        ("roles/cloudsql.client", f"harmless@{DOMAIN}"),
        ("roles/owner", "visitor@elsewhere-1234.iam.gserviceaccount.com"),
        ("roles/run.serviceAgent", "service-42@serverless-robot-prod.iam.gserviceaccount.com"),
    ):
        grant(emulator, role, f"serviceAccount:{account}")
    grant(emulator, "roles/owner", "user:ann@example.com")

    assert await found(accounts) == [
        f"legacy@{DOMAIN} (roles/owner)",
        "42-compute@developer.gserviceaccount.com (roles/editor)",
        f"ci@{DOMAIN} (roles/iam.serviceAccountUser)",
    ]


async def test_policy_is_read_once_an_hour(
    accounts: PowerfulAccounts, emulator: Emulator, clock: Clock
) -> None:
    emulator.calls.reset()
    for _ in range(3):
        await found(accounts)
    assert dict(emulator.calls) == {READ: 1}

    grant(emulator, "roles/owner", f"serviceAccount:legacy@{DOMAIN}")
    assert await found(accounts) == []
    clock.now += MAX_AGE + 1
    assert await found(accounts) == [f"legacy@{DOMAIN} (roles/owner)"]
    assert dict(emulator.calls) == {READ: 2}


async def test_operator_with_rights_on_its_own_accounts_only_reads_nothing(
    accounts: PowerfulAccounts, emulator: Emulator
) -> None:
    grant(emulator, "roles/owner", f"serviceAccount:legacy@{DOMAIN}")
    emulator.calls.reset()
    assert await accounts.of(SHOP, {"iam.serviceAccounts.create"}) == ()
    assert dict(emulator.calls) == {}


async def test_unreadable_policy_is_no_error_and_not_read_again(
    clients: GoogleClients, clock: Clock, emulator: Emulator
) -> None:
    accounts = PowerfulAccounts(Policies(clients), Roles(clients), clock)
    missing = Project("missing-1234", "43", "Missing", active=True)
    emulator.calls.reset()
    for _ in range(2):
        assert await accounts.of(missing, ACCOUNT_PERMISSIONS) == ()
    assert dict(emulator.calls) == {READ: 1}


async def test_resync_shares_the_read_of_another_caller(clients: GoogleClients, emulator: Emulator) -> None:
    policies = Policies(clients)
    accounts = PowerfulAccounts(policies, Roles(clients), Clock())
    grant(emulator, "roles/owner", f"serviceAccount:legacy@{DOMAIN}")
    call_priority.set(Priority.RESYNC)
    waiting = asyncio.create_task(found(accounts))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    emulator.calls.reset()
    await policies.get(Target.project(SHOP.project_id))
    assert await waiting == [f"legacy@{DOMAIN} (roles/owner)"]
    assert emulator.calls[READ] == 1


@pytest.mark.parametrize(("later", "reads"), [(MAX_WAIT * 2, 1), (KEPT_FOR, 2)])
async def test_resync_shares_the_read_before_it(
    clients: GoogleClients, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, later: float, reads: int
) -> None:
    policies = Policies(clients)
    accounts = PowerfulAccounts(policies, Roles(clients), Clock())
    grant(emulator, "roles/owner", f"serviceAccount:legacy@{DOMAIN}")
    call_priority.set(Priority.RESYNC)
    emulator.calls.reset()
    await policies.get(Target.project(SHOP.project_id))
    read_at = asyncio.get_running_loop().time()
    monkeypatch.setattr(policies_module, "_now", lambda: read_at + later)
    monkeypatch.setattr(powerful_accounts, "MAX_WAIT", 0.01)
    assert await found(accounts) == [f"legacy@{DOMAIN} (roles/owner)"]
    assert emulator.calls[READ] == reads


async def test_resync_reads_the_policy_when_the_read_of_another_caller_failed(
    clients: GoogleClients, emulator: Emulator
) -> None:
    policies = Policies(clients)
    missing = Project("missing-1234", "43", "Missing", active=True)
    call_priority.set(Priority.RESYNC)
    accounts = PowerfulAccounts(policies, Roles(clients), Clock())
    waiting = asyncio.create_task(accounts.of(missing, ACCOUNT_PERMISSIONS))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(GoogleError):
        await policies.get(Target.project(missing.project_id))
    async with asyncio.timeout(MAX_WAIT / 2):
        assert await waiting == ()
    assert emulator.calls[READ] == 2


async def test_edit_waits_for_no_other_caller(accounts: PowerfulAccounts, emulator: Emulator) -> None:
    grant(emulator, "roles/owner", f"serviceAccount:legacy@{DOMAIN}")
    assert await found(accounts) == [f"legacy@{DOMAIN} (roles/owner)"]
