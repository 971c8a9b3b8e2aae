"""Rotations under slow calls and concurrent objects, which tests/gcp/test_key_rotation.py cannot show."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from cloudrun_identity.api import LedgerKeyAttempt
from cloudrun_identity.controllers.identity_key.actions import CreateKey, DeleteKey, ForgetKeys
from cloudrun_identity.controllers.identity_key.key_state import Rotation
from cloudrun_identity.controllers.identity_key.plan import LAG, SETTLE, plan
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.listed_keys import ListedKey
from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.ledger.keys import KeyRing
from cloudrun_identity.reconcile.outcomes import InSync
from cloudrun_identity.reconcile.progress import carry_out
from cloudrun_identity.reconcile.steps import Wait
from tests.unit.controllers.agreement import RecordingExecutor
from tests.unit.controllers.carry_out import Releases
from tests.unit.controllers.cluster_state import EMAIL, record
from tests.unit.controllers.identity_key.fake_keys import PRIVATE, Process, key_want, nothing
from tests.unit.controllers.identity_key.key_bench import ACCOUNT, DAY, NOON

QUEUE = timedelta(minutes=10)
ASKED = {"generation": 1}


class Killed(Exception):
    """The process ended."""


@pytest.fixture
def process() -> Process:
    return Process()


async def test_a_key_is_recorded_with_the_time_after_the_quota_delay(process: Process) -> None:
    process.google.queue = QUEUE

    outcome, _ = await process.work(key_want())

    (record,) = process.ring.of("payments/checkout")
    assert record.created_time == NOON + QUEUE
    assert outcome == InSync(after=(30 * DAY).total_seconds())


@pytest.mark.parametrize(("age", "propagating"), [(60, True), (121, False)])
async def test_account_that_is_not_found_is_propagating_while_it_is_new(
    process: Process, age: int, propagating: bool
) -> None:
    account = record(appeared_time=NOON - timedelta(seconds=age))
    process.ledgers.stored[ACCOUNT] = process.ledgers.ledger(ACCOUNT).with_account(account)
    process.google.faults = [Fault.NOT_FOUND]

    with pytest.raises(GoogleError) as raised:
        await process.work(key_want())

    assert raised.value.propagating is propagating
    assert process.ring == KeyRing(), "no attempt is left behind"


async def test_the_next_key_settles_from_its_creation(process: Process) -> None:
    await process.work(key_want())
    process.google.queue = QUEUE

    outcome, seen = await process.work(key_want(**ASKED))

    assert seen.secret is not None
    assert seen.secret.key_id == "k1", "Google may not know the other one everywhere"
    assert getattr(outcome, "after", None) == SETTLE.total_seconds()


async def test_an_attempt_begins_when_the_request_is_sent(process: Process) -> None:
    """So that a process that dies in the queue of the quota leaves no key to be looked for."""
    process.google.queue = QUEUE

    def die() -> None:
        assert process.ring == KeyRing()
        raise Killed

    process.google.while_waiting = die
    with pytest.raises(Killed):
        await process.work(key_want())

    assert process.ring == KeyRing()


async def test_a_key_created_during_the_delay_is_not_a_stray(process: Process) -> None:
    process.google.while_waiting = lambda: process.google.keys.update(theirs=ListedKey("theirs", NOON))
    attempts = []
    update = process.ledgers.update

    async def noted(target: Any, change: Any) -> Any:
        ledger = await update(target, change)
        attempts.append(ledger.key_ring.attempt)
        return ledger

    process.ledgers.update = noted
    await process.work(key_want())

    assert attempts[0] is not None
    assert attempts[0].known == ("theirs",)


async def test_a_stray_key_is_deleted_and_reported(
    process: Process,
) -> None:
    attempt = LedgerKeyAttempt(owner="payments/checkout", time=NOON - LAG, known=frozenset())
    process.ring = KeyRing(attempt=attempt)
    process.google.keys["theirs"] = ListedKey("theirs", NOON - LAG)
    await process.work(key_want())
    assert "theirs" not in process.google.keys
    assert process.events.reasons == ["StrayKeyDeleted", "KeyPublished"]
    assert process.events.messages[0].startswith(f"key theirs of {EMAIL} is deleted: ")


async def test_a_forgotten_key_is_dropped_from_memory(process: Process) -> None:
    await process.work(key_want())
    await process.work(key_want(**ASKED))
    remembered = process.ring
    seen = await process.controller.observe(key_want(), 0.0)
    await process.controller.execute(ForgetKeys(""), key_want(), seen)
    assert process.ring == KeyRing()

    process.ring = remembered
    seen = await process.controller.observe(key_want(), 0.0)
    (step,) = plan(key_want(), seen).actions
    assert isinstance(step, DeleteKey)
    assert step.key_id == "k2", "its private key is lost"


async def test_a_published_key_is_reported_once(process: Process) -> None:
    await process.work(key_want())
    await process.work(key_want())
    assert (process.events.reasons, process.events.messages) == (
        ["KeyPublished"],
        ["Secret checkout has key k1"],
    )


async def test_objects_of_one_account_take_turns(process: Process) -> None:
    await asyncio.gather(*(process.work(key_want(name)) for name in ("a", "b", "c")))

    assert process.google.most_under_way == 1
    assert process.ring.owners == {"payments/a", "payments/b", "payments/c"}
    assert len({process.ring.of(owner)[0].id for owner in process.ring.owners}) == 3


def test_the_rotation_is_that_of_the_spec() -> None:
    declared = key_want(period="48h", overlap="1h", generation=3, requireUnused=True, maxOverlap="72h")
    assert declared.rotation == Rotation(
        2 * DAY, timedelta(hours=1), generation=3, require_unused=True, max_overlap=3 * DAY
    )


async def test_a_creation_under_way_is_not_taken_for_interrupted(process: Process) -> None:
    """Otherwise the other object would delete the key as a stray, if the clock jumps meanwhile."""
    steps: list[object] = []

    async def observe() -> None:
        process.google.now += 2 * LAG
        process.google.while_creating = nothing
        want = key_want("other")
        seen = await process.controller.observe(want, 0.0)
        steps.extend(plan(want, seen).steps)

    process.google.while_creating = observe
    await process.work(key_want())

    assert [type(step) for step in steps] == [CreateKey]
    assert list(process.google.keys) == ["k1"]


async def test_an_action_planned_on_older_records_is_not_executed(process: Process) -> None:
    other = key_want("other")
    seen = await process.controller.observe(other, 0.0)
    (create,) = plan(other, seen).actions
    await process.work(key_want())

    executed = await process.controller.execute(create, other, seen)

    assert not executed.written
    assert executed.outcome is None
    assert executed.seen.ring == process.ring
    assert set(executed.seen.listed) == set(process.google.keys) == {"k1"}
    again = await process.controller.execute(create, other, executed.seen)
    assert again.written
    assert set(process.google.keys) == {"k1", "k2"}


async def test_an_interrupted_creation_keeps_its_record_for_other_objects(process: Process) -> None:
    """An object that planned before must not replace the record of the attempt by its own."""
    other = key_want("other")
    seen = await process.controller.observe(other, 0.0)
    (create,) = plan(other, seen).actions
    process.google.faults = [Fault.UNAVAILABLE]
    with pytest.raises(GoogleError):
        await process.work(key_want())

    executed = await process.controller.execute(create, other, seen)

    assert not executed.written
    attempt = process.ring.attempt
    assert attempt is not None
    assert attempt.owner == "payments/checkout"
    assert isinstance(plan(other, executed.seen).steps[0], Wait)
    process.google.now += LAG
    await process.work(other)
    assert set(process.google.keys) == {record.id for record in process.ring.records.values()}


async def test_a_stale_action_is_neither_logged_nor_reported(process: Process) -> None:
    first, second = key_want("a"), key_want("b")
    await asyncio.gather(process.work(first), process.work(second))
    assert sorted(process.events.messages) == ["Secret a has key k1", "Secret b has key k2"]


async def test_a_deleted_account_has_no_keys_to_retire(process: Process) -> None:
    await process.work(key_want())
    process.google.deleted = True
    outcome, _ = await process.work(replace(key_want(), deletes=True))
    assert outcome == InSync()
    assert process.ring == KeyRing()
    assert process.kube.objects == {}


async def test_an_object_without_account_only_deletes_its_secret(process: Process) -> None:
    await process.work(key_want())
    process.google.deleted = True
    outcome, _ = await process.work(replace(key_want(), account=None, unique_id="", deletes=True))
    assert outcome == InSync()
    assert process.kube.objects == {}


async def test_no_private_key_is_in_a_step_a_log_or_an_error(
    process: Process, caplog: pytest.LogCaptureFixture
) -> None:
    executor, want = RecordingExecutor(), key_want()
    shown: list[object] = []

    def refuse() -> None:
        raise KubeError(409, "Conflict", PRIVATE)

    process.kube.interferences = [refuse]
    with caplog.at_level("DEBUG"):
        for _ in range(2):
            seen = await process.controller.observe(want, 0.0)
            shown += [seen, plan(want, seen)]
            manage = carry_out(
                process.controller, executor, want.obj, want, seen, release=Releases(), now=lambda: NOON
            )
            try:
                shown.append(await manage)
            except KubeError as error:
                shown += [error, *error.args]
    shown += [*executor.executed, process.ring, caplog.text]

    assert [type(action).__name__ for action in executor.executed] == [
        "CreateKey",
        "PublishKey",
        "PublishKey",
        "PromoteKey",
    ]
    assert "hush" not in " ".join(map(repr, shown))
