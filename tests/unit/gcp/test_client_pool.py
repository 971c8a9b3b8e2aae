import asyncio

import pytest

from cloudrun_identity.gcp.client_pool import OWN, ClientPool, Credential, credential_of
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.impersonation import Impersonated
from tests.unit.controllers.cluster_state import project

ACCOUNT = "cri@ops-1234.iam.gserviceaccount.com"
AS_ACCOUNT = Credential(ACCOUNT)


class Unobserved:
    def observed(self, method: str, code: str, seconds: float) -> None:
        pass


@pytest.fixture
def own() -> GoogleClients:
    return GoogleClients("127.0.0.1:1", Unobserved())


def pool(own: GoogleClients, **credentials: Credential) -> ClientPool:
    return ClientPool(own, lambda project_id: credentials.get(project_id, OWN))


def test_a_project_says_whom_to_act_as_and_whom_to_charge() -> None:
    assert credential_of(project()) == OWN
    said = {"impersonateServiceAccount": ACCOUNT, "delegates": ["middle@ops-1234.iam.gserviceaccount.com"]}
    assert credential_of(project(credentials=said, quotaProjectID="ops-1234")) == Credential(
        ACCOUNT, ("middle@ops-1234.iam.gserviceaccount.com",), "ops-1234"
    )


async def test_projects_of_one_credential_share_their_clients(own: GoogleClients) -> None:
    clients = pool(own, a=AS_ACCOUNT, b=AS_ACCOUNT, c=Credential(quota_project="ops-1234"))
    assert clients.of("a") is clients.of("b")
    assert clients.of("c") not in (clients.of("a"), own)
    assert clients.of("somewhere") is own


async def test_the_account_acted_as_is_known_before_its_first_token(own: GoogleClients) -> None:
    assert pool(own, a=AS_ACCOUNT).identity("a") == ACCOUNT
    assert isinstance(pool(own, a=AS_ACCOUNT).of("a")._tokens, Impersonated)


async def test_clients_close_with_the_last_project_that_uses_them(
    own: GoogleClients, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[GoogleClients] = []

    async def close(self: GoogleClients, grace: float | None = None) -> None:
        closed.append(self)

    monkeypatch.setattr(GoogleClients, "close", close)
    clients = pool(own, a=AS_ACCOUNT, b=AS_ACCOUNT)
    shared = clients.of("a")

    clients.retain([AS_ACCOUNT])
    await asyncio.sleep(0)
    assert closed == []

    clients.retain([OWN])
    await asyncio.sleep(0)
    assert closed == [shared]
    assert clients.of("a") is not shared
