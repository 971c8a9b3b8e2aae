"""The ledger store on an API server, with current and with older CRDs."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from cloudrun_identity.api import MAX_MEMBERS, AccountIntent, LedgerAccount, TargetKind
from cloudrun_identity.api.crd import generate
from cloudrun_identity.api.spec import Origin
from cloudrun_identity.api.status import GrantState
from cloudrun_identity.iam.grants import Grant, IAMCondition, Target
from cloudrun_identity.kube.client import KubeClient
from cloudrun_identity.kube.crds import CrdsUnsuitable, check_compatible
from cloudrun_identity.kube.objects import resource
from cloudrun_identity.kube.resources import CUSTOM_RESOURCE_DEFINITIONS
from cloudrun_identity.ledger.model import Ledger, entry_of
from cloudrun_identity.ledger.objects import object_name
from cloudrun_identity.ledger.store import LedgerPruned, Ledgers
from tests.time_budget import time_budget

LEDGERS = resource("PolicyLedger")
PROJECT = Target(TargetKind.PROJECT, "payments-prod-1234")
ACCOUNT = Target(TargetKind.SERVICE_ACCOUNT, "payments", name="checkout@payments.iam.gserviceaccount.com")
CRD_NAME = "policyledgers.cloudrun-identity.dev"

NEW_YEAR = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


def entered(*members: str) -> Callable[[Ledger], Ledger]:
    def change(ledger: Ledger) -> Ledger:
        entries = dict(ledger.entries)
        for member in members:
            grant = Grant(ledger.target, "roles/run.invoker", f"user:{member}@example.com")
            entries[grant] = entry_of(grant, [f"IAMBinding/payments/web/{member}"])
        return ledger.with_entries(entries)

    return change


async def test_every_field_of_a_ledger_is_stored(client: KubeClient, namespace: str) -> None:
    email = ACCOUNT.name
    record = LedgerAccount(
        email=email,
        owner="payments/checkout",
        owner_uid="uid",
        intent=AccountIntent.CREATE,
        origin=Origin.CREATED,
        unique_id="42",
        unique_ids=("41", "42"),
    )
    condition = IAMCondition("office hours", "", "request.time.getHours() < 18")
    grant = Grant(ACCOUNT, "roles/iam.serviceAccountUser", "group:deployers@example.com", condition)
    entry = entry_of(
        grant,
        ["CloudRunIdentity/a/b/c", "IAMBinding/a/b/d"],
        GrantState.GRANTED,
        present_before=True,
        unique_id="42",
    )
    full = Ledger.of(ACCOUNT, {grant: entry}).with_account(record)
    full = full.with_sync(unmanaged_members=3, written_at=NEW_YEAR)
    assert await Ledgers(client, namespace).update(ACCOUNT, lambda _: full) == full
    successor = Ledgers(client, namespace)
    await successor.fill()
    assert list(successor.all()) == [full]


async def test_concurrent_writers_lose_no_entry(client: KubeClient, namespace: str) -> None:
    one, other = Ledgers(client, namespace), Ledgers(client, namespace)
    await asyncio.gather(
        *(
            ledgers.update(PROJECT, entered(f"{number}-{id(ledgers)}"))
            for number in range(3)
            for ledgers in (one, other)
        )
    )
    reader = Ledgers(client, namespace)
    await reader.fill()
    assert len(reader.ledger(PROJECT).entries) == 6


async def test_empty_ledger_is_deleted(client: KubeClient, namespace: str) -> None:
    ledgers = Ledgers(client, namespace)
    await ledgers.update(PROJECT, entered("a"))
    await ledgers.update(PROJECT, lambda ledger: Ledger.of(ledger.target))
    assert await client.list(LEDGERS, namespace) == []


async def test_entry_of_another_writer_is_kept(client: KubeClient, namespace: str) -> None:
    def without_a(ledger: Ledger) -> Ledger:
        kept = {grant: held for grant, held in ledger.entries.items() if "user:a@" not in grant.member}
        return ledger.with_entries(kept)

    stale, other = Ledgers(client, namespace), Ledgers(client, namespace)
    await stale.update(PROJECT, entered("a"))
    await other.fill()
    await other.update(PROJECT, entered("b"))
    left = await stale.update(PROJECT, without_a)
    assert [grant.member for grant in left.entries] == ["user:b@example.com"]


async def test_restored_ledger_is_recognized(client: KubeClient, namespace: str) -> None:
    """A backup that is written over the ledger, or created again, has another generation than it says."""
    ledgers = Ledgers(client, namespace)
    await ledgers.update(PROJECT, entered("a"))
    await ledgers.update(PROJECT, entered("b"))
    backup = await client.get(LEDGERS, object_name(PROJECT), namespace)
    await ledgers.update(PROJECT, entered("c"))
    assert not ledgers.ledger(PROJECT).restored

    newest = (await client.get(LEDGERS, object_name(PROJECT), namespace))["metadata"]
    await client.replace(LEDGERS, {**backup, "metadata": newest})
    assert await restored(client, namespace)
    await client.delete(LEDGERS, object_name(PROJECT), namespace)
    metadata = {"name": backup["metadata"]["name"], "namespace": namespace}
    await client.create(LEDGERS, {**backup, "metadata": metadata})
    assert await restored(client, namespace)

    successor = Ledgers(client, namespace)
    await successor.fill()
    await successor.update(PROJECT, entered("d"))
    assert await restored(client, namespace), "only a comparison with the policy ends it"
    await successor.update(PROJECT, lambda ledger: ledger.replace(restored=False))
    assert not await restored(client, namespace)


async def test_restored_ledger_of_an_equal_generation_is_recognized(
    client: KubeClient, namespace: str
) -> None:
    """Since the backup, the ledger was deleted and created again, so its generation began again."""
    ledgers, name = Ledgers(client, namespace), object_name(PROJECT)
    for member in ("a", "b", "c"):
        await ledgers.update(PROJECT, entered(member))
    backup = await client.get(LEDGERS, name, namespace)
    await ledgers.update(PROJECT, lambda ledger: Ledger.of(ledger.target))
    for member in ("d", "e"):
        await ledgers.update(PROJECT, entered(member))

    newest = (await client.get(LEDGERS, name, namespace))["metadata"]
    written = await client.replace(LEDGERS, {**backup, "metadata": newest})
    assert written["metadata"]["generation"] == written["spec"]["writtenGeneration"]
    assert await restored(client, namespace)


async def restored(client: KubeClient, namespace: str) -> bool:
    """Return whether an operator that starts now takes the ledger for a restored one."""
    ledgers = Ledgers(client, namespace)
    await ledgers.fill()
    return ledgers.ledger(PROJECT).restored


async def test_full_ledger_is_accepted(client: KubeClient, namespace: str) -> None:
    written = await Ledgers(client, namespace).update(PROJECT, entered(*map(str, range(MAX_MEMBERS))))
    assert len(written.entries) == MAX_MEMBERS


async def test_object_has_the_columns_of_kubectl(client: KubeClient, namespace: str) -> None:
    await Ledgers(client, namespace).update(PROJECT, entered("a"))
    spec = (await client.get(LEDGERS, object_name(PROJECT), namespace))["spec"]
    assert spec["target"]["text"] == "Project payments-prod-1234"
    assert spec["grantCounts"]["pending"] == 1


async def test_older_crds_are_detected(client: KubeClient, namespace: str) -> None:
    async with older_ledger_crd(client):
        with pytest.raises(CrdsUnsuitable, match=r"has no \.spec\.bindings\[\]\.members\[\]\.owners"):
            await check_compatible(client)
        with pytest.raises(LedgerPruned, match="older than this operator"):
            async with time_budget():
                await write_until_refused(client, namespace)
    await check_compatible(client)
    async with time_budget():
        await write_until_kept(client, namespace)


@asynccontextmanager
async def older_ledger_crd(client: KubeClient) -> AsyncIterator[None]:
    """Serve a schema without the owners of a member meanwhile."""
    older = generate()["PolicyLedger"]["spec"]
    bindings = older["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"][
        "bindings"
    ]
    del bindings["items"]["properties"]["members"]["items"]["properties"]["owners"]
    await client.patch(CUSTOM_RESOURCE_DEFINITIONS, CRD_NAME, "", {"spec": older})
    try:
        yield
    finally:
        await client.patch(
            CUSTOM_RESOURCE_DEFINITIONS, CRD_NAME, "", {"spec": generate()["PolicyLedger"]["spec"]}
        )


async def write_until_refused(client: KubeClient, namespace: str) -> None:
    """Write until the server uses the older schema, which takes a moment."""
    ledgers = Ledgers(client, namespace)
    for number in range(10_000):
        await ledgers.update(PROJECT, entered(str(number % 100)))
        await ledgers.update(PROJECT, lambda ledger: Ledger.of(ledger.target))


async def write_until_kept(client: KubeClient, namespace: str) -> None:
    """Write until the server uses the current schema again."""
    ledgers = Ledgers(client, namespace)
    await ledgers.fill()
    for number in range(10_000):
        try:
            await ledgers.update(PROJECT, entered(f"kept-{number}"))
        except LedgerPruned:
            continue
        return
