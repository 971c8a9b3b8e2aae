"""What the life of keys on the emulator (tests/gcp/test_key_rotation.py) cannot show: how long calls take."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from cloudrun_identity.api import LedgerKeyAttempt
from cloudrun_identity.controllers.identity_key.plan import LAG, SETTLE, Delete, Rotation
from cloudrun_identity.controllers.identity_key.rotation import KeyRotation
from cloudrun_identity.controllers.identity_key.use import KeyUse
from cloudrun_identity.gcp.keys import NewKey
from cloudrun_identity.iam.listed_keys import ListedKey
from cloudrun_identity.kube.secrets import KeySecrets
from cloudrun_identity.ledger.keys import KeyRing
from cloudrun_identity.reconcile.outcomes import InSync
from tests.unit.controllers.cluster_state import EMAIL
from tests.unit.controllers.identity_key.key_bench import (
    ACCOUNT,
    DAY,
    NOON,
    Events,
    declared,
    event_reporter,
    wanted,
)
from tests.unit.kube.fake_api import FakeApi
from tests.unit.policy.fakes import FakeLedgers

QUEUE = timedelta(minutes=10)
ASKED = {"generation": 1}


class Killed(Exception):  # noqa: N818 - it names what happened
    """The process ended."""


class SlowGoogle:
    """The keys of one account, where the quota has every create wait for `queue`."""

    def __init__(self) -> None:
        self.now = NOON
        self.queue = timedelta()
        self.keys: dict[str, ListedKey] = {}
        self.under_way = 0
        self.most_under_way = 0
        self.while_waiting: Callable[[], None] = lambda: None

    async def list(self, project_id: str, account: str, max_age: float) -> Mapping[str, ListedKey]:
        return dict(self.keys)

    async def delete(self, project_id: str, account: str, key_id: str) -> None:
        del self.keys[key_id]

    async def create(self, project_id: str, account: str, before: Callable[[], Awaitable[None]]) -> NewKey:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await asyncio.sleep(0)
        self.now += self.queue
        self.while_waiting()
        await before()
        made = ListedKey(f"k{len(self.keys) + 1}", self.now)
        self.keys[made.key_id] = made
        self.under_way -= 1
        return NewKey(made, json.dumps({"private_key_id": made.key_id}).encode())


class Scene:
    """A process that has keys made."""

    def __init__(self) -> None:
        self.google = SlowGoogle()
        self.ledgers = FakeLedgers()
        self.events = Events()
        keys: Any = self.google  # as much of it as is asked for here
        self.rotation = KeyRotation(
            keys,
            KeySecrets(FakeApi()),
            self.ledgers,
            event_reporter(self.events),
            lambda: self.google.now,
            lambda step: None,
        )

    @property
    def ring(self) -> KeyRing:
        return self.ledgers.ledger(ACCOUNT).key_ring


@pytest.fixture
def scene() -> Scene:
    return Scene()


def use(name: str = "checkout", **rotation: Any) -> KeyUse:
    """What an object of this name has of the account, delivered in a Secret of that name."""
    obj = declared(secretName=name, rotation=rotation)
    obj = obj.model_copy(update={"metadata": obj.metadata.model_copy(update={"name": name})})
    return replace(wanted()[1].use, obj=obj)


async def test_a_key_is_recorded_as_old_as_it_is_however_long_the_quota_had_it_wait(scene: Scene) -> None:
    scene.google.queue = QUEUE

    outcome, _ = await scene.rotation.advance(use())

    (record,) = scene.ring.of("payments/checkout")
    assert record.created_time == NOON + QUEUE
    assert outcome == InSync(after=(30 * DAY).total_seconds())


async def test_the_next_key_settles_from_its_create_on(scene: Scene) -> None:
    await scene.rotation.advance(use())
    scene.google.queue = QUEUE

    outcome, seen = await scene.rotation.advance(use(**ASKED))

    assert seen.secret is not None
    assert seen.secret.key_id == "k1", "Google may not know the other one everywhere"
    assert getattr(outcome, "after", None) == SETTLE.total_seconds()


async def test_an_attempt_begins_when_the_request_is_sent(scene: Scene) -> None:
    """So that a process that dies in the queue of the quota leaves no key to be looked for."""
    scene.google.queue = QUEUE

    def die() -> None:
        assert scene.ring == KeyRing()
        raise Killed

    scene.google.while_waiting = die
    with pytest.raises(Killed):
        await scene.rotation.advance(use())

    assert scene.ring == KeyRing()


async def test_what_somebody_makes_meanwhile_is_known_to_be_no_stray(scene: Scene) -> None:
    scene.google.while_waiting = lambda: scene.google.keys.update(theirs=ListedKey("theirs", NOON))
    attempts = []
    update = scene.ledgers.update

    async def noted(target: Any, change: Any) -> Any:
        ledger = await update(target, change)
        attempts.append(ledger.key_ring.attempt)
        return ledger

    scene.ledgers.update = noted
    await scene.rotation.advance(use())

    assert attempts[0] is not None
    assert attempts[0].known == ("theirs",)


async def test_a_key_that_is_taken_for_a_stray_is_deleted_and_whoever_made_it_hears_of_it(
    scene: Scene,
) -> None:
    attempt = LedgerKeyAttempt(owner="payments/checkout", time=NOON - LAG, known=frozenset())
    scene.ledgers.stored[ACCOUNT] = scene.ledgers.ledger(ACCOUNT).with_key_ring(KeyRing(attempt=attempt))
    scene.google.keys["theirs"] = ListedKey("theirs", NOON - LAG)
    await scene.rotation.advance(use())
    assert "theirs" not in scene.google.keys
    assert [reason for reason, _ in scene.events.told] == ["StrayKeyDeleted", "KeyPublished"]
    assert scene.events.told[0][1].startswith(f"key theirs of {EMAIL} is deleted: ")


async def test_of_what_is_forgotten_nothing_is_kept_in_memory_either(scene: Scene) -> None:
    await scene.rotation.advance(use())
    await scene.rotation.advance(use(**ASKED))
    remembered = scene.ledgers.ledger(ACCOUNT)
    await scene.rotation.forget(use())
    assert scene.ring == KeyRing()

    scene.ledgers.stored[ACCOUNT] = remembered
    seen = await scene.rotation.look(use(), 0.0)
    assert scene.rotation.next_step(use(), seen) == Delete("k2"), "nobody could publish it"


async def test_it_is_told_when_the_secret_has_another_key(scene: Scene) -> None:
    await scene.rotation.advance(use())
    await scene.rotation.advance(use())
    assert scene.events.told == [("KeyPublished", "Secret checkout has key k1")]


async def test_objects_of_one_account_take_turns(scene: Scene) -> None:
    await asyncio.gather(*(scene.rotation.advance(use(name)) for name in ("a", "b", "c")))

    assert scene.google.most_under_way == 1
    assert scene.ring.owners == {"payments/a", "payments/b", "payments/c"}
    assert len({scene.ring.of(owner)[0].id for owner in scene.ring.owners}) == 3


def test_an_object_rotates_as_it_says() -> None:
    assert use(period="48h", overlap="1h", generation=3).rotation == Rotation(
        2 * DAY, timedelta(hours=1), generation=3
    )
