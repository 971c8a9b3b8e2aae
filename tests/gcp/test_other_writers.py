"""Policies that another writer edits around a write whose outcome is unknown, over the wire."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest

from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity_playground.emulator.seed import Seed

from .bench import Bench, open_bench

PROJECT = Target.project("shop-1234")
ROLE = "roles/run.viewer"
GET = "google.cloud.resourcemanager.v3.Projects/GetIamPolicy"
SET = "google.cloud.resourcemanager.v3.Projects/SetIamPolicy"
ANN, BOB, EVE = (Grant(PROJECT, ROLE, f"user:{name}@example.com") for name in ("ann", "bob", "eve"))


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    seed = Seed.model_validate({"strict": True, "projects": [{"projectID": PROJECT.project_id}]})
    async with open_bench(seed) as bench:
        yield bench


def grant(bench: Bench, *grants: Grant) -> None:
    """Grant as another writer."""
    entries = [{"role": each.role, "member": each.member} for each in grants]
    bench.emulator.edit({"policy": PROJECT.full_name, "add": entries})


async def released(bench: Bench) -> set[str]:
    """Release all grants. Return the members that stay."""
    await bench.sync()
    assert not bench.ledger(PROJECT).entries
    return bench.members(PROJECT, ROLE)


async def test_grant_made_between_the_record_and_the_write_stays_theirs(bench: Bench) -> None:
    bench.ledgers.after_update = [lambda: grant(bench, ANN)]
    await bench.sync(ANN, BOB)
    entries = bench.ledger(PROJECT).entries
    assert (entries[ANN].present_before, entries[BOB].present_before) == (True, False)
    assert bench.emulator.calls[SET] == 2
    assert await released(bench) == {ANN.member}


async def test_grant_that_completes_the_declaration_saves_the_second_write(bench: Bench) -> None:
    bench.ledgers.after_update = [lambda: grant(bench, ANN)]
    await bench.sync(ANN)
    assert bench.emulator.calls[SET] == 1
    assert await released(bench) == {ANN.member}


def lose_the_next_write(bench: Bench, *, applied: bool) -> None:
    """Lose the reply of the next write, and deny the read after it."""

    def inject() -> None:
        bench.emulator.faults.inject(SET, grpc.StatusCode.UNAVAILABLE, applied=applied)
        bench.emulator.faults.inject(GET, grpc.StatusCode.PERMISSION_DENIED)

    bench.ledgers.after_update = [inject]


@pytest.mark.parametrize("applied", [True, False])
async def test_write_with_a_lost_reply_is_recognized_by_the_next_sync(bench: Bench, applied: bool) -> None:
    lose_the_next_write(bench, applied=applied)
    await bench.sync(ANN, BOB)
    assert bench.ledger(PROJECT).pending_write
    await bench.sync(ANN, BOB)
    assert bench.members(PROJECT, ROLE) == {ANN.member, BOB.member}
    assert await released(bench) == set()


@pytest.mark.parametrize("other", [ANN, EVE], ids=["one of the grants", "another grant"])
async def test_grant_of_another_writer_after_a_lost_write_stays(bench: Bench, other: Grant) -> None:
    lose_the_next_write(bench, applied=False)
    await bench.sync(ANN, BOB)
    grant(bench, other)
    await bench.sync(ANN, BOB)
    assert await released(bench) == {other.member}


async def test_unprovable_grant_stays_after_a_lost_reply(bench: Bench) -> None:
    lose_the_next_write(bench, applied=True)
    await bench.sync(ANN)
    grant(bench, EVE)
    await bench.sync(ANN)
    assert await released(bench) == {ANN.member, EVE.member}


async def test_read_that_does_not_show_the_own_write_is_no_drift(bench: Bench) -> None:
    """IAM is eventually consistent: https://cloud.google.com/iam/docs/overview#consistency."""
    grant(bench, EVE)
    bench.emulator.switches.update({"staleReads": "900s"})
    await bench.sync(ANN)
    again = await bench.sync(ANN, BOB)

    assert again.outcomes == []
    assert bench.drifted == []
    assert bench.emulator.calls[SET] == 2, "no write was based on an old read"
    assert bench.members(PROJECT, ROLE) == {each.member for each in (ANN, BOB, EVE)}
