"""Unique ids of targets of every kind, and of accounts, over the wire."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from grpc import StatusCode

from cloudrun_identity.api import TARGET_KINDS, TargetKind, kinds_where
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.service_accounts import ServiceAccounts
from cloudrun_identity.gcp.unique_ids import UniqueIDs
from cloudrun_identity.iam.grants import Target
from cloudrun_identity_playground.emulator.emulator import Emulator
from cloudrun_identity_playground.emulator.seed import Seed
from tests.target_resources import DATA_KINDS, seeded, target_of_each_kind

REGION = "europe-west1"
EMAIL = "checkout@shop.iam.gserviceaccount.com"
WORKLOAD = {"location": REGION, "name": "web", "image": "europe-docker.pkg.dev/shop/images/app:1"}
TARGETS = target_of_each_kind()
SEEDED = [seeded(TARGETS[kind]) for kind in DATA_KINDS]
SEED = Seed.model_validate(
    {
        "projects": [
            {
                "projectID": "shop",
                "projectNumber": "123456789012",
                "serviceAccounts": [{"accountID": "checkout"}],
                "services": [WORKLOAD],
                "jobs": [WORKLOAD],
                "workerPools": [WORKLOAD],
                "resources": SEEDED,
            },
            {
                "projectID": "other",
                "resources": [{"kind": "StorageBucket", "name": "others-exports"}],
            },
        ],
        "folders": [{"folderID": "42"}],
        "organizations": [{"organizationID": "7"}],
    }
)
WITHOUT_ID = kinds_where(lambda kind: kind.unique_id_field is None)
READ_WITHOUT_ID = kinds_where(lambda kind: kind.unique_id_field is None and bool(kind.get_method))
READABLE = kinds_where(lambda kind: bool(kind.get_method))
CONTAINERS = kinds_where(lambda kind: kind.hides_missing)


class Unobserved:
    def observed(self, method: str, code: str, seconds: float) -> None:
        pass


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(seed=SEED) as running:
        yield running


@pytest.fixture
async def unique_ids(emulator: Emulator) -> AsyncIterator[UniqueIDs]:
    clients = GoogleClients(emulator.grpc_address, Unobserved())
    yield UniqueIDs(clients, ServiceAccounts(clients))
    await clients.close()


@pytest.mark.parametrize("kind", [kind for kind in TargetKind if kind not in WITHOUT_ID])
async def test_target_has_a_unique_id(unique_ids: UniqueIDs, kind: TargetKind) -> None:
    first = await unique_ids.of_target(TARGETS[kind])
    assert first
    assert len(first) <= 64
    assert await unique_ids.of_target(TARGETS[kind]) == first


@pytest.mark.parametrize("kind", READ_WITHOUT_ID)
async def test_kind_without_an_id_is_read_nevertheless(
    unique_ids: UniqueIDs, emulator: Emulator, kind: TargetKind
) -> None:
    assert await unique_ids.of_target(TARGETS[kind]) == ""
    assert emulator.calls[TARGET_KINDS[kind].get_method] == 1


async def test_bucket_of_another_project_is_not_found(unique_ids: UniqueIDs) -> None:
    with pytest.raises(GoogleError, match=r"belongs to project [0-9]+, not to shop") as raised:
        await unique_ids.of_target(Target(TargetKind.STORAGE_BUCKET, "shop", name="others-exports"))
    assert raised.value.fault is Fault.NOT_FOUND


async def test_resource_of_the_generic_kind_has_no_id_and_is_not_read(
    unique_ids: UniqueIDs, emulator: Emulator
) -> None:
    assert await unique_ids.of_target(TARGETS[TargetKind.RESOURCE]) == ""
    assert not dict(emulator.calls)


@pytest.mark.parametrize("kind", [kind for kind in READABLE if kind not in CONTAINERS])
async def test_missing_target_is_not_found(unique_ids: UniqueIDs, kind: TargetKind) -> None:
    missing = replace(TARGETS[kind], name=f"missing-{TARGETS[kind].name}")
    with pytest.raises(GoogleError) as raised:
        await unique_ids.of_target(missing)
    assert raised.value.fault is Fault.NOT_FOUND


async def test_project_has_its_number_which_is_read_once(unique_ids: UniqueIDs, emulator: Emulator) -> None:
    project = TARGETS[TargetKind.PROJECT]
    at_once = await asyncio.gather(*(unique_ids.of_target(project) for _ in range(3)))
    assert {*at_once, await unique_ids.of_target(project)} == {"123456789012"}
    assert emulator.calls[TARGET_KINDS[TargetKind.PROJECT].get_method] == 1


async def test_recreated_secret_has_another_id(unique_ids: UniqueIDs, emulator: Emulator) -> None:
    before = await unique_ids.of_target(TARGETS[TargetKind.SECRET])
    emulator.edit({"resource": TARGETS[TargetKind.SECRET].full_name, "recreate": True})
    assert await unique_ids.of_target(TARGETS[TargetKind.SECRET]) != before


async def test_account_is_read_by_its_email(unique_ids: UniqueIDs) -> None:
    target = TARGETS[TargetKind.SERVICE_ACCOUNT]
    assert await unique_ids.of_account(EMAIL) == await unique_ids.of_target(target)


@pytest.mark.parametrize(
    "email",
    [
        "missing@shop.iam.gserviceaccount.com",
        "service-1@serverless-robot-prod.iam.gserviceaccount.com",
        "a@b.c",
    ],
)
async def test_account_without_a_readable_id_is_unknown(unique_ids: UniqueIDs, email: str) -> None:
    assert await unique_ids.of_account(email) == ""


async def test_failed_read_of_an_account_is_raised(unique_ids: UniqueIDs, emulator: Emulator) -> None:
    emulator.faults.inject("*/GetServiceAccount", StatusCode.UNAVAILABLE, times=5)
    with pytest.raises(GoogleError) as raised:
        await unique_ids.of_account(EMAIL)
    assert raised.value.fault is Fault.UNAVAILABLE
