from datetime import UTC, datetime, timedelta

import pytest

from cloudrun_identity.api import (
    Abandonment,
    ConditionStatus,
    KeyState,
    LedgerAttachment,
    LedgerKey,
    LedgerRole,
    Origin,
    RoleState,
    TargetKind,
    WorkloadKind,
)
from cloudrun_identity.controllers.managed_project.audit import (
    NOT_LOOKED,
    WorkloadAudit,
    audit_workloads,
    locations_of,
    orphans,
    service_agent_ready,
)
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.keys import KeyRing
from cloudrun_identity.ledger.model import Ledger, entry_of
from tests.unit.controllers.cloud import FakeRun, FakeServiceAccounts, fault, inventory
from tests.unit.controllers.cluster_state import (
    EMAIL,
    FakeClusterState,
    binding,
    identity,
    parsed,
    project,
    record,
)

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HOME = Target(TargetKind.PROJECT, "payments-prod-1234")
SQL = Grant(HOME, "roles/cloudsql.client", "user:ann@example.com")
WEB = "IAMBinding/payments/web/u-web"
BINDING = """
kind: IAMBinding
metadata: {name: web, namespace: payments, uid: u-web}
spec:
  projectRef: {name: payments-prod}
  target: {kind: Service, location: europe-west4, name: web}
  role: roles/run.invoker
  members: [{principal: "user:ann@example.com"}]
"""
ATTACHMENT = """
kind: IdentityAttachment
metadata: {name: web, namespace: payments}
spec:
  projectRef: {name: payments-prod}
  workload: {kind: Service, location: europe-west1, name: web}
  identityRef: {name: checkout}
"""


def held_for(*owners: str) -> Ledger:
    return Ledger.of(HOME, {SQL: entry_of(SQL, owners)})


async def audited(run: FakeRun, *locations: str) -> WorkloadAudit:
    listed = inventory(FakeServiceAccounts(), run, lambda: 1.0)
    return await audit_workloads(listed, "payments-prod-1234", locations, 0.0)


def test_locations_are_those_of_the_spec_or_else_those_of_the_objects() -> None:
    delegated = project()
    cluster = FakeClusterState(delegated, identity(), binding(BINDING), parsed(ATTACHMENT))
    assert locations_of(delegated, cluster) == {"europe-west1", "europe-west4"}
    assert locations_of(project(locations=["us-east1"]), cluster) == {"us-east1"}


async def test_workloads_on_the_default_account_are_found_in_each_notation() -> None:
    run = FakeRun()
    run.services = {
        ("europe-west1", "unset"): "",
        ("europe-west1", "compute"): "417203958816-compute@developer.gserviceaccount.com",
        ("europe-west1", "own"): EMAIL,
    }
    audit = await audited(run, "europe-west1")
    assert [each.name for each in audit.on_default] == ["compute", "unset"]
    assert audit.unreadable == ()


async def test_unreadable_location_is_reported_and_does_not_stop_the_audit() -> None:
    run = FakeRun()
    run.unreadable = {"europe-west1"}
    run.services = {("us-east1", "unset"): ""}
    audit = await audited(run, "europe-west1", "us-east1")
    assert [place for place, _ in audit.unreadable] == [f"{kind}s in europe-west1" for kind in WorkloadKind]
    assert [each.name for each in audit.on_default] == ["unset"]


@pytest.mark.parametrize(
    ("audit", "status"),
    [
        (NOT_LOOKED, ConditionStatus.UNKNOWN),
        (WorkloadAudit(looked=True), ConditionStatus.TRUE),
        (
            WorkloadAudit(looked=True, unreadable=(("Jobs in x", fault(Fault.API_DISABLED)),)),
            ConditionStatus.FALSE,
        ),
        (
            WorkloadAudit(looked=True, unreadable=(("Jobs in x", fault(Fault.PERMISSION_DENIED)),)),
            ConditionStatus.UNKNOWN,
        ),
    ],
)
def test_service_agent_is_ready_once_cloud_run_is_enabled(
    audit: WorkloadAudit, status: ConditionStatus
) -> None:
    finding = service_agent_ready("payments-prod-1234", "42", audit)
    assert finding.status is status
    assert ("gcloud services enable" in finding.message) is (status is ConditionStatus.FALSE)


def test_grant_is_an_orphan_only_if_its_owner_is_missing() -> None:
    delegated = project()
    cluster = FakeClusterState(delegated, binding(BINDING))
    cluster.stored_ledgers = [held_for(WEB, "IAMBinding/payments/former/u-former")]
    [orphan] = orphans(delegated, cluster, NOW)
    assert orphan.resource == HOME.full_name
    assert orphan.reason == "granted for IAMBinding payments/former, which is deleted"
    assert orphan.since == NOW


def test_resources_of_deleted_objects_are_orphans() -> None:
    role = LedgerRole(
        role_id="runner",
        owner="payments/runner",
        owner_uid="u",
        origin=Origin.CREATED,
        state=RoleState.PRESENT,
    )
    key = LedgerKey(id="k1", owner="payments/key", state=KeyState.ACTIVE, created_time=NOW)
    account = Target(TargetKind.SERVICE_ACCOUNT, "payments-prod-1234", name=EMAIL)
    service = Target(TargetKind.SERVICE, "payments-prod-1234", "europe-west1", "web")
    moved = LedgerAttachment(
        owner="payments/web",
        owner_uid="u",
        workload_uid="w-1",
        previous_service_account="",
        service_account=EMAIL,
    )
    cluster = FakeClusterState(project())
    cluster.stored_ledgers = [
        Ledger.of(HOME).with_role(role).with_role(role.replace(role_id="former", state=RoleState.DELETED)),
        Ledger.of(account).with_account(record()).with_key_ring(KeyRing({key.id: key})),
        Ledger.of(service).with_attachment(moved),
    ]
    assert {(each.resource, each.reason) for each in orphans(project(), cluster, NOW)} == {
        (HOME.full_name, "created for CustomRole payments/runner, which is deleted"),
        (account.full_name, "created for CloudRunIdentity payments/checkout, which is deleted"),
        (account.full_name, "created for IdentityKey payments/key, which is deleted"),
        (service.full_name, "created for IdentityAttachment payments/web, which is deleted"),
    }
    there = FakeClusterState(project(), identity())
    there.stored_ledgers = [Ledger.of(account).with_account(record())]
    assert orphans(project(), there, NOW) == ()


def test_abandoned_account_is_an_orphan_since_its_abandonment() -> None:
    account = Target(TargetKind.SERVICE_ACCOUNT, "payments-prod-1234", name=EMAIL)
    left = record(owner="", abandoned=Abandonment(reason="a service runs as it", time=NOW))
    cluster = FakeClusterState(project())
    cluster.stored_ledgers = [Ledger.of(account).with_account(left)]
    [orphan] = orphans(project(), cluster, NOW + timedelta(hours=1))
    assert (orphan.resource, orphan.reason) == (account.full_name, "a service runs as it")
    assert orphan.since == NOW


def test_grant_of_a_recreated_object_is_no_orphan() -> None:
    cluster = FakeClusterState(project(), binding(BINDING))
    cluster.stored_ledgers = [held_for("IAMBinding/payments/web/u-former")]
    assert orphans(project(), cluster, NOW) == ()


def test_orphan_keeps_the_time_of_its_detection() -> None:
    delegated, cluster = project(), FakeClusterState(project())
    cluster.stored_ledgers = [held_for(WEB)]
    first = orphans(delegated, cluster, NOW)
    known = delegated.model_copy(update={"status": delegated.status.model_copy(update={"orphans": first})})
    assert orphans(known, cluster, NOW + timedelta(hours=1)) == first
