"""What counts as running as an identity, and where that is looked for."""

from typing import Any

import pytest

from cloudrun_identity.api import IdentityAttachment
from cloudrun_identity.controllers.cloud_run_identity.usage import Usage
from cloudrun_identity.reconcile.cluster_state import ObjectKey, account_key, identity_key
from tests.unit.controllers.cloud import PROJECT_ID, FakeRun, FakeServiceAccounts, inventory
from tests.unit.controllers.cluster_state import EMAIL, PROJECT, FakeWorld, binding, identity, parsed, project

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


async def places(*objects: Any, referring: ObjectKey | None = None, **spec: Any) -> set[tuple[str, str]]:
    """Everywhere that a look for what runs as `payments/checkout` leads."""
    run, obj = FakeRun(), identity(**spec)
    cluster = FakeWorld(obj, *objects)
    attachments = {ObjectKey.of(each) for each in objects if isinstance(each, IdentityAttachment)}
    cluster.references = {referring or identity_key("payments", "checkout"): attachments}
    usage = Usage(inventory(FakeServiceAccounts(), run, lambda: 1000.0))
    await usage.users(obj, EMAIL, PROJECT_ID, cluster)
    return run.looked_at


async def test_all_locations_of_its_own_project_are_looked_at() -> None:
    delegated = project(locations=["europe-west1", "us-east1"])
    assert await places(delegated) == {(PROJECT_ID, "europe-west1"), (PROJECT_ID, "us-east1")}


async def test_a_project_without_locations_is_looked_at_where_targets_are() -> None:
    assert await places(project(), binding(BINDING)) == {(PROJECT_ID, "europe-north1")}


async def test_a_project_that_an_attachment_is_in_is_looked_at_as_a_whole() -> None:
    found = await places(project(), parsed(RUN_PROJECT), parsed(ATTACHMENT))
    assert found == {("run-prod-5678", "asia-east1"), ("run-prod-5678", "us-east1")}


async def test_an_attachment_that_names_the_email_counts() -> None:
    found = await places(
        project(), parsed(RUN_PROJECT), parsed(ATTACHMENT), referring=account_key(EMAIL.upper())
    )
    assert ("run-prod-5678", "asia-east1") in found


async def test_an_attachment_of_a_namespace_that_is_not_allowed_holds_up_nobody() -> None:
    shared = parsed(RUN_PROJECT, namespaces={"names": ["payments", "shop"]})
    theirs = ATTACHMENT.replace("namespace: payments", "namespace: shop")

    assert await places(project(), shared, parsed(theirs)) == set()
    assert await places(project(), shared, parsed(theirs), allowedNamespaces=["shop"]) != set()
    attached = f"{theirs}\nstatus: {{currentServiceAccount: {EMAIL}}}"
    assert await places(project(), shared, parsed(attached)) != set()


async def test_a_project_that_may_run_as_it_is_looked_at() -> None:
    found = await places(project(), parsed(RUN_PROJECT), usableFrom=[{"projectRef": {"name": "run-prod"}}])
    assert found == {("run-prod-5678", "us-east1")}


async def test_a_project_that_does_not_admit_the_namespace_holds_up_nobody() -> None:
    closed = parsed(RUN_PROJECT, namespaces={})
    usable: dict[str, Any] = {"usableFrom": [{"projectRef": {"name": "run-prod"}}]}
    assert await places(project(), closed, parsed(ATTACHMENT), **usable) == set()


async def out_of_sight(*objects: Any, **spec: Any) -> list[str]:
    """What counts as use of `payments/checkout` although nobody can look; nothing runs that could be seen."""
    obj = identity(**spec)
    cluster = FakeWorld(obj, *objects)
    attachments = {ObjectKey.of(each) for each in objects if isinstance(each, IdentityAttachment)}
    cluster.references = {identity_key("payments", "checkout"): attachments}
    usage = Usage(inventory(FakeServiceAccounts(), FakeRun(), lambda: 1000.0))
    return await usage.users(obj, EMAIL, PROJECT_ID, cluster)


async def test_what_is_in_a_project_that_nobody_declares_any_more_counts_as_use() -> None:
    assert await out_of_sight() == [
        f"whatever is in project {PROJECT_ID}, of which there is no ManagedProject that can be read (declare "
        "or correct one, or set spec.deletionProtection to None to delete the account unseen)"
    ]


async def test_a_project_that_is_declared_by_another_name_is_looked_at() -> None:
    renamed = project(PROJECT.replace("name: payments-prod,", "name: anew,"), projectID=PROJECT_ID)
    assert await out_of_sight(renamed) == []


async def test_what_is_in_a_usable_project_that_is_gone_counts_as_use() -> None:
    assert await out_of_sight(project(), usableFrom=[{"projectRef": {"name": "run-prod"}}]) == [
        "whatever is in ManagedProject run-prod, which is not there or cannot be read (declare or correct "
        "that, or take it out of spec.usableFrom)"
    ]


async def test_a_workload_that_was_attached_in_a_project_that_is_gone_counts_as_use() -> None:
    attached = f"{ATTACHMENT}\nstatus: {{currentServiceAccount: {EMAIL}}}"
    assert await out_of_sight(project(), parsed(attached)) == [
        "Service asia-east1/web in ManagedProject run-prod, which is not there or cannot be read (declare "
        "or correct that, or delete IdentityAttachment payments/web)"
    ]
    assert await out_of_sight(project(), parsed(ATTACHMENT)) == [], "it never got there"


@pytest.fixture
def run() -> FakeRun:
    """A project with one service, which runs as another account."""
    run = FakeRun()
    run.services = {("europe-west1", "web"): "other@example.com"}
    return run


async def users(run: FakeRun) -> list[str]:
    obj, delegated = identity(), project(locations=["europe-west1"])
    usage = Usage(inventory(FakeServiceAccounts(), run, lambda: 1000.0))
    return await usage.users(obj, EMAIL, PROJECT_ID, FakeWorld(delegated, obj))


async def test_a_revision_that_still_serves_counts_whatever_the_template_says(run: FakeRun) -> None:
    run.revisions = {"web-00001": EMAIL, "web-00002": "other@example.com"}
    assert await users(run) == ["Service europe-west1/web (revision web-00001)"]


async def test_an_execution_that_runs_counts_whatever_its_job_says(run: FakeRun) -> None:
    run.executions = {"nightly-1": EMAIL.upper(), "nightly-2": "other@example.com"}
    assert await users(run) == ["Job europe-west1/nightly (execution nightly-1)"]


async def test_a_revision_that_cannot_be_read_counts_as_use(run: FakeRun) -> None:
    run.revisions = {"web-00001": "forbidden"}
    (user,) = await users(run)
    assert user == "Services in europe-west1, which cannot be read (you may not look)"


async def test_what_runs_as_others_does_not_count(run: FakeRun) -> None:
    assert await users(run) == []
