"""An IdentityKey on the emulator, with a ledger and Secrets in memory."""

from __future__ import annotations

import base64
import itertools
import json
from datetime import datetime, timedelta

from cloudrun_identity.controllers.identity_key.key_state import KeysSeen, KeyWant
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.keys import Keys
from cloudrun_identity.gcp.last_use import LastUses
from cloudrun_identity.kube.resources import Object
from cloudrun_identity.kube.secrets import KeySecrets
from cloudrun_identity.reconcile.outcomes import Outcome
from cloudrun_identity.reconcile.preconditions import Allowed, Blocked
from tests.unit.controllers.carry_out import carried_out
from tests.unit.controllers.cluster_state import FakeClusterState, identity, record
from tests.unit.controllers.identity_key.key_bench import (
    ACCOUNT,
    controller_with,
    declared,
    delegated,
)
from tests.unit.kube.fake_api import FakeApi
from tests.unit.policy.fakes import FakeLedgers

PROJECT_ID = "payments-prod-1234"


class Killed(Exception):
    """The process crashed."""


class KeyScenario:
    """An IdentityKey on the emulator, with a ledger and Secrets in memory that survive each crash."""

    def __init__(self, clients: GoogleClients, unique_id: str, clock: list[datetime]) -> None:
        self.clients = clients
        self.unique_id = unique_id
        self.clock = clock
        self.kube = FakeApi()
        self.ledgers = FakeLedgers()
        self.crash_at = ""
        self.obj = declared()
        self.project = delegated()
        self.ticks = itertools.count(1)
        self.restart()

    def restart(self) -> None:
        """Start a new process without any cached state."""
        self.keys = Keys(self.clients, lambda: next(self.ticks) / 1000)
        self.controller = controller_with(
            self.keys,
            KeySecrets(self.kube),
            self.ledgers,
            lambda: self.clock[0],
            self._checkpoint,
            LastUses(self.clients, lambda: self.clock[0], max_wait=None),
        )

    def advance(self, time: timedelta) -> None:
        self.clock[0] += time

    def cluster(self) -> FakeClusterState:
        cluster = FakeClusterState(self.project, identity(), accounts=[record(unique_id=self.unique_id)])
        cluster.rings = {ACCOUNT: self.ledgers.ledger(ACCOUNT).key_ring}
        cluster.unique_ids = {ACCOUNT: self.ledgers.ledger(ACCOUNT).target_uid}
        return cluster

    async def reconcile(self) -> Outcome:
        """Reconcile the object."""
        want = self.controller.resolve(self.obj, Allowed(self.project, observe=False), self.cluster())
        if isinstance(want, Blocked):
            return want.outcome
        progress = await carried_out(self.controller, want)
        self.drift = tuple(str(each) for each in progress.differences if not each.due)
        self.status = self.controller.summarize(want, progress.seen)
        return progress.outcome

    async def want(self) -> KeyWant:
        want = self.controller.resolve(self.obj, Allowed(self.project, observe=False), self.cluster())
        assert isinstance(want, KeyWant)
        return want

    async def seen(self) -> KeysSeen:
        return await self.controller.observe(await self.want(), 0.0)

    async def delete(self, *, abandon: bool = False) -> Outcome:
        want = self.controller.resolve_deletion(self.obj, self.cluster(), abandon=abandon)
        assert want is not None
        return (await carried_out(self.controller, want)).outcome

    async def enabled(self) -> set[str]:
        """Return the ids of the enabled keys of the account."""
        listed = await self.keys.list(PROJECT_ID, self.unique_id, 0.0)
        return {key_id for key_id, key in listed.items() if not key.disabled}

    @property
    def secret(self) -> Object:
        return self.kube.objects["secrets", "payments", "checkout-key"]

    @property
    def published(self) -> str:
        """Id of the key in the Secret."""
        key_id: str = json.loads(base64.b64decode(self.secret["data"]["key.json"]))["private_key_id"]
        return key_id

    def _checkpoint(self, step: str) -> None:
        if step == self.crash_at:
            self.crash_at = ""
            self.restart()
            raise Killed(step)
