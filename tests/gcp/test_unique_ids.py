"""Unique ids of targets of every kind, and of accounts, over the wire."""

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
from tests.target_resources import DATA_KINDS, resource_of

REGION = "europe-west1"
EMAIL = "checkout@shop.iam.gserviceaccount.com"
WORKLOAD = {"location": REGION, "name": "web", "image": "europe-docker.pkg.dev/shop/images/app:1"}
RESOURCES = {kind: resource_of(kind) for kind in DATA_KINDS}
SEEDED = [
    {
        "kind": kind,
        "name": target.name,
        "location": target.location,
        "parent": target.parent,
    }
    for kind, target in RESOURCES.items()
    if kind is not TargetKind.SECRET
]
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
                "secrets": [{"name": "stripe"}],
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
TARGETS = {
    TargetKind.PROJECT: Target.project("shop"),
    TargetKind.SERVICE_ACCOUNT: Target.service_account("shop", EMAIL),
    TargetKind.SERVICE: Target(TargetKind.SERVICE, "shop", REGION, "web"),
    TargetKind.JOB: Target(TargetKind.JOB, "shop", REGION, "web"),
    TargetKind.WORKER_POOL: Target(TargetKind.WORKER_POOL, "shop", REGION, "web"),
    **RESOURCES,
    TargetKind.SECRET: Target.secret("shop", "stripe"),
    TargetKind.FOLDER: Target(TargetKind.FOLDER, "shop", name="42"),
    TargetKind.ORGANIZATION: Target(TargetKind.ORGANIZATION, "shop", name="7"),
}
WITHOUT_ID = kinds_where(lambda kind: kind.unique_id_field is None)
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


@pytest.mark.parametrize("kind", WITHOUT_ID)
async def test_kind_without_an_id_is_read_nevertheless(
    unique_ids: UniqueIDs, emulator: Emulator, kind: TargetKind
) -> None:
    assert await unique_ids.of_target(TARGETS[kind]) == ""
    assert emulator.calls[TARGET_KINDS[kind].get_method] == 1


async def test_bucket_of_another_project_is_not_found(unique_ids: UniqueIDs) -> None:
    with pytest.raises(GoogleError, match=r"belongs to project [0-9]+, not to shop") as raised:
        await unique_ids.of_target(Target(TargetKind.STORAGE_BUCKET, "shop", name="others-exports"))
    assert raised.value.fault is Fault.NOT_FOUND


@pytest.mark.parametrize("kind", [kind for kind in TargetKind if kind not in CONTAINERS])
async def test_missing_target_is_not_found(unique_ids: UniqueIDs, kind: TargetKind) -> None:
    missing = replace(TARGETS[kind], name=f"missing-{TARGETS[kind].name}")
    with pytest.raises(GoogleError) as raised:
        await unique_ids.of_target(missing)
    assert raised.value.fault is Fault.NOT_FOUND


async def test_project_has_its_number_which_is_read_once(unique_ids: UniqueIDs, emulator: Emulator) -> None:
    assert await unique_ids.of_target(TARGETS[TargetKind.PROJECT]) == "123456789012"
    await unique_ids.of_target(TARGETS[TargetKind.PROJECT])
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
