"""The life cycle of the keys of an IdentityKey, with a crash between any two steps."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import grpc
import pytest

from cloudrun_identity.api import Reason
from cloudrun_identity.controllers.identity_key.plan import LAG, SETTLE
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.service_accounts import ServiceAccounts
from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.kube.resources import SECRETS
from cloudrun_identity.reconcile.outcomes import Failing, InSync, Refused, Waiting
from cloudrun_identity_playground.emulator.emulator import Emulator
from cloudrun_identity_playground.emulator.seed import OrgPolicy, Project, Seed
from tests.gcp.conftest import Observer
from tests.gcp.key_scenario import PROJECT_ID, KeyScenario, Killed
from tests.unit.controllers.identity_key.key_bench import (
    ACCOUNT,
    DAY,
    NOON,
    declared,
    delegated,
)

NO_KEYS = "iam.disableServiceAccountKeyCreation"


@pytest.fixture
def clock() -> list[datetime]:
    return [NOON]


@pytest.fixture
async def emulator(clock: list[datetime]) -> AsyncIterator[Emulator]:
    seed = Seed(projects=(Project(project_id=PROJECT_ID, project_number="417203958816"),))
    async with Emulator(seed=seed, clock=lambda: clock[0].timestamp()) as emulator:
        yield emulator


@pytest.fixture
async def clients(emulator: Emulator, observer: Observer) -> AsyncIterator[GoogleClients]:
    clients = GoogleClients(emulator.grpc_address, observer)
    yield clients
    await clients.close()


@pytest.fixture
async def scenario(clients: GoogleClients, clock: list[datetime]) -> KeyScenario:
    account = await ServiceAccounts(clients).create(PROJECT_ID, "checkout", "", "")
    return KeyScenario(clients, account.unique_id, clock)


async def test_key_is_delivered_rotated_and_deleted(scenario: KeyScenario) -> None:
    assert await scenario.reconcile() == InSync(after=(30 * DAY).total_seconds())
    first = scenario.published
    assert await scenario.enabled() == {first}
    assert await scenario.reconcile() == InSync(after=(30 * DAY).total_seconds())
    assert scenario.drift == ()

    scenario.advance(30 * DAY)
    assert await scenario.reconcile() == InSync(after=SETTLE.total_seconds())
    assert scenario.published == first
    scenario.advance(SETTLE)
    assert await scenario.reconcile() == InSync(after=DAY.total_seconds())
    second = scenario.published
    assert second != first
    assert await scenario.enabled() == {first, second}
    assert [(key.id, key.state) for key in scenario.status.fields["keys"]] == [
        (first, "Overlap"),
        (second, "Active"),
    ]

    scenario.advance(DAY)
    await scenario.reconcile()
    assert await scenario.enabled() == {second}
    scenario.advance(DAY)
    await scenario.reconcile()
    assert set((await scenario.seen()).listed) == {second}
    assert scenario.drift == (), "a rotation on schedule is not drift"


@pytest.mark.parametrize(
    "step", ["key attempt recorded", "key created", "key recorded", "key published", "key active"]
)
async def test_crash_during_the_first_key_leaves_no_other_key(scenario: KeyScenario, step: str) -> None:
    scenario.crash_at = step
    with pytest.raises(Killed):
        await scenario.reconcile()

    await scenario.reconcile()
    scenario.advance(LAG)
    await scenario.reconcile()
    await scenario.reconcile()

    assert set((await scenario.seen()).listed) == {scenario.published}
    assert isinstance(await scenario.reconcile(), InSync)


@pytest.mark.parametrize(
    "step",
    [
        "key attempt recorded",
        "key created",
        "key recorded",
        "key published",
        "key active",
        "key disabled",
        "key deleted",
    ],
)
async def test_crash_during_a_rotation_keeps_a_working_key(scenario: KeyScenario, step: str) -> None:
    await scenario.reconcile()
    scenario.crash_at = step
    scenario.advance(30 * DAY)
    for time in (timedelta(), SETTLE, LAG, SETTLE, DAY, DAY, DAY, DAY):
        scenario.advance(time)
        try:
            await scenario.reconcile()
        except Killed:
            assert scenario.published in await scenario.enabled()
        assert scenario.published in await scenario.enabled()

    assert scenario.crash_at == "", "the crash happened"
    assert set((await scenario.seen()).listed) == {scenario.published}


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DATA_LOSS,
        grpc.StatusCode.ABORTED,
    ],
    ids=lambda code: code.name,
)
async def test_key_with_an_unknown_outcome_is_deleted(
    scenario: KeyScenario, emulator: Emulator, code: grpc.StatusCode
) -> None:
    emulator.faults.inject("*/CreateServiceAccountKey", code, applied=True)
    with pytest.raises(GoogleError):
        await scenario.reconcile()
    assert len((await scenario.seen()).listed) == 1

    assert isinstance(await scenario.reconcile(), Waiting)
    scenario.advance(LAG)
    await scenario.reconcile()

    assert set((await scenario.seen()).listed) == {scenario.published}


async def test_two_unknown_keys_are_not_deleted(scenario: KeyScenario) -> None:
    scenario.crash_at = "key created"
    with pytest.raises(Killed):
        await scenario.reconcile()
    await scenario.keys.create(PROJECT_ID, scenario.unique_id)
    scenario.advance(LAG)

    await scenario.reconcile()

    assert len(await scenario.enabled()) == 3
    assert "it is not known which of" in scenario.status.issues[0]


async def test_failing_secret_write_creates_one_key_only(scenario: KeyScenario) -> None:
    def refuse() -> None:
        raise KubeError(403, "Forbidden", "no")

    scenario.kube.interferences = [refuse, refuse]
    for _ in range(2):
        refused = await scenario.reconcile()
        assert isinstance(refused, Failing)
        assert refused.reason is Reason.PERMISSION_DENIED

    await scenario.reconcile()

    assert set((await scenario.seen()).listed) == {scenario.published}


@pytest.mark.parametrize("damage", ["deleted", "edited", "disabled"])
async def test_lost_key_is_replaced_at_once(scenario: KeyScenario, damage: str) -> None:
    await scenario.reconcile()
    first = scenario.published
    match damage:
        case "deleted":
            scenario.kube.drop(SECRETS, "checkout-key", "payments")
        case "edited":
            edited = json.loads(base64.b64decode(scenario.secret["data"]["key.json"])) | {"private_key": "x"}
            scenario.secret["data"]["key.json"] = base64.b64encode(json.dumps(edited).encode()).decode()
        case "disabled":
            await scenario.keys.disable(PROJECT_ID, scenario.unique_id, first)

    await scenario.reconcile()

    assert len(scenario.drift) == 1
    assert damage in scenario.drift[0]
    assert scenario.published != first
    assert scenario.published in await scenario.enabled()
    scenario.advance(2 * DAY)
    await scenario.reconcile()
    scenario.advance(DAY)
    await scenario.reconcile()
    assert set((await scenario.seen()).listed) == {scenario.published}


async def test_process_environment_contains_no_key(scenario: KeyScenario) -> None:
    await scenario.reconcile()
    file = json.loads(base64.b64decode(scenario.secret["data"]["key.json"]))
    environment = "\n".join(os.environ.values())
    assert not [line for line in file["private_key"].splitlines() if line in environment]


async def test_unmanaged_secret_is_not_changed(scenario: KeyScenario) -> None:
    unmanaged = scenario.kube.put(SECRETS, {"metadata": {"name": "checkout-key", "namespace": "payments"}})

    refused = await scenario.reconcile()

    assert isinstance(refused, Refused)
    assert (refused.reason, "is not this object's" in refused.message) == (Reason.CONFLICT, True)
    await scenario.delete()
    assert scenario.secret == unmanaged
    assert await scenario.enabled() == set()


async def test_secret_template_is_applied_without_a_new_key(scenario: KeyScenario) -> None:
    await scenario.reconcile()
    key = scenario.published
    scenario.obj = declared(secretTemplate={"labels": {"app": "checkout"}})

    await scenario.reconcile()

    assert scenario.secret["metadata"]["labels"] == {"app": "checkout"}
    assert scenario.published == key


async def test_organization_policy_is_named(clients: GoogleClients, clock: list[datetime]) -> None:
    forbidding = Project(
        project_id=PROJECT_ID, project_number="1", org_policies=(OrgPolicy(constraint=NO_KEYS, enforce=True),)
    )
    async with Emulator(seed=Seed(projects=(forbidding,))) as emulator:
        others = GoogleClients(emulator.grpc_address, Observer())
        account = await ServiceAccounts(others).create(PROJECT_ID, "checkout", "", "")
        scenario = KeyScenario(others, account.unique_id, clock)

        refused = await scenario.reconcile()

        assert isinstance(refused, Refused)
        assert NO_KEYS in refused.message
        assert scenario.ledgers.ledger(ACCOUNT).is_empty, "no key was created"
        await others.close()


async def test_keys_are_denied_by_default_with_alternatives(scenario: KeyScenario) -> None:
    scenario.project = delegated(keys="Denied")

    refused = await scenario.reconcile()

    assert isinstance(refused, Refused)
    assert refused.reason is Reason.DENIED_BY_GUARDRAIL
    assert all(way in refused.message for way in ("attach", "impersonate", "Workload Identity"))
    assert await scenario.enabled() == set()


async def test_account_with_ten_keys_is_quota_exceeded(scenario: KeyScenario) -> None:
    for _ in range(10):
        await scenario.keys.create(PROJECT_ID, scenario.unique_id)

    failing = await scenario.reconcile()

    assert isinstance(failing, Failing)
    assert failing.reason is Reason.QUOTA_EXCEEDED


async def test_deletion_deletes_the_keys_and_the_secret(scenario: KeyScenario) -> None:
    await scenario.reconcile()
    scenario.obj = declared(rotation={"generation": 1})
    assert isinstance(await scenario.reconcile(), Waiting)
    unmanaged = (await scenario.keys.create(PROJECT_ID, scenario.unique_id)).key.key_id

    scenario.crash_at = "key disabled"
    with pytest.raises(Killed):
        await scenario.delete()
    assert await scenario.delete() == InSync()

    assert await scenario.enabled() == {unmanaged}
    assert scenario.kube.objects == {}
    assert scenario.ledgers.ledger(ACCOUNT).is_empty


async def test_deletion_from_a_ledger_without_the_unique_id_of_the_account(scenario: KeyScenario) -> None:
    await scenario.reconcile()
    recorded = scenario.ledgers.ledger(ACCOUNT)
    assert recorded.target_uid == scenario.unique_id, "a ledger that the first key created is bound"
    scenario.ledgers.stored[ACCOUNT] = recorded.replace(target_uid="")

    assert await scenario.delete() == InSync()

    assert await scenario.enabled() == set()
    assert scenario.ledgers.ledger(ACCOUNT).target_uid == "", "an e-mail is not recorded as a unique ID"


@pytest.mark.parametrize("verb", ["Disable", "Delete"])
async def test_fresh_key_that_is_not_found_is_deleted_later(
    scenario: KeyScenario, emulator: Emulator, verb: str
) -> None:
    await scenario.reconcile()
    emulator.faults.inject(f"*/{verb}ServiceAccountKey", grpc.StatusCode.NOT_FOUND)

    waiting = await scenario.delete()

    assert isinstance(waiting, Waiting)
    assert waiting.reason is Reason.PROPAGATION_PENDING
    assert await scenario.delete() == InSync()
    assert (await scenario.seen()).listed == {}


@pytest.mark.parametrize("how", ["policy", "observed"])
async def test_abandoned_key_keeps_working(scenario: KeyScenario, how: str) -> None:
    await scenario.reconcile()
    if how == "policy":
        scenario.obj = declared(deletionPolicy="Abandon")

    assert await scenario.delete(abandon=how == "observed") == InSync()

    assert await scenario.enabled() == {scenario.published}
    assert not scenario.secret["metadata"]["ownerReferences"]
    assert [key.left for key in scenario.ledgers.ledger(ACCOUNT).keys] == [True]


async def test_deletion_after_the_account_is_deleted(scenario: KeyScenario) -> None:
    await scenario.reconcile()
    await ServiceAccounts(scenario.clients).delete(PROJECT_ID, scenario.unique_id)

    assert await scenario.delete() == InSync()

    assert scenario.kube.objects == {}
    with pytest.raises(GoogleError) as raised:
        await scenario.enabled()
    assert raised.value.fault is Fault.NOT_FOUND
