"""Audit of an account: the locations that are listed, the keys, and the projects that may use it."""

from datetime import UTC, datetime
from typing import Any

import pytest

from cloudrun_identity.api import IdentityAttachment, KeyState, LedgerKey, LedgerKeyAttempt, TargetKind
from cloudrun_identity.controllers.cloud_run_identity.audit import Audit, IdentityAuditor, unmanaged_keys
from cloudrun_identity.controllers.cloud_run_identity.places import Place
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.gcp.permission_checks import AccessState
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.listed_keys import ListedKey
from cloudrun_identity.ledger.keys import KeyRing
from cloudrun_identity.reconcile.cluster_state import ObjectKey, identity_key
from tests.unit.controllers.cloud import PROJECT_ID, FakeRun, FakeServiceAccounts, fault, inventory
from tests.unit.controllers.cluster_state import EMAIL, FakeClusterState, identity, parsed, project, record

from .test_observation import ATTACHMENT, RUN_PROJECT

ACCOUNT = Target(TargetKind.SERVICE_ACCOUNT, PROJECT_ID, name=EMAIL)
USABLE: dict[str, Any] = {"usableFrom": [{"projectRef": {"name": "run-prod"}}]}


class FakeAccess:
    """An operator that may act as every account; `asked` are the projects that it was asked about."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def operator_access(
        self, permission: str, target: Target, acting_in: str, max_age: float
    ) -> AccessState:
        self.asked.append(acting_in)
        return AccessState.GRANTED


class FakeKeys:
    """An account with one key."""

    async def list(self, project_id: str, account: str, max_age: float) -> dict[str, ListedKey]:
        if account != "111":
            raise fault(Fault.NOT_FOUND)
        return {"k1": ListedKey("k1", datetime(2026, 1, 1, tzinfo=UTC))}


async def audit(
    run: FakeRun,
    access: FakeAccess,
    *objects: Any,
    used_in: tuple[str, ...] = (),
    elsewhere: frozenset[str] = frozenset(),
    **spec: Any,
) -> Audit:
    obj = identity(**spec)
    cluster = FakeClusterState(obj, *objects, accounts=[record(used_in=used_in)])
    attachments = {ObjectKey.of(each) for each in objects if isinstance(each, IdentityAttachment)}
    cluster.references = {identity_key("payments", "checkout"): attachments}
    cluster.operated_elsewhere = elsewhere
    auditor = IdentityAuditor(
        inventory(FakeServiceAccounts(), run, lambda: 1000.0),
        access,
        FakeKeys(),
    )
    return await auditor.audit(obj, ACCOUNT, "111", [], cluster, 60.0)


async def test_workloads_are_listed_wherever_the_identity_may_be_used() -> None:
    run = FakeRun()
    run.services = {("europe-west1", "web"): EMAIL, ("asia-east1", "web"): "other@acme.example"}
    delegated = project(locations=["europe-west1"])
    found = await audit(run, FakeAccess(), delegated, parsed(RUN_PROJECT), parsed(ATTACHMENT), **USABLE)
    assert run.looked_at == {
        (PROJECT_ID, "europe-west1"),
        ("run-prod-5678", "us-east1"),
        ("run-prod-5678", "asia-east1"),
    }
    (workload,) = found.attached_to
    assert (workload.project_id, workload.location, workload.name) == (PROJECT_ID, "europe-west1", "web")


async def test_location_that_cannot_be_read_is_reported() -> None:
    run = FakeRun()
    run.services = {("europe-west1", "web"): EMAIL}
    run.unreadable = {"us-east1"}
    found = await audit(run, FakeAccess(), project(locations=["europe-west1", "us-east1"]))
    assert len(found.attached) == 1
    assert found.unreadable
    assert all("us-east1" in each for each in found.unreadable)


FORMERLY_USED: dict[str, Any] = {"used_in": ("run-prod-5678/us-east1", "run-prod-5678/us-west1")}


async def test_recorded_place_is_vacant_if_it_was_read_and_nothing_runs_there() -> None:
    run = FakeRun()
    run.services = {("us-west1", "web"): EMAIL}
    found = await audit(run, FakeAccess(), project(), parsed(RUN_PROJECT), **FORMERLY_USED)
    assert found.vacant == {Place("run-prod-5678", "us-east1")}
    assert len(found.attached) == 1
    run.unreadable = {"us-east1"}
    assert not (await audit(run, FakeAccess(), project(), parsed(RUN_PROJECT), **FORMERLY_USED)).vacant


@pytest.mark.parametrize(
    ("closed", "elsewhere"), [({"suspend": True}, frozenset()), ({}, frozenset({"run-prod"}))]
)
async def test_nothing_is_read_in_a_project_that_is_suspended_or_of_another_operator(
    closed: dict[str, Any], elsewhere: frozenset[str]
) -> None:
    run, other = FakeRun(), parsed(RUN_PROJECT, **closed)
    found = await audit(run, FakeAccess(), project(), other, elsewhere=elsewhere, **FORMERLY_USED)
    assert "run-prod-5678" not in {project_id for project_id, _ in run.looked_at}
    assert not found.vacant


async def test_operator_identity_is_checked_in_each_usable_project() -> None:
    access = FakeAccess()
    found = await audit(FakeRun(), access, project(), parsed(RUN_PROJECT), **USABLE)
    assert access.asked == ["run-prod-5678"]
    assert found.may_act == {"run-prod": AccessState.GRANTED}
    closed = parsed(RUN_PROJECT, namespaces={})
    assert (await audit(FakeRun(), access, project(), closed, **USABLE)).may_act == {}


async def test_keys_are_listed_unless_the_spec_ignores_them() -> None:
    found = await audit(FakeRun(), FakeAccess(), project())
    assert isinstance(found.keys, tuple)
    assert [key.id for key in found.keys] == ["k1"]
    ignored = await audit(FakeRun(), FakeAccess(), project(), unmanagedKeys="Ignore")
    assert ignored.keys is None


NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
OLD = ListedKey("old", datetime(2025, 3, 1, tzinfo=UTC))
NEW = ListedKey("new", NEW_YEAR)
LISTED = {"new": NEW, "old": OLD}


def ring(state: KeyState = KeyState.ACTIVE, attempt: LedgerKeyAttempt | None = None) -> KeyRing:
    return KeyRing(
        {"new": LedgerKey(id="new", owner="payments/checkout", state=state, created_time=NEW_YEAR)}, attempt
    )


def ids(known: KeyRing, existing: frozenset[str] = frozenset({"payments/checkout"})) -> list[str]:
    return [key.id for key in unmanaged_keys(LISTED, known, existing.__contains__)]


def test_keys_without_a_record_are_unmanaged_oldest_first() -> None:
    assert ids(KeyRing()) == ["old", "new"]
    assert ids(ring()) == ["old"]


def test_key_of_an_object_that_was_removed_without_cleanup_is_unmanaged() -> None:
    assert ids(ring(), existing=frozenset()) == ["old", "new"]


def test_unclear_key_is_unmanaged() -> None:
    assert ids(ring(KeyState.UNCLEAR)) == ["old", "new"]


def test_key_that_appears_during_a_creation_is_not_reported() -> None:
    attempt = LedgerKeyAttempt(owner="payments/checkout", time=NEW_YEAR, known=frozenset({"old"}))
    assert ids(KeyRing(attempt=attempt)) == ["old"]
