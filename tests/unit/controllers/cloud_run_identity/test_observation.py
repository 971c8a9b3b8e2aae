"""Observation: what proves that an account is missing, and which workloads run as it."""

from typing import Any

import pytest

from cloudrun_identity.api import IdentityAttachment
from cloudrun_identity.controllers.cloud_run_identity.account import AccountSeen, AccountWant
from cloudrun_identity.controllers.cloud_run_identity.observation import AccountObserver, Usage
from cloudrun_identity.controllers.cloud_run_identity.places import Place
from cloudrun_identity.controllers.new_accounts import GRACE
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.reconcile.cluster_state import ObjectKey, account_key, identity_key
from tests.unit.controllers.cloud import PROJECT_ID, FakeRun, FakeServiceAccounts, inventory
from tests.unit.controllers.cluster_state import (
    EMAIL,
    PROJECT,
    FakeClusterState,
    binding,
    identity,
    parsed,
    project,
    record,
)

from .account_bench import NOON, AccountBench

RUN_PROJECT = """
kind: ManagedProject
metadata: {name: run-prod, uid: u-run, generation: 1}
spec: {projectID: run-prod-5678, namespaces: {names: [payments]}, locations: [us-east1]}
status: {projectNumber: "5678"}
"""
ATTACHMENT = """
kind: IdentityAttachment
metadata: {name: web, namespace: payments, uid: u-web, generation: 1}
spec:
  projectRef: {name: run-prod}
  workload: {kind: Service, location: asia-east1, name: web}
  identityRef: {name: checkout}
"""
BINDING = """
kind: IAMBinding
metadata: {name: callers, namespace: payments, uid: u-callers, generation: 1}
spec:
  projectRef: {name: payments-prod}
  target: {kind: Service, location: europe-north1, name: web}
  role: roles/run.invoker
  members: [{principal: "user:ann@example.com"}]
"""


FRESH = record(appeared_time=NOON)


@pytest.fixture
def bench() -> AccountBench:
    return AccountBench()


async def observed(bench: AccountBench, max_age: float = 300.0) -> AccountSeen:
    want = bench.want()
    return (await bench.controller.observe(want, max_age)).account


async def test_missing_account_is_lagging_while_it_is_fresh(bench: AccountBench) -> None:
    bench.ledgers.keep(FRESH)
    seen = await observed(bench)
    assert seen.account is None
    assert seen.is_lagging(bench.wall_clock())
    bench.now = GRACE + 1
    assert not (await observed(bench)).is_lagging(bench.wall_clock())


async def test_denied_read_is_a_missing_account_while_it_is_fresh(bench: AccountBench) -> None:
    bench.ledgers.keep(FRESH)
    bench.google.faults = {"get": Fault.PERMISSION_DENIED}
    assert (await observed(bench)).account is None
    bench.now = GRACE + 1
    bench.google.faults = {"get": Fault.PERMISSION_DENIED}
    with pytest.raises(GoogleError):
        await observed(bench)


async def test_account_without_a_record_is_not_lagging(bench: AccountBench) -> None:
    assert not (await observed(bench)).is_lagging(bench.wall_clock())


async def test_account_that_is_not_settled_is_always_read_now(bench: AccountBench) -> None:
    bench.google.put(EMAIL)
    bench.ledgers.keep(FRESH)
    await observed(bench)
    bench.google.put(EMAIL, "222")
    assert (await observed(bench)).account == bench.google.put(EMAIL), "a read of that age is enough"
    bench.google.put(EMAIL, "222")
    bench.ledgers.keep(record(unique_id=""))
    seen = await observed(bench)
    assert seen.account
    assert seen.account.unique_id == "222"


async def test_only_reads_of_age_0_count_as_good_reads(bench: AccountBench) -> None:
    bench.google.put(EMAIL)
    bench.ledgers.keep(record(unique_id=""))
    assert (await observed(bench)).good_reads == 0
    assert (await observed(bench, 0.0)).good_reads == 1


async def test_account_of_another_identity_is_reported_with_its_owner(bench: AccountBench) -> None:
    bench.ledgers.keep(record(owner="payments/other"))
    seen = await observed(bench)
    assert seen.record is None
    assert "payments/other" in seen.owned_by


async def places(*objects: Any, referring: ObjectKey | None = None, **spec: Any) -> set[tuple[str, str]]:
    """Return every location that is listed for workloads that run as `payments/checkout`."""
    run, obj = FakeRun(), identity(**spec)
    cluster = FakeClusterState(obj, *objects)
    attachments = {ObjectKey.of(each) for each in objects if isinstance(each, IdentityAttachment)}
    cluster.references = {referring or identity_key("payments", "checkout"): attachments}
    usage = Usage(inventory(FakeServiceAccounts(), run, lambda: 1000.0))
    await usage.users(obj, EMAIL, PROJECT_ID, None, cluster)
    return run.looked_at


async def test_every_location_of_the_own_project_is_listed() -> None:
    delegated = project(locations=["europe-west1", "us-east1"])
    assert await places(delegated) == {(PROJECT_ID, "europe-west1"), (PROJECT_ID, "us-east1")}


async def test_project_without_locations_is_listed_where_targets_are() -> None:
    assert await places(project(), binding(BINDING)) == {(PROJECT_ID, "europe-north1")}


async def test_project_of_an_attachment_is_listed_as_a_whole() -> None:
    found = await places(project(), parsed(RUN_PROJECT), parsed(ATTACHMENT))
    assert found == {("run-prod-5678", "asia-east1"), ("run-prod-5678", "us-east1")}


async def test_attachment_that_names_the_email_counts() -> None:
    found = await places(
        project(), parsed(RUN_PROJECT), parsed(ATTACHMENT), referring=account_key(EMAIL.upper())
    )
    assert ("run-prod-5678", "asia-east1") in found


async def test_attachment_of_a_namespace_that_is_not_allowed_does_not_count() -> None:
    shared = parsed(RUN_PROJECT, namespaces={"names": ["payments", "shop"]})
    theirs = ATTACHMENT.replace("namespace: payments", "namespace: shop")

    assert await places(project(), shared, parsed(theirs)) == set()
    assert await places(project(), shared, parsed(theirs), allowedNamespaces=["shop"]) != set()
    attached = f"{theirs}\nstatus: {{currentServiceAccount: {EMAIL}}}"
    assert await places(project(), shared, parsed(attached)) != set()


async def test_project_of_usable_from_is_listed() -> None:
    found = await places(project(), parsed(RUN_PROJECT), usableFrom=[{"projectRef": {"name": "run-prod"}}])
    assert found == {("run-prod-5678", "us-east1")}


async def test_project_that_does_not_admit_the_namespace_does_not_count() -> None:
    closed = parsed(RUN_PROJECT, namespaces={})
    usable: dict[str, Any] = {"usableFrom": [{"projectRef": {"name": "run-prod"}}]}
    assert await places(project(), closed, parsed(ATTACHMENT), **usable) == set()


async def unreachable(*objects: Any, **spec: Any) -> list[str]:
    """Return what counts as use of `payments/checkout` where no workload runs that can be listed."""
    obj = identity(**spec)
    cluster = FakeClusterState(obj, *objects)
    attachments = {ObjectKey.of(each) for each in objects if isinstance(each, IdentityAttachment)}
    cluster.references = {identity_key("payments", "checkout"): attachments}
    usage = Usage(inventory(FakeServiceAccounts(), FakeRun(), lambda: 1000.0))
    return await usage.users(obj, EMAIL, PROJECT_ID, None, cluster)


async def test_project_without_a_managed_project_counts_as_use() -> None:
    assert await unreachable() == [
        f"workloads of project {PROJECT_ID}, which has no valid ManagedProject (declare or correct one, or "
        "set spec.deletionProtection to None to delete the account unchecked)"
    ]


async def test_project_declared_under_another_name_is_listed() -> None:
    renamed = project(PROJECT.replace("name: payments-prod,", "name: renamed,"), projectID=PROJECT_ID)
    assert await unreachable(renamed) == []


async def test_deleted_project_of_usable_from_counts_as_use() -> None:
    assert await unreachable(project(), usableFrom=[{"projectRef": {"name": "run-prod"}}]) == [
        "workloads of ManagedProject run-prod, which does not exist or is invalid (declare or correct it, or "
        "remove it from spec.usableFrom)"
    ]


async def test_workload_attached_in_a_deleted_project_counts_as_use() -> None:
    attached = f"{ATTACHMENT}\nstatus: {{currentServiceAccount: {EMAIL}}}"
    assert await unreachable(project(), parsed(attached)) == [
        "Service asia-east1/web in ManagedProject run-prod, which does not exist or is invalid (declare or "
        "correct it, or delete IdentityAttachment payments/web)"
    ]
    assert await unreachable(project(), parsed(ATTACHMENT)) == [], "it was never attached"


@pytest.fixture
def run() -> FakeRun:
    """A project with one service, which runs as another account."""
    run = FakeRun()
    run.services = {("europe-west1", "web"): "other@example.com"}
    return run


async def users(run: FakeRun) -> list[str]:
    obj, delegated = identity(), project(locations=["europe-west1"])
    usage = Usage(inventory(FakeServiceAccounts(), run, lambda: 1000.0))
    return await usage.users(obj, EMAIL, PROJECT_ID, None, FakeClusterState(delegated, obj))


async def test_serving_revision_counts_whatever_the_template_names(run: FakeRun) -> None:
    run.revisions = {"web-00001": EMAIL, "web-00002": "other@example.com"}
    assert await users(run) == ["Service europe-west1/web (revision web-00001)"]


async def test_running_execution_counts_whatever_its_job_names(run: FakeRun) -> None:
    run.executions = {"nightly-1": EMAIL.upper(), "nightly-2": "other@example.com"}
    assert await users(run) == ["Job europe-west1/nightly (execution nightly-1)"]


async def test_revision_that_cannot_be_read_counts_as_use(run: FakeRun) -> None:
    run.revisions = {"web-00001": "forbidden"}
    (user,) = await users(run)
    assert user == "Services in europe-west1, which cannot be read (you may not look)"


async def test_transient_error_is_raised_and_does_not_count_as_use(run: FakeRun) -> None:
    run.revisions = {"web-00001": "unavailable"}
    with pytest.raises(GoogleError):
        await users(run)


@pytest.mark.parametrize(("revision", "unused"), [("other@example.com", True), ("unavailable", False)])
async def test_place_is_unused_only_if_it_was_read(run: FakeRun, revision: str, unused: bool) -> None:
    run.revisions = {"web-00001": revision}
    bench = AccountBench()
    bench.run = run
    bench.restart()
    place = Place(PROJECT_ID, "europe-west1")
    want = AccountWant(identity(), PROJECT_ID, EMAIL)
    found = await AccountObserver(bench.deps).unused(want, [place])
    assert found == (frozenset({str(place)}) if unused else frozenset())


async def test_workload_of_another_account_does_not_count(run: FakeRun) -> None:
    assert await users(run) == []
