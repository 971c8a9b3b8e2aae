"""An object's keys from the first to the last, cut short between any two steps: none is left behind.

The cloud is the emulator, the Secrets and the ledger are kept in memory and never lost.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import grpc
import pytest

from cloudrun_identity.api import Reason
from cloudrun_identity.controllers.identity_key.key_state import KeysSeen, KeyWant
from cloudrun_identity.controllers.identity_key.plan import LAG, SETTLE
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.keys import Keys
from cloudrun_identity.gcp.service_accounts import ServiceAccounts
from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.kube.resources import SECRETS, Object
from cloudrun_identity.kube.secrets import KeySecrets
from cloudrun_identity.reconcile.outcomes import Failing, InSync, Outcome, Refused, Waiting
from cloudrun_identity.reconcile.preconditions import Allowed, Blocked
from cloudrun_identity_playground.emulator.emulator import Emulator
from cloudrun_identity_playground.emulator.seed import OrgPolicy, Project, Seed
from tests.gcp.conftest import Observer
from tests.unit.controllers.carry_out import carried_out
from tests.unit.controllers.cluster_state import FakeWorld, identity, record
from tests.unit.controllers.identity_key.key_bench import (
    ACCOUNT,
    DAY,
    NOON,
    controller_with,
    declared,
    delegated,
)
from tests.unit.kube.fake_api import FakeApi
from tests.unit.policy.fakes import FakeLedgers

PROJECT_ID = "payments-prod-1234"
NO_KEYS = "iam.disableServiceAccountKeyCreation"


class Killed(Exception):  # noqa: N818 - it names what happened
    """The process ended."""


class Life:
    """One IdentityKey's world."""

    def __init__(self, clients: GoogleClients, unique_id: str, clock: list[datetime]) -> None:
        self.clients = clients
        self.unique_id = unique_id
        self.clock = clock
        self.kube = FakeApi()
        self.ledgers = FakeLedgers()
        self.die_at = ""
        self.obj = declared()
        self.project = delegated()
        self.ticks = itertools.count(1)
        self.restart()

    def restart(self) -> None:
        """A new process, that remembers nothing."""
        self.keys = Keys(self.clients, lambda: next(self.ticks) / 1000)
        self.controller = controller_with(
            self.keys, KeySecrets(self.kube), self.ledgers, lambda: self.clock[0], self._checkpoint
        )

    def pass_by(self, time: timedelta) -> None:
        self.clock[0] += time

    def cluster(self) -> FakeWorld:
        cluster = FakeWorld(self.project, identity(), accounts=[record(unique_id=self.unique_id)])
        cluster.rings = {ACCOUNT: self.ledgers.ledger(ACCOUNT).key_ring}
        cluster.unique_ids = {ACCOUNT: self.unique_id}
        return cluster

    async def work(self) -> Outcome:
        """Reconcile the object."""
        want = self.controller.resolve(self.obj, Allowed(self.project, observe=False), self.cluster())
        if isinstance(want, Blocked):
            return want.outcome
        progress = await carried_out(self.controller, want)
        self.told = tuple(str(each) for each in progress.differences if not each.due)
        self.status = self.controller.summarize(want, progress.seen)
        return progress.outcome

    async def want(self) -> KeyWant:
        want = self.controller.resolve(self.obj, Allowed(self.project, observe=False), self.cluster())
        assert isinstance(want, KeyWant)
        return want

    async def seen(self) -> KeysSeen:
        return await self.controller.observe(await self.want(), 0.0)

    async def end(self, *, abandon: bool = False) -> Outcome:
        want = self.controller.resolve_deletion(self.obj, self.cluster(), abandon=abandon)
        assert want is not None
        return (await carried_out(self.controller, want)).outcome

    async def living(self) -> set[str]:
        """The ids of the account's keys that can be signed in with."""
        listed = await self.keys.list(PROJECT_ID, self.unique_id, 0.0)
        return {key_id for key_id, key in listed.items() if not key.disabled}

    @property
    def secret(self) -> Object:
        return self.kube.objects["secrets", "payments", "checkout-key"]

    @property
    def published(self) -> str:
        """The id of the key in the Secret."""
        key_id: str = json.loads(base64.b64decode(self.secret["data"]["key.json"]))["private_key_id"]
        return key_id

    def _checkpoint(self, step: str) -> None:
        if step == self.die_at:
            self.die_at = ""
            self.restart()
            raise Killed(step)


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
async def life(clients: GoogleClients, clock: list[datetime]) -> Life:
    account = await ServiceAccounts(clients).create(PROJECT_ID, "checkout", "", "")
    return Life(clients, account.unique_id, clock)


async def test_a_key_is_delivered_followed_and_retired(life: Life) -> None:
    assert await life.work() == InSync(after=(30 * DAY).total_seconds())
    first = life.published
    assert await life.living() == {first}
    assert await life.work() == InSync(after=(30 * DAY).total_seconds())
    assert life.told == ()

    life.pass_by(30 * DAY)
    assert await life.work() == InSync(after=SETTLE.total_seconds())
    assert life.published == first
    life.pass_by(SETTLE)
    assert await life.work() == InSync(after=DAY.total_seconds())
    second = life.published
    assert second != first
    assert await life.living() == {first, second}
    assert [(key.id, key.state) for key in life.status.fields["keys"]] == [
        (first, "Overlap"),
        (second, "Active"),
    ]

    life.pass_by(DAY)
    await life.work()
    assert await life.living() == {second}
    life.pass_by(DAY)
    await life.work()
    assert set((await life.seen()).listed) == {second}
    assert life.told == (), "time has brought it all"


@pytest.mark.parametrize(
    "step", ["key attempt recorded", "key created", "key recorded", "key published", "key active"]
)
async def test_a_first_key_that_is_cut_short_leaves_none_behind(life: Life, step: str) -> None:
    life.die_at = step
    with pytest.raises(Killed):
        await life.work()

    await life.work()
    life.pass_by(LAG)
    await life.work()
    await life.work()

    assert set((await life.seen()).listed) == {life.published}
    assert isinstance(await life.work(), InSync)


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
async def test_a_rotation_that_is_cut_short_never_takes_the_working_key(life: Life, step: str) -> None:
    await life.work()
    life.die_at = step
    life.pass_by(30 * DAY)
    for time in (timedelta(), SETTLE, LAG, SETTLE, DAY, DAY, DAY, DAY):
        life.pass_by(time)
        try:
            await life.work()
        except Killed:
            assert life.published in await life.living()
        assert life.published in await life.living()

    assert life.die_at == "", "it was cut short"
    assert set((await life.seen()).listed) == {life.published}


async def test_a_lost_answer_is_no_lost_key(life: Life, emulator: Emulator) -> None:
    emulator.faults.inject("*/CreateServiceAccountKey", grpc.StatusCode.UNAVAILABLE, applied=True)
    with pytest.raises(GoogleError):
        await life.work()
    assert len((await life.seen()).listed) == 1

    assert isinstance(await life.work(), Waiting)
    life.pass_by(LAG)
    await life.work()

    assert set((await life.seen()).listed) == {life.published}


async def test_of_two_unknown_keys_none_is_deleted(life: Life) -> None:
    life.die_at = "key created"
    with pytest.raises(Killed):
        await life.work()
    await life.keys.create(PROJECT_ID, life.unique_id)
    life.pass_by(LAG)

    await life.work()

    assert len(await life.living()) == 3
    assert "it is not known which of" in life.status.issues[0]


async def test_a_secret_that_cannot_be_written_costs_one_key_not_many(life: Life) -> None:
    def refuse() -> None:
        raise KubeError(403, "Forbidden", "no")

    life.kube.interferences = [refuse, refuse]
    for _ in range(2):
        refused = await life.work()
        assert isinstance(refused, Failing)
        assert refused.reason is Reason.PERMISSION_DENIED

    await life.work()

    assert set((await life.seen()).listed) == {life.published}


@pytest.mark.parametrize("harm", ["deleted", "edited", "disabled"])
async def test_what_cannot_be_restored_is_replaced_at_once(life: Life, harm: str) -> None:
    await life.work()
    first = life.published
    match harm:
        case "deleted":
            life.kube.drop(SECRETS, "checkout-key", "payments")
        case "edited":
            edited = json.loads(base64.b64decode(life.secret["data"]["key.json"])) | {"private_key": "x"}
            life.secret["data"]["key.json"] = base64.b64encode(json.dumps(edited).encode()).decode()
        case "disabled":
            await life.keys.disable(PROJECT_ID, life.unique_id, first)

    await life.work()

    assert len(life.told) == 1
    assert harm in life.told[0]
    assert life.published != first
    assert life.published in await life.living()
    life.pass_by(2 * DAY)
    await life.work()
    life.pass_by(DAY)
    await life.work()
    assert set((await life.seen()).listed) == {life.published}


async def test_the_environment_of_the_process_has_nothing_of_a_key(life: Life) -> None:
    await life.work()
    file = json.loads(base64.b64decode(life.secret["data"]["key.json"]))
    environment = "\n".join(os.environ.values())
    assert not [line for line in file["private_key"].splitlines() if line in environment]


async def test_a_secret_of_somebody_else_is_never_touched(life: Life) -> None:
    theirs = life.kube.put(SECRETS, {"metadata": {"name": "checkout-key", "namespace": "payments"}})

    refused = await life.work()

    assert isinstance(refused, Refused)
    assert (refused.reason, "is not this object's" in refused.message) == (Reason.CONFLICT, True)
    await life.end()
    assert life.secret == theirs
    assert await life.living() == set()


async def test_the_template_is_brought_to_the_secret_without_another_key(life: Life) -> None:
    await life.work()
    key = life.published
    life.obj = declared(secretTemplate={"labels": {"app": "checkout"}})

    await life.work()

    assert life.secret["metadata"]["labels"] == {"app": "checkout"}
    assert life.published == key


async def test_a_policy_of_the_organization_is_named(clients: GoogleClients, clock: list[datetime]) -> None:
    forbidding = Project(
        project_id=PROJECT_ID, project_number="1", org_policies=(OrgPolicy(constraint=NO_KEYS, enforce=True),)
    )
    async with Emulator(seed=Seed(projects=(forbidding,))) as emulator:
        others = GoogleClients(emulator.grpc_address, Observer())
        account = await ServiceAccounts(others).create(PROJECT_ID, "checkout", "", "")
        life = Life(others, account.unique_id, clock)

        refused = await life.work()

        assert isinstance(refused, Refused)
        assert NO_KEYS in refused.message
        assert life.ledgers.ledger(ACCOUNT).is_empty, "nothing was made, and nothing is looked for"
        await others.close()


async def test_by_default_no_key_is_made_and_better_ways_are_named(life: Life) -> None:
    life.project = delegated(keys="Denied")

    refused = await life.work()

    assert isinstance(refused, Refused)
    assert refused.reason is Reason.DENIED_BY_GUARDRAIL
    assert all(way in refused.message for way in ("attach", "impersonate", "Workload Identity"))
    assert await life.living() == set()


async def test_a_full_account_says_so(life: Life) -> None:
    for _ in range(10):
        await life.keys.create(PROJECT_ID, life.unique_id)

    failing = await life.work()

    assert isinstance(failing, Failing)
    assert failing.reason is Reason.QUOTA_EXCEEDED


async def test_the_end_retires_the_keys_and_the_secret(life: Life) -> None:
    await life.work()
    life.obj = declared(rotation={"generation": 1})
    assert isinstance(await life.work(), Waiting)
    stranger = (await life.keys.create(PROJECT_ID, life.unique_id)).key.key_id

    life.die_at = "key disabled"
    with pytest.raises(Killed):
        await life.end()
    assert await life.end() == InSync()

    assert await life.living() == {stranger}
    assert life.kube.objects == {}
    assert life.ledgers.ledger(ACCOUNT).is_empty


@pytest.mark.parametrize("how", ["policy", "observed"])
async def test_what_is_abandoned_goes_on_working(life: Life, how: str) -> None:
    await life.work()
    if how == "policy":
        life.obj = declared(deletionPolicy="Abandon")

    assert await life.end(abandon=how == "observed") == InSync()

    assert await life.living() == {life.published}
    assert not life.secret["metadata"]["ownerReferences"]
    assert life.ledgers.ledger(ACCOUNT).is_empty


async def test_the_end_of_the_account_is_the_end_of_its_keys(life: Life) -> None:
    await life.work()
    await ServiceAccounts(life.clients).delete(PROJECT_ID, life.unique_id)

    assert await life.end() == InSync()

    assert life.kube.objects == {}
    with pytest.raises(GoogleError) as raised:
        await life.living()
    assert raised.value.fault is Fault.NOT_FOUND
