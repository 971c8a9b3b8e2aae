"""Clients per credential."""

import asyncio

import pytest

from cloudrun_identity.gcp.client_pool import OWN, ClientPool, Credential, credential_of
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.impersonation import ImpersonatedTokens
from tests.unit.controllers.cluster_state import project

ACCOUNT = "cri@ops-1234.iam.gserviceaccount.com"
AS_ACCOUNT = Credential(ACCOUNT)


class NullObserver:
    def observed(self, method: str, code: str, seconds: float) -> None:
        pass


@pytest.fixture
def own() -> GoogleClients:
    return GoogleClients("127.0.0.1:1", NullObserver())


def pool(own: GoogleClients, **credentials: Credential) -> ClientPool:
    return ClientPool(own, lambda project_id: credentials.get(project_id, OWN))


def test_credential_is_read_from_the_managed_project() -> None:
    assert credential_of(project()) == OWN
    declared = {
        "impersonateServiceAccount": ACCOUNT,
        "delegates": ["middle@ops-1234.iam.gserviceaccount.com"],
    }
    assert credential_of(project(credentials=declared, quotaProjectID="ops-1234")) == Credential(
        ACCOUNT, ("middle@ops-1234.iam.gserviceaccount.com",), "ops-1234"
    )


async def test_projects_with_one_credential_share_their_clients(own: GoogleClients) -> None:
    clients = pool(own, a=AS_ACCOUNT, b=AS_ACCOUNT, c=Credential(quota_project="ops-1234"))
    assert clients.for_project("a") is clients.for_project("b")
    assert clients.for_project("c") not in (clients.for_project("a"), own)
    assert clients.for_project("other") is own


async def test_impersonated_account_is_known_before_its_first_token(own: GoogleClients) -> None:
    assert pool(own, a=AS_ACCOUNT).identity("a") == ACCOUNT
    assert isinstance(pool(own, a=AS_ACCOUNT).for_project("a")._tokens, ImpersonatedTokens)


async def test_clients_are_closed_with_their_last_project(
    own: GoogleClients, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[GoogleClients] = []

    async def close(self: GoogleClients, grace: float | None = None) -> None:
        closed.append(self)

    monkeypatch.setattr(GoogleClients, "close", close)
    clients = pool(own, a=AS_ACCOUNT, b=AS_ACCOUNT)
    shared = clients.for_project("a")

    clients.close_unused([AS_ACCOUNT])
    await asyncio.sleep(0)
    assert closed == []

    clients.close_unused([OWN])
    await asyncio.sleep(0)
    assert closed == [shared]
    assert clients.for_project("a") is not shared
