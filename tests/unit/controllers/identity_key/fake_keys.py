"""The keys of one service account in memory, and a process that creates them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from cloudrun_identity.controllers.identity_key.key_state import KeysSeen, KeyWant
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.gcp.keys import NewKey
from cloudrun_identity.iam.listed_keys import ListedKey
from cloudrun_identity.kube.secrets import KeySecrets
from cloudrun_identity.ledger.keys import KeyRing
from cloudrun_identity.reconcile.outcomes import Outcome
from tests.unit.controllers.carry_out import Recorder, carried_out
from tests.unit.controllers.cloud import fault
from tests.unit.controllers.identity_key.key_bench import ACCOUNT, NOON, controller_with, declared, wanted
from tests.unit.kube.fake_api import FakeApi
from tests.unit.policy.fakes import FakeLedgers

PRIVATE = "-----BEGIN PRIVATE KEY-----hush"


def file_of(key_id: str) -> bytes:
    """The credentials file of a key."""
    return json.dumps({"private_key_id": key_id, "private_key": PRIVATE}).encode()


async def nothing() -> None:
    """Do nothing."""


class FakeKeys:
    """Implements `gcp.keys.Keys` for one account. Google's quota delays every creation by `queue`."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now
        self.queue = timedelta()
        self.keys: dict[str, ListedKey] = {}
        self.under_way = 0
        self.most_under_way = 0
        self.while_waiting: Callable[[], None] = lambda: None
        self.while_creating: Callable[[], Awaitable[None]] = nothing
        self.faults: list[Fault] = []
        self.writes: list[str] = []
        self.deleted = False

    async def list(self, project_id: str, account: str, max_age: float) -> Mapping[str, ListedKey]:
        if self.deleted:
            raise fault(Fault.NOT_FOUND)
        return dict(self.keys)

    async def disable(self, project_id: str, account: str, key_id: str) -> None:
        self.writes.append(f"disable {key_id}")
        if key_id not in self.keys:
            raise fault(Fault.NOT_FOUND)
        self.keys[key_id] = replace(self.keys[key_id], disabled=True)

    async def delete(self, project_id: str, account: str, key_id: str) -> None:
        self.writes.append(f"delete {key_id}")
        if key_id not in self.keys:
            raise fault(Fault.NOT_FOUND)
        del self.keys[key_id]

    async def create(self, project_id: str, account: str, before: Callable[[], Awaitable[None]]) -> NewKey:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await asyncio.sleep(0)
        self.now += self.queue
        self.while_waiting()
        await before()
        self.writes.append("create")
        made = ListedKey(f"k{len(self.keys) + 1}", self.now)
        self.keys[made.key_id] = made
        await self.while_creating()
        self.under_way -= 1
        if self.faults:
            raise fault(self.faults.pop(0))
        return NewKey(made, file_of(made.key_id))


class Process:
    """The operator, with the keys of one account."""

    def __init__(self) -> None:
        self.google = FakeKeys()
        self.kube = FakeApi()
        self.ledgers = FakeLedgers()
        self.events = Recorder()
        self.restart()

    def restart(self) -> None:
        """Lose what only the process has: the private keys that are not published yet."""
        self.controller = controller_with(
            self.google, KeySecrets(self.kube), self.ledgers, lambda: self.google.now
        )

    @property
    def ring(self) -> KeyRing:
        return self.ledgers.ledger(ACCOUNT).key_ring

    @ring.setter
    def ring(self, ring: KeyRing) -> None:
        self.ledgers.stored[ACCOUNT] = self.ledgers.ledger(ACCOUNT).with_key_ring(ring)

    async def work(self, want: KeyWant) -> tuple[Outcome, KeysSeen]:
        """Reconcile one object."""
        progress = await carried_out(self.controller, want, recorder=self.events)
        return progress.outcome, progress.seen


def key_want(name: str = "checkout", **rotation: Any) -> KeyWant:
    """The keys of an object of this name, delivered in a Secret of that name."""
    obj = declared(secretName=name, rotation=rotation)
    obj = obj.model_copy(update={"metadata": obj.metadata.model_copy(update={"name": name})})
    return replace(wanted(), obj=obj)
