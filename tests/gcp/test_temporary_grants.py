"""Temporary grants over the wire: release, renewal, and the limit on conditions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from cloudrun_identity.api import GrantState, TargetKind
from cloudrun_identity.gcp.policies import Policies
from cloudrun_identity.iam.expiry import Expiry, as_granted, timestamp
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.policy.capacity import MAX_CONDITIONS
from cloudrun_identity.policy.desired_grants import DesiredGrant, Temporary
from cloudrun_identity.reconcile.outcomes import Refused
from cloudrun_identity_playground.emulator.seed import Seed
from cloudrun_identity_playground.emulator.snapshot import snapshot
from tests.unit.policy.fakes import NOON

from .bench import Bench, open_bench

PROJECT = Target(TargetKind.PROJECT, "shop-1234")
ROLE, ANN = "roles/run.viewer", "user:ann@example.com"
GRANT = Grant(PROJECT, ROLE, ANN)
HOUR = timedelta(hours=1)
SET_PROJECT = "google.cloud.resourcemanager.v3.Projects/SetIamPolicy"


def conditional(number: int) -> dict[str, object]:
    condition = {
        "title": f"c{number}",
        "expression": f"request.time < timestamp('20{number}-01-01T00:00:00Z')",
    }
    return {"role": ROLE, "members": [ANN], "condition": condition}


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with open_bench(Seed.model_validate({"projects": [{"projectID": "shop-1234"}]})) as bench:
        yield bench


def lasting(hours: int) -> DesiredGrant:
    return DesiredGrant(GRANT, temporary=Temporary(GRANT, Expiry(duration=hours * HOUR)))


def by_google(hours: int) -> DesiredGrant:
    end = NOON + hours * HOUR
    grant = as_granted(GRANT, end, by_google=True)
    return DesiredGrant(grant, temporary=Temporary(GRANT, Expiry(expires_at=end, by_google=True), start=NOON))


def expressions(bench: Bench) -> list[str]:
    """Return the expressions of the conditions under which Ann has the role; empty for no condition."""
    bindings = snapshot(bench.emulator.cloud)["policies"].get(PROJECT.resource, {}).get("bindings", ())
    return [
        each.get("condition", {}).get("expression", "")
        for each in bindings
        if each["role"] == ROLE and ANN in each["members"]
    ]


def until(hours: int) -> str:
    return f'request.time < timestamp("{timestamp(NOON + hours * HOUR)}")'


async def test_grant_is_present_until_its_end_and_absent_from_then_on(bench: Bench) -> None:
    assert (await bench.sync(lasting(2))).states == {ANN: GrantState.GRANTED}
    bench.now = NOON + 2 * HOUR - timedelta(seconds=1)
    assert (await bench.sync(lasting(2))).states == {ANN: GrantState.GRANTED}

    bench.now = NOON + 2 * HOUR
    assert (await bench.sync(lasting(2))).states == {ANN: GrantState.EXPIRED}

    assert expressions(bench) == []
    assert not bench.ledger(PROJECT).entries
    [record] = bench.ledger(PROJECT).temporary_grants
    assert (record.start_time, record.granted) == (NOON, True)


async def test_repair_of_a_lost_grant_does_not_extend_it(bench: Bench) -> None:
    await bench.sync(lasting(2))
    bench.now = NOON + HOUR
    policies = Policies(bench.clients)
    lost = await policies.get(PROJECT)
    del lost.bindings[:]
    await policies.set(PROJECT, lost)

    await bench.sync(lasting(2))
    assert expressions(bench) == [""]

    [record] = bench.ledger(PROJECT).temporary_grants
    assert record.expires_at == NOON + 2 * HOUR


async def test_new_end_replaces_the_condition(bench: Bench) -> None:
    await bench.sync(by_google(2))
    assert expressions(bench) == [until(2)]

    await bench.sync(by_google(3))

    assert expressions(bench) == [until(3)]
    assert len(bench.ledger(PROJECT).entries) == 1


async def test_twenty_first_condition_is_refused_before_it_is_written() -> None:
    project = {"projectID": "shop-1234", "policy": [conditional(number) for number in range(40, 60)]}
    async with open_bench(Seed.model_validate({"projects": [project]})) as bench:
        found = await bench.sync(by_google(2))

        assert isinstance(found.outcome, Refused)
        assert "20 bindings of roles/run.viewer for user:ann@example.com" in found.outcome.message
        assert "expiryEnforcedBy: Operator" in found.outcome.message
        assert not bench.emulator.calls[SET_PROJECT]


async def test_renewal_at_the_limit_replaces_the_condition_in_one_write() -> None:
    project = {"projectID": "shop-1234", "policy": [conditional(number) for number in range(40, 59)]}
    async with open_bench(Seed.model_validate({"projects": [project]})) as bench:
        await bench.sync(by_google(2))
        assert len(expressions(bench)) == MAX_CONDITIONS
        writes = bench.emulator.calls[SET_PROJECT]

        found = await bench.sync(by_google(3))

        assert not found.outcomes
        assert bench.emulator.calls[SET_PROJECT] == writes + 1
        assert len(expressions(bench)) == MAX_CONDITIONS
        assert until(3) in expressions(bench)
        assert until(2) not in expressions(bench)


async def test_grant_stays_at_each_sync_while_google_refuses_its_new_end() -> None:
    project = {"projectID": "shop-1234", "policy": [conditional(number) for number in range(40, 60)]}
    async with open_bench(Seed.model_validate({"projects": [project]})) as bench:
        await bench.sync(lasting(2))
        for _ in range(3):
            found = await bench.sync(by_google(3))

            assert any(isinstance(each, Refused) for each in found.outcomes)
            assert "" in expressions(bench), "the member has the role at every moment"
