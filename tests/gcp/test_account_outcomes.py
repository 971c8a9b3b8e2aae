"""Creates and deletes of accounts whose outcome Google does not report truthfully, over the wire."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from cloudrun_identity.api import Origin, Reason
from cloudrun_identity.controllers.cloud_run_identity.propagation import GOOD_READS
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.ratelimit import BucketKey, RateLimiter
from cloudrun_identity.gcp.service_accounts import ServiceAccounts
from cloudrun_identity.reconcile.outcomes import Failing, InSync, Refused, Waiting, outcome_of
from cloudrun_identity_playground.emulator.emulator import Emulator
from cloudrun_identity_playground.emulator.seed import Project, Quotas, Seed
from tests.gcp.conftest import Observer
from tests.unit.controllers.cloud import PROJECT_ID
from tests.unit.controllers.cloud_run_identity.account_bench import AccountBench
from tests.unit.controllers.cluster_state import EMAIL

FULL = "acme-full"
SEED = Seed(
    strict=True,
    projects=(
        Project(project_id=PROJECT_ID),
        Project(project_id=FULL, quotas=Quotas(service_accounts=0)),
    ),
)
CREATE, DELETE, UNDELETE, GET = (
    f"google.iam.admin.v1.IAM/{verb}ServiceAccount" for verb in ("Create", "Delete", "Undelete", "Get")
)
ACCOUNT = f"//iam.googleapis.com/projects/{PROJECT_ID}/serviceAccounts/{EMAIL}"
UNKNOWN_OUTCOMES = pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DATA_LOSS,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    ],
    ids=lambda code: code.name,
)


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(seed=SEED) as emulator:
        yield emulator


class Bench(AccountBench):
    """An identity whose account is in the emulator."""

    def __init__(self, clients: GoogleClients) -> None:
        self._clients = clients
        super().__init__()

    def restart(self) -> None:
        google: Any = ServiceAccounts(self._clients)
        self.google = google
        super().restart()


@pytest.fixture
def bench(clients: GoogleClients) -> Bench:
    return Bench(clients)


def exists(emulator: Emulator) -> bool:
    return emulator.cloud.accounts.is_taken(EMAIL)


@UNKNOWN_OUTCOMES
async def test_create_with_an_unknown_outcome_is_looked_up(
    bench: Bench, emulator: Emulator, code: grpc.StatusCode
) -> None:
    emulator.faults.inject(CREATE, code, applied=True)

    await bench.step()

    assert isinstance((await bench.steps_of(GOOD_READS))[-1], InSync)
    assert (bench.record.intent, bench.record.origin) == (None, Origin.CREATED)
    assert emulator.calls[CREATE] == 1


@UNKNOWN_OUTCOMES
async def test_create_without_effect_is_repeated(
    bench: Bench, emulator: Emulator, code: grpc.StatusCode
) -> None:
    emulator.faults.inject(CREATE, code)
    with pytest.raises(GoogleError):
        await bench.step()

    await bench.step()

    assert isinstance((await bench.steps_of(GOOD_READS))[-1], InSync)
    assert emulator.calls[CREATE] == 2


@UNKNOWN_OUTCOMES
async def test_create_that_no_read_shows_is_still_managed(
    bench: Bench, emulator: Emulator, code: grpc.StatusCode
) -> None:
    emulator.faults.inject(CREATE, code, applied=True)
    emulator.faults.inject(GET, grpc.StatusCode.NOT_FOUND, times=3)
    with pytest.raises(GoogleError):
        await bench.step()

    assert isinstance((await bench.steps_of(GOOD_READS + 2))[-1], InSync)
    assert bench.record.origin is Origin.CREATED


async def test_account_of_another_user_is_not_taken_for_a_lost_create(
    bench: Bench, emulator: Emulator, clients: GoogleClients
) -> None:
    emulator.faults.inject(CREATE, grpc.StatusCode.UNKNOWN)
    with pytest.raises(GoogleError):
        await bench.step()
    await ServiceAccounts(clients).create(PROJECT_ID, "checkout", "Till", "made by hand")

    refused = (await bench.step()).outcome

    assert isinstance(refused, Refused)
    assert refused.reason is Reason.CONFLICT
    assert bench.own_record() is None


@UNKNOWN_OUTCOMES
async def test_undelete_with_an_unknown_outcome_is_looked_up(
    bench: Bench, emulator: Emulator, code: grpc.StatusCode
) -> None:
    await bench.steps_of(GOOD_READS + 1)
    bench.now += 200
    emulator.edit({"serviceAccount": ACCOUNT, "delete": True})
    emulator.faults.inject(UNDELETE, code, applied=True)

    outcomes = await bench.steps_of(GOOD_READS + 1, whenDeleted="Undelete")

    assert isinstance(outcomes[-1], InSync)
    assert emulator.calls[UNDELETE] == 1


async def test_fresh_account_that_a_delete_does_not_find_is_deleted_later(
    bench: Bench, emulator: Emulator
) -> None:
    await bench.steps_of(GOOD_READS + 1)
    emulator.faults.inject(DELETE, grpc.StatusCode.NOT_FOUND)

    waiting = await bench.delete()

    assert isinstance(waiting, Waiting)
    assert waiting.reason is Reason.PROPAGATION_PENDING
    assert exists(emulator)
    assert isinstance(await bench.delete(), InSync)
    assert not exists(emulator)


async def test_account_that_is_deleted_already_does_not_block_the_deletion(
    bench: Bench, emulator: Emulator
) -> None:
    await bench.steps_of(GOOD_READS + 1)
    emulator.edit({"serviceAccount": ACCOUNT, "delete": True})

    outcomes = [await bench.delete() for _ in range(5)]

    assert isinstance(outcomes[-1], InSync)
    assert bench.own_record() is None


async def test_full_project_is_reported_with_the_remedy(clients: GoogleClients) -> None:
    with pytest.raises(GoogleError) as raised:
        await ServiceAccounts(clients).create(FULL, "checkout", "", "")

    outcome = outcome_of(raised.value, "creating account checkout")

    assert isinstance(outcome, Failing)
    assert (outcome.reason, outcome.after) == (Reason.QUOTA_EXCEEDED, None)
    assert "Maximum number of service accounts on project reached" in outcome.message
    assert f"project {FULL} has the maximum number of service accounts" in outcome.message
    assert f"https://console.cloud.google.com/iam-admin/quotas?project={FULL}" in outcome.message


class Limiter(RateLimiter):
    """A limiter that records which rates are paused."""

    def __init__(self) -> None:
        super().__init__()
        self.paused: list[BucketKey] = []

    def drain(self, key: BucketKey, retry_after: float | None) -> None:
        self.paused.append(key)


async def test_full_project_does_not_pause_the_calls_for_others(emulator: Emulator) -> None:
    limiter = Limiter()
    clients = GoogleClients(emulator.grpc_address, Observer(), limiter)
    with pytest.raises(GoogleError) as raised:
        await ServiceAccounts(clients).create(FULL, "checkout", "", "")
    await clients.close()

    assert (raised.value.fault, raised.value.retry_after) == (Fault.QUOTA_EXCEEDED, 86_401)
    assert limiter.paused == []
