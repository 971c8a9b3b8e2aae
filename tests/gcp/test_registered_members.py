"""Members that Google registers under another address, and deleted ones, through the production clients."""

from collections.abc import AsyncIterator

import pytest

from cloudrun_identity.api import GrantState, TargetKind
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity_playground.emulator.seed import Seed

from .bench import Bench, open_bench

PROJECT = Target(TargetKind.PROJECT, "shop-1234")
SERVICE = Target(TargetKind.SERVICE, "shop-1234", "europe-west1", "web")
ACCOUNT = Target(
    TargetKind.SERVICE_ACCOUNT, "shop-1234", name="old-account@shop-1234.iam.gserviceaccount.com"
)
TARGETS = {PROJECT: "roles/run.viewer", SERVICE: "roles/run.invoker", ACCOUNT: "roles/iam.serviceAccountUser"}
OLD = f"serviceAccount:{ACCOUNT.name}"
JOHN, ALIAS = "user:john.doe@gmail.com", "user:john@acme.com"
OPS, PLATFORM = "group:ops@acme.com", "group:platform@acme.com"
SEED = {
    "strict": True,
    "projects": [
        {
            "projectID": "shop-1234",
            "serviceAccounts": [{"accountID": "old-account"}],
            "services": [{"location": "europe-west1", "name": "web"}],
        }
    ],
}

each_target = pytest.mark.parametrize(("target", "role"), TARGETS.items(), ids=lambda value: str(value))


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with open_bench(Seed.model_validate(SEED)) as bench:
        yield bench


def writes(bench: Bench) -> int:
    return sum(count for rpc, count in bench.emulator.calls.items() if rpc.endswith("/SetIamPolicy"))


@each_target
async def test_alias_is_granted_by_one_write_and_released(bench: Bench, target: Target, role: str) -> None:
    bench.emulator.edit({"principal": JOHN, "aliases": ["john@acme.com"]})
    grant = Grant(target, role, ALIAS)

    for _ in range(3):
        findings = await bench.sync(grant)
        assert findings.states == {ALIAS: GrantState.GRANTED}
        assert not findings.outcomes

    assert bench.members(target, role) == {JOHN}
    assert writes(bench) == 1
    await bench.sync()
    assert bench.members(target, role) == set()


@each_target
async def test_renamed_group_is_granted_without_a_write(bench: Bench, target: Target, role: str) -> None:
    grant = Grant(target, role, OPS)
    await bench.sync(grant)
    bench.emulator.edit({"principal": OPS, "rename": "platform@acme.com"})

    findings = await bench.sync(grant)

    assert findings.states == {OPS: GrantState.GRANTED}
    assert bench.ledger(target).entries[grant].registered_members == (PLATFORM,)
    assert writes(bench) == 1
    await bench.sync()
    assert bench.members(target, role) == set()


async def test_member_beside_an_unknown_alias_is_granted(bench: Bench) -> None:
    bench.emulator.edit({"principal": JOHN, "aliases": ["john@acme.com"]})
    theirs = [{"role": "roles/run.viewer", "member": member} for member in (JOHN, "user:eve@example.com")]
    bench.emulator.edit({"policy": PROJECT.full_name, "add": theirs})
    grants = [Grant(PROJECT, "roles/run.viewer", member) for member in (ALIAS, OPS)]

    for _ in range(3):
        findings = await bench.sync(*grants)
        assert findings.states == {ALIAS: GrantState.REJECTED, OPS: GrantState.GRANTED}

    assert "declare the primary address" in findings.outcome.message
    assert writes(bench) == 1


@each_target
async def test_tombstones_of_undeclared_members_are_released(bench: Bench, target: Target, role: str) -> None:
    grants = [Grant(target, role, member) for member in (JOHN, OPS)]
    await bench.sync(*grants)
    bench.emulator.edit({"principal": OPS, "delete": True})
    [tombstone] = bench.members(target, role) - {JOHN}
    assert tombstone.startswith(f"deleted:{OPS}?uid=")

    await bench.sync(grants[0])

    assert bench.members(target, role) == {JOHN}
    bench.emulator.edit({"principal": OPS, "undelete": True})
    assert bench.members(target, role) == {JOHN}


async def test_tombstone_of_an_undeclared_account_is_replaced(bench: Bench) -> None:
    grant = Grant(PROJECT, "roles/run.viewer", OLD)
    resource = f"//iam.googleapis.com/{ACCOUNT.resource}"
    await bench.sync(grant)
    bench.emulator.edit({"serviceAccount": resource, "delete": True})
    findings = await bench.sync(grant)
    assert findings.states == {OLD: GrantState.REJECTED}
    [tombstone] = bench.members(PROJECT, grant.role)
    assert tombstone.startswith("deleted:")

    bench.emulator.edit({"serviceAccount": resource, "undelete": True})
    findings = await bench.sync(grant)

    assert findings.states == {OLD: GrantState.GRANTED}
    await bench.sync()
    assert bench.members(PROJECT, grant.role) == set()
