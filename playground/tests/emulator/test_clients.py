"""Google's unmodified client libraries: every supported client over each of its transports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import iam_admin_v1 as iam
from google.cloud import iam_credentials_v1 as credentials
from google.cloud import orgpolicy_v2 as orgpolicy
from google.cloud import resourcemanager_v3 as resourcemanager
from google.cloud import run_v2 as run

from cloudrun_identity_playground.emulator import Emulator, Seed

EMAIL = "checkout@shop.iam.gserviceaccount.com"
WORKLOAD = {"location": "europe-west1", "name": "web", "serviceAccount": EMAIL}
PARENT = "projects/shop/locations/europe-west1"
SEED = Seed.model_validate(
    {
        "organizations": [{"organizationID": "1"}],
        "folders": [{"folderID": "10", "parent": "organizations/1"}],
        "projects": [
            {
                "projectID": "shop",
                "parent": "folders/10",
                "serviceAccounts": [{"accountID": "checkout"}],
                "services": [WORKLOAD],
                "jobs": [WORKLOAD],
                "workerPools": [WORKLOAD],
                "orgPolicies": [{"constraint": "iam.disableServiceAccountKeyCreation", "enforce": True}],
            }
        ],
    }
)


@dataclass(frozen=True)
class Case:
    """A synchronous and an asynchronous client, a method of both, and its response."""

    client: Any
    async_client: Any
    method: str
    request: dict[str, Any]
    field: str
    answer: Any

    @property
    def transports(self) -> list[str]:
        """Return the transports of the synchronous client."""
        return [name for name in ("grpc", "rest") if name in self.client._transport_registry]


def read(library: Any, name: str, noun: str, resource: str, field: str = "name", answer: Any = None) -> Case:
    return Case(
        getattr(library, f"{name}Client"),
        getattr(library, f"{name}AsyncClient"),
        f"get_{noun}",
        {"name": resource},
        field,
        answer or resource,
    )


POLICY = "projects/shop/policies/iam.disableServiceAccountKeyCreation"
CASES = (
    read(iam, "IAM", "service_account", f"projects/shop/serviceAccounts/{EMAIL}"),
    Case(
        credentials.IAMCredentialsClient,
        credentials.IAMCredentialsAsyncClient,
        "sign_blob",
        {"name": f"projects/-/serviceAccounts/{EMAIL}", "payload": b"x", "delegates": []},
        "key_id",
        None,
    ),
    read(orgpolicy, "OrgPolicy", "effective_policy", POLICY),
    read(resourcemanager, "Projects", "project", "projects/shop", "project_id", "shop"),
    read(resourcemanager, "Folders", "folder", "folders/10"),
    read(resourcemanager, "Organizations", "organization", "organizations/1"),
    read(run, "Services", "service", f"{PARENT}/services/web"),
    read(run, "Jobs", "job", f"{PARENT}/jobs/web"),
    read(run, "WorkerPools", "worker_pool", f"{PARENT}/workerPools/web"),
    Case(
        run.RevisionsClient,
        run.RevisionsAsyncClient,
        "list_revisions",
        {"parent": f"{PARENT}/services/web"},
        "revisions",
        None,
    ),
    Case(
        run.ExecutionsClient,
        run.ExecutionsAsyncClient,
        "list_executions",
        {"parent": f"{PARENT}/jobs/-"},
        "executions",
        [],
    ),
)


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(seed=SEED, rest_port=0) as running:
        yield running


def sync_client(case: Case, transport: str, emulator: Emulator) -> Any:
    kind = case.client.get_transport_class(transport)
    if transport == "grpc":
        return case.client(transport=kind(channel=grpc.insecure_channel(emulator.grpc_address)))
    host = emulator.rest_url.removeprefix("http://")
    return case.client(transport=kind(host=host, url_scheme="http", credentials=AnonymousCredentials()))


def is_answered(case: Case, response: Any) -> bool:
    found = getattr(response, case.field)
    return bool(found) if case.answer is None else bool(found == case.answer)


@pytest.mark.parametrize(
    ("case", "transport"),
    [
        pytest.param(case, transport, id=f"{case.client.__name__}-{transport}")
        for case in CASES
        for transport in case.transports
    ],
)
async def test_synchronous_client_gets_an_answer(emulator: Emulator, case: Case, transport: str) -> None:
    def call() -> Any:
        with sync_client(case, transport, emulator) as client:
            return getattr(client, case.method)(request=case.request)

    assert is_answered(case, await asyncio.to_thread(call))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.async_client.__name__)
async def test_asynchronous_client_gets_an_answer(emulator: Emulator, case: Case) -> None:
    async with grpc.aio.insecure_channel(emulator.grpc_address) as channel:
        transport = case.async_client.get_transport_class("grpc_asyncio")(channel=channel)
        call: Callable[..., Any] = getattr(case.async_client(transport=transport), case.method)
        assert is_answered(case, await call(request=case.request))


async def test_call_without_a_connection_is_answered_with_bytes() -> None:
    emulator = Emulator(seed=SEED)
    request = resourcemanager.GetProjectRequest(name="projects/shop")

    answer = await emulator.answer(
        "google.cloud.resourcemanager.v3.Projects/GetProject",
        resourcemanager.GetProjectRequest.serialize(request),
        {},
    )

    assert resourcemanager.Project.deserialize(answer).project_id == "shop"
