"""Grants on a secret that another client deletes and creates again, over the wire."""

from collections.abc import AsyncIterator

import pytest

from cloudrun_identity.api import GrantState
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity_playground.emulator.seed import Seed
from tests.gcp.bench import Bench, open_bench

SECRET = Target.secret("shop", "stripe")
ROLE = "roles/secretmanager.secretAccessor"
READ_SECRET = "google.cloud.secretmanager.v1.SecretManagerService/GetSecret"
SET = "google.cloud.secretmanager.v1.SecretManagerService/SetIamPolicy"
OPS, ANN = (Grant(SECRET, ROLE, member) for member in ("group:ops@example.com", "user:ann@example.com"))
SEED = Seed.model_validate({"projects": [{"projectID": "shop", "secrets": [{"name": "stripe"}]}]})


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with open_bench(SEED) as bench:
        yield bench


def recreate(bench: Bench, *grants: Grant) -> None:
    bench.emulator.edit({"resource": SECRET.full_name, "recreate": True})
    if grants:
        added = [{"role": grant.role, "member": grant.member} for grant in grants]
        bench.emulator.edit({"policy": SECRET.full_name, "add": added})


async def test_declared_grants_are_made_on_the_new_secret(bench: Bench) -> None:
    await bench.sync(OPS)
    first = bench.ledger(SECRET).target_uid
    recreate(bench)

    findings = await bench.sync(OPS)

    assert findings.states == {OPS.member: GrantState.GRANTED}
    assert bench.members(SECRET, ROLE) == {OPS.member}
    assert bench.ledger(SECRET).target_uid != first


async def test_release_leaves_the_grants_on_the_new_secret(bench: Bench) -> None:
    await bench.sync(OPS, ANN)
    recreate(bench, OPS)

    await bench.sync()

    assert bench.members(SECRET, ROLE) == {OPS.member}
    assert bench.ledger(SECRET).is_empty


async def test_creation_time_is_read_only_before_a_write(bench: Bench) -> None:
    await bench.sync(OPS)
    await bench.sync(OPS)
    await bench.sync(OPS, ANN)
    assert bench.emulator.calls[READ_SECRET] == 2


async def test_read_that_does_not_show_the_first_write_is_no_drift(bench: Bench) -> None:
    """The policy had no bindings before, as that of a recreated secret; the unique ID tells them apart."""
    bench.emulator.switches.update({"staleReads": "900s"})
    await bench.sync(OPS)

    again = await bench.sync(OPS, ANN)

    assert again.outcomes == []
    assert bench.drifted == []
    assert bench.emulator.calls[SET] == 2, "no write was based on an old read"
    assert not any(entry.present_before for entry in bench.ledger(SECRET).entries.values())
    await bench.sync()
    assert bench.members(SECRET, ROLE) == set()


async def test_recreated_secret_is_recognized_although_its_policy_equals_the_first(bench: Bench) -> None:
    bench.emulator.switches.update({"staleReads": "900s"})
    await bench.sync(OPS)
    recreate(bench)

    findings = await bench.sync(OPS)

    assert findings.states == {OPS.member: GrantState.GRANTED}
    assert bench.members(SECRET, ROLE) == {OPS.member}


async def test_policy_that_was_reset_is_written_again_after_a_conflict(bench: Bench) -> None:
    """An emulator that restarts forgets the policies and keeps the unique IDs."""
    await bench.sync(OPS)
    first = bench.ledger(SECRET).target_uid
    policies = bench.emulator.cloud.policies
    policies.drop(next(name for name in policies if name.endswith("stripe")))

    findings = await bench.sync(OPS, ANN)

    assert bench.ledger(SECRET).target_uid == first
    assert findings.states == {each.member: GrantState.GRANTED for each in (OPS, ANN)}
    assert bench.members(SECRET, ROLE) == {OPS.member, ANN.member}
