"""The ledger store: reads of stored objects, updates, and writes to the API server."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from cloudrun_identity.api import (
    MAX_MEMBERS,
    MAX_ROLES,
    LedgerAccount,
    LedgerRole,
    Origin,
    RoleState,
    TargetKind,
)
from cloudrun_identity.api.status import GrantState
from cloudrun_identity.iam.expiry import as_granted
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.kube.errors import KubeError, OlderVersion
from cloudrun_identity.kube.resources import Object, Resource
from cloudrun_identity.ledger.elsewhere import ledger_digest
from cloudrun_identity.ledger.limits import LedgerFull
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.ledger.objects import from_object, object_name, to_object
from cloudrun_identity.ledger.store import TRIES, LedgerPruned, Ledgers
from tests.unit.kube.fake_api import FakeApi

from .stored_ledgers import (
    LEDGERS,
    NAMESPACE,
    PROJECT,
    by_another,
    emptied,
    entered,
    grant,
    stored,
    stored_members,
    with_owners,
)

OTHER = Target(TargetKind.PROJECT, "shared")
ACCOUNT = Target(TargetKind.SERVICE_ACCOUNT, "payments", name="checkout@payments.iam.gserviceaccount.com")
RECORD = LedgerAccount(email=ACCOUNT.name, owner="payments/checkout", owner_uid="uid-1")


def test_policy_without_entries_has_an_empty_ledger(ledgers: Ledgers) -> None:
    assert ledgers.ledger(PROJECT) == Ledger.of(PROJECT)
    assert list(ledgers.all()) == []


async def test_first_entry_creates_the_object(api: FakeApi, ledgers: Ledgers) -> None:
    written = await ledgers.update(PROJECT, entered("a"))
    assert written == ledgers.ledger(PROJECT) == entered("a")(Ledger.of(PROJECT))
    assert stored_members(api) == {"user:a@example.com"}


async def test_unchanged_ledger_is_not_written_again(api: FakeApi, ledgers: Ledgers) -> None:
    await ledgers.update(PROJECT, entered("a"))
    await ledgers.update(PROJECT, entered("a"))
    assert api.writes == ["create"]


async def test_times_and_counts_alone_are_not_written(api: FakeApi, ledgers: Ledgers) -> None:
    before = await ledgers.update(PROJECT, entered("a"))
    later = datetime(2030, 1, 1, tzinfo=UTC)
    after = await ledgers.update(
        PROJECT, lambda ledger: ledger.with_sync(unmanaged_members=7, written_at=later)
    )
    assert after == before
    assert api.writes == ["create"]


async def test_times_and_counts_are_written_with_another_change(ledgers: Ledgers) -> None:
    later = datetime(2030, 1, 1, tzinfo=UTC)
    written = await ledgers.update(
        PROJECT, lambda ledger: entered("a")(ledger).with_sync(unmanaged_members=7, written_at=later)
    )
    assert (written.unmanaged_members, written.last_write_time) == (7, later)


async def test_empty_ledger_is_deleted(api: FakeApi, ledgers: Ledgers) -> None:
    await ledgers.update(PROJECT, entered("a"))
    assert await ledgers.update(PROJECT, emptied) == Ledger.of(PROJECT)
    assert api.objects == {}
    assert list(ledgers.all()) == []


async def test_emptying_a_deleted_ledger_is_no_error(api: FakeApi, ledgers: Ledgers) -> None:
    await ledgers.update(PROJECT, entered("a"))
    api.drop(LEDGERS, object_name(PROJECT), NAMESPACE)
    assert await ledgers.update(PROJECT, emptied) == Ledger.of(PROJECT)


async def test_emptying_keeps_an_entry_of_another_writer(api: FakeApi, ledgers: Ledgers) -> None:
    def release_a(ledger: Ledger) -> Ledger:
        return ledger.with_entries({key: ledger.entries[key] for key in ledger.entries if key != grant("a")})

    await ledgers.update(PROJECT, entered("a"))
    api.interferences = [by_another(api, "a", "b")]
    await ledgers.update(PROJECT, release_a)
    assert stored_members(api) == {"user:b@example.com"}


async def test_conflicting_update_is_applied_to_the_newest_ledger(api: FakeApi, ledgers: Ledgers) -> None:
    await ledgers.update(PROJECT, entered("a"))
    api.interferences = [by_another(api, "b")]
    await ledgers.update(PROJECT, entered("c"))
    assert stored_members(api) == {"user:b@example.com", "user:c@example.com"}


async def test_conflicting_create_is_applied_to_the_existing_ledger(api: FakeApi, ledgers: Ledgers) -> None:
    api.interferences = [by_another(api, "b")]
    await ledgers.update(PROJECT, entered("a"))
    assert stored_members(api) == {"user:a@example.com", "user:b@example.com"}


async def test_deleted_ledger_is_created_again(api: FakeApi, ledgers: Ledgers) -> None:
    await ledgers.update(PROJECT, entered("a"))
    api.drop(LEDGERS, object_name(PROJECT), NAMESPACE)
    await ledgers.update(PROJECT, entered("b"))
    assert stored_members(api) == {"user:b@example.com"}


async def test_update_gives_up_after_repeated_conflicts(api: FakeApi, ledgers: Ledgers) -> None:
    await ledgers.update(PROJECT, entered("a"))
    api.interferences = [by_another(api, "b", str(number)) for number in range(TRIES)]
    with pytest.raises(KubeError, match="changed during each of 5 tries"):
        await ledgers.update(PROJECT, entered("c"))


async def test_older_ledger_shows_a_restored_backup(api: FakeApi, ledgers: Ledgers) -> None:
    await ledgers.update(PROJECT, entered("a"))
    backup = dict(api.objects)
    await ledgers.update(PROJECT, entered("b"))
    api.objects = backup
    with pytest.raises(OlderVersion, match="is older than before"):
        await ledgers.update(PROJECT, entered("c"))


async def test_concurrent_updates_of_one_ledger_lose_nothing(api: FakeApi, ledgers: Ledgers) -> None:
    members = [str(number) for number in range(20)]
    await asyncio.gather(*(ledgers.update(PROJECT, entered(member)) for member in members))
    assert stored_members(api) == {f"user:{member}@example.com" for member in members}
    assert api.writes == ["create"] + ["replace"] * 19


async def test_metadata_of_other_clients_is_kept(api: FakeApi, ledgers: Ledgers) -> None:
    await ledgers.update(PROJECT, entered("a"))
    obj = stored(api)
    metadata = {**obj["metadata"], "labels": {"team": "payments"}, "managedFields": [{"manager": "kubectl"}]}
    ledgers.observed(api.put(LEDGERS, {**obj, "metadata": metadata}), deleted=False)
    await ledgers.update(PROJECT, entered("b"))
    assert stored(api)["metadata"]["labels"]["team"] == "payments"
    assert "managedFields" not in stored(api)["metadata"]


async def test_reply_equal_to_the_write_is_not_parsed_again(
    api: FakeApi, ledgers: Ledgers, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ledgers.update(PROJECT, entered("a"))
    monkeypatch.setattr("cloudrun_identity.ledger.store.from_object", None)
    written = await ledgers.update(PROJECT, entered("b"))
    assert written == ledgers.ledger(PROJECT)
    monkeypatch.undo()
    assert written == from_object(stored(api))


@pytest.mark.parametrize("edited", [False, True], ids=["as written", "edited by another client"])
async def test_event_before_the_reply_is_parsed_only_if_it_differs(
    api: FakeApi, ledgers: Ledgers, monkeypatch: pytest.MonkeyPatch, edited: bool
) -> None:
    parsed: list[Object] = []

    def parse(raw: Object) -> Ledger:
        parsed.append(raw)
        return from_object(raw)

    async def replace(resource: Resource, obj: Object) -> Object:
        reply = await write(resource, obj)
        spec = reply["spec"] | ({"bindings": []} if edited else {})
        ledgers.observed({**reply, "spec": spec}, deleted=False)
        return reply

    await ledgers.update(PROJECT, entered("a"))
    write = api.replace
    monkeypatch.setattr(api, "replace", replace)
    monkeypatch.setattr("cloudrun_identity.ledger.store.from_object", parse)
    await ledgers.update(PROJECT, entered("b"))
    assert bool(parsed) is edited
    assert bool(ledgers.ledger(PROJECT).entries) is not edited


async def test_pruned_reply_is_an_error_that_names_the_remedy(api: FakeApi, ledgers: Ledgers) -> None:
    def prune(obj: Object) -> None:
        for binding in obj["spec"]["bindings"]:
            for item in binding["members"]:
                item.pop("owners")

    api.prune = prune
    with pytest.raises(LedgerPruned, match=r"older than this operator: run `cloudrun-identity crds \|"):
        await ledgers.update(PROJECT, entered("a"))


async def test_entry_beyond_the_limit_is_refused(api: FakeApi, ledgers: Ledgers) -> None:
    await ledgers.update(PROJECT, entered(*map(str, range(MAX_MEMBERS))))
    with pytest.raises(LedgerFull, match="would have 1501 members; the limit is 1500"):
        await ledgers.update(PROJECT, entered("one-more"))
    assert api.writes == ["create"]


async def test_full_ledger_records_the_successor_of_a_grant(ledgers: Ledgers) -> None:
    def renewed(ledger: Ledger) -> Ledger:
        former, entry = next(iter(ledger.entries.items()))
        successor = as_granted(former, datetime(2027, 1, 1, tzinfo=UTC), by_google=True)
        return ledger.with_entries({**ledger.entries, successor: entry})

    await ledgers.update(PROJECT, entered(*map(str, range(MAX_MEMBERS))))
    assert len((await ledgers.update(PROJECT, renewed)).entries) == MAX_MEMBERS + 1


async def test_role_beyond_the_limit_is_refused(ledgers: Ledgers) -> None:
    def recorded(count: int) -> Callable[[Ledger], Ledger]:
        role = LedgerRole(
            role_id="role", owner="shop/a", owner_uid="u", origin=Origin.CREATED, state=RoleState.DELETED
        )
        roles = sorted((role.replace(role_id=f"role{number}") for number in range(count)), key=str)
        return lambda ledger: ledger.replace(roles=tuple(roles))

    await ledgers.update(PROJECT, recorded(MAX_ROLES))
    with pytest.raises(LedgerFull, match="would have 301 custom roles; the limit is 300"):
        await ledgers.update(PROJECT, recorded(MAX_ROLES + 1))
    assert len((await ledgers.update(PROJECT, recorded(1))).roles) == 1


async def test_full_ledger_can_change_and_shrink(ledgers: Ledgers) -> None:
    def granted(ledger: Ledger) -> Ledger:
        return ledger.with_entries(
            {key: entry.replace(state=GrantState.GRANTED) for key, entry in ledger.entries.items()}
        )

    def shrunk(ledger: Ledger) -> Ledger:
        return ledger.with_entries(dict(list(ledger.entries.items())[5:]))

    await ledgers.update(PROJECT, entered(*map(str, range(MAX_MEMBERS))))
    full = await ledgers.update(PROJECT, granted)
    assert {entry.state for entry in full.entries.values()} == {GrantState.GRANTED}
    assert len((await ledgers.update(PROJECT, shrunk)).entries) == MAX_MEMBERS - 5


async def test_ledger_too_large_for_etcd_is_refused(ledgers: Ledgers) -> None:
    def swollen(ledger: Ledger) -> Ledger:
        owners = [f"IAMBinding/{'n' * 60}/{number}/{'u' * 36}" for number in range(1_000)]
        return with_owners(ledger, [grant(str(member)) for member in range(10)], owners)

    with pytest.raises(LedgerFull, match="bytes long; the limit is 1048576"):
        await ledgers.update(PROJECT, swollen)


async def test_outage_is_raised_and_changes_nothing(api: FakeApi, ledgers: Ledgers) -> None:
    api.outage = KubeError(0, "Unreachable", "no route")
    with pytest.raises(KubeError, match="no route"):
        await ledgers.update(PROJECT, entered("a"))
    assert ledgers.ledger(PROJECT).is_empty


async def test_fill_reads_the_ledgers_of_an_earlier_process(api: FakeApi, ledgers: Ledgers) -> None:
    await ledgers.update(PROJECT, entered("a"))
    successor = Ledgers(api, NAMESPACE)
    await successor.fill()
    assert list(successor.all()) == [ledgers.ledger(PROJECT)]


async def test_older_events_are_dropped(api: FakeApi, ledgers: Ledgers) -> None:
    await ledgers.update(PROJECT, entered("a"))
    old = stored(api)
    newest = await ledgers.update(PROJECT, entered("b"))
    ledgers.observed(old, deleted=False)
    assert ledgers.ledger(PROJECT) == newest


async def test_late_event_does_not_restore_a_deleted_ledger(api: FakeApi, ledgers: Ledgers) -> None:
    await ledgers.update(PROJECT, entered("a"))
    last = stored(api)
    await ledgers.update(PROJECT, emptied)
    ledgers.observed(last, deleted=False)
    assert ledgers.ledger(PROJECT).is_empty


async def test_late_deletion_does_not_remove_a_recreated_ledger(api: FakeApi, ledgers: Ledgers) -> None:
    await ledgers.update(PROJECT, entered("a"))
    predecessor = stored(api)
    await ledgers.update(PROJECT, emptied)
    successor = await ledgers.update(PROJECT, entered("b"))
    ledgers.observed(predecessor, deleted=True)
    assert ledgers.ledger(PROJECT) == successor


async def test_deletion_by_another_client_reports_the_owners(api: FakeApi, ledgers: Ledgers) -> None:
    await ledgers.update(PROJECT, entered("a"))
    assert ledgers.observed(api.put(LEDGERS, stored(api)), deleted=True) == {"IAMBinding/a/b"}
    assert ledgers.ledger(PROJECT).is_empty


async def test_own_deletion_is_no_loss_whichever_event_comes_first(api: FakeApi, ledgers: Ledgers) -> None:
    await ledgers.update(PROJECT, entered("a"))
    end = {**stored(api), "metadata": {**stored(api)["metadata"], "resourceVersion": "1000"}}
    lost = []
    api.interferences = [lambda: lost.append(ledgers.observed(end, deleted=True))]
    await ledgers.update(PROJECT, emptied)
    lost.append(ledgers.observed(end, deleted=True))
    assert lost == [frozenset(), frozenset()]


async def test_ledgers_of_other_namespaces_are_never_used(api: FakeApi, ledgers: Ledgers) -> None:
    await Ledgers(api, "elsewhere").update(PROJECT, entered("a"))
    (elsewhere,) = api.objects.values()
    ledgers.observed(elsewhere, deleted=False)
    assert list(ledgers.all()) == []
    assert set(ledgers.of_project(PROJECT.project_id).elsewhere) == {"elsewhere"}
    assert ledgers.of_project(PROJECT.project_id).own == {}


async def test_object_is_recorded_elsewhere_until_the_last_ledger_there_is_deleted(
    api: FakeApi, ledgers: Ledgers
) -> None:
    other = Ledgers(api, "elsewhere")
    for target in (PROJECT, OTHER):
        await other.update(target, entered("a"))
    copies = list(api.objects.values())
    for raw in (*copies, *copies):
        ledgers.observed(raw, deleted=False)
    assert ledgers.only_elsewhere("IAMBinding/a/b")
    for raw in copies:
        assert ledgers.only_elsewhere("IAMBinding/a/b")
        ledgers.observed(raw, deleted=True)
    assert not ledgers.only_elsewhere("IAMBinding/a/b")


async def test_object_with_an_account_is_not_recorded_elsewhere_only(api: FakeApi, ledgers: Ledgers) -> None:
    await Ledgers(api, "elsewhere").update(ACCOUNT, lambda ledger: ledger.with_account(RECORD))
    (copy,) = api.objects.values()
    ledgers.observed(copy, deleted=False)
    assert ledgers.only_elsewhere(f"CloudRunIdentity/{RECORD.owner}")
    await ledgers.update(ACCOUNT, lambda ledger: ledger.with_account(RECORD))
    assert not ledgers.only_elsewhere(f"CloudRunIdentity/{RECORD.owner}")


async def test_digest_is_computed_once_and_only_for_a_takeover(
    api: FakeApi, ledgers: Ledgers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A project of another operator is decided about every few seconds, however many ledgers it has."""
    await Ledgers(api, "elsewhere").update(PROJECT, entered("a"))
    (copy,) = api.objects.values()
    ledgers.observed(copy, deleted=False)
    for target in (PROJECT, Target.service_account(PROJECT.project_id, ACCOUNT.name)):
        await ledgers.update(target, entered("a"))
    computed: list[Ledger] = []

    def counted(ledger: Ledger) -> str:
        computed.append(ledger)
        return ledger_digest(ledger)

    monkeypatch.setattr("cloudrun_identity.ledger.stored.ledger_digest", counted)
    found = ledgers.of_project(PROJECT.project_id)
    assert len(found.own) == 2
    assert computed == []
    for _ in range(2):
        assert ledgers.of_project(PROJECT.project_id).not_imported("elsewhere") == ()
    assert [ledger.target for ledger in computed] == [PROJECT]


async def test_copy_under_another_name_is_ignored(api: FakeApi, ledgers: Ledgers) -> None:
    copy = to_object(entered("a")(Ledger.of(PROJECT)), {"name": "my-copy", "namespace": NAMESPACE})
    ledgers.observed(api.put(LEDGERS, copy), deleted=False)
    assert list(ledgers.all()) == []


async def test_subscribers_are_called_once_for_each_change(api: FakeApi, ledgers: Ledgers) -> None:
    heard: list[tuple[Ledger, Ledger]] = []
    ledgers.subscribe(lambda old, new: heard.append((old, new)))
    first = await ledgers.update(PROJECT, entered("a"))
    ledgers.observed(stored(api), deleted=False)
    await ledgers.update(PROJECT, emptied)
    assert heard == [(Ledger.of(PROJECT), first), (first, Ledger.of(PROJECT))]


async def test_accounts_are_found_by_owner_and_email(ledgers: Ledgers) -> None:
    await ledgers.update(ACCOUNT, lambda ledger: ledger.with_account(RECORD))
    await ledgers.update(OTHER, entered("a"))
    assert ledgers.account_of("payments/checkout") == RECORD
    assert ledgers.owner_of(ACCOUNT.name) == RECORD
    known = RECORD.replace(unique_id="42")
    await ledgers.update(ACCOUNT, lambda ledger: ledger.with_account(known))
    assert ledgers.account_of("payments/checkout") == ledgers.owner_of(ACCOUNT.name) == known


async def test_removed_account_record_is_not_found(ledgers: Ledgers) -> None:
    await ledgers.update(ACCOUNT, lambda ledger: ledger.with_account(RECORD))
    await ledgers.update(ACCOUNT, lambda ledger: ledger.with_account(None))
    assert ledgers.account_of("payments/checkout") is None
    assert ledgers.owner_of(ACCOUNT.name) is None


async def test_owner_keeps_its_new_account_when_the_old_record_is_removed(ledgers: Ledgers) -> None:
    successor = Target(TargetKind.SERVICE_ACCOUNT, "payments", name="web@payments.iam.gserviceaccount.com")
    taken = RECORD.replace(email=successor.name)
    await ledgers.update(ACCOUNT, lambda ledger: ledger.with_account(RECORD))
    await ledgers.update(successor, lambda ledger: ledger.with_account(taken))
    await ledgers.update(ACCOUNT, lambda ledger: ledger.with_account(None))
    assert ledgers.account_of("payments/checkout") == taken
