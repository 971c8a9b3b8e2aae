"""What an audit of an identity looks at, and what it comes to."""

from datetime import UTC, datetime
from typing import Any

from cloudrun_identity.api import ConditionStatus, GrantState, IdentityAttachment, TargetKind
from cloudrun_identity.api.predefined_roles import TOKEN_CREATOR
from cloudrun_identity.controllers.cloud_run_identity.audit import Audit, IdentityAuditor, cross_project
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.gcp.permission_checks import AccessState
from cloudrun_identity.gcp.projects import cloud_run_service_agent
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.listed_keys import ListedKey
from cloudrun_identity.iam.principals import service_account_member
from cloudrun_identity.ledger.model import entry_of
from cloudrun_identity.reconcile.cluster_state import ObjectKey, identity_key
from tests.unit.controllers.cloud import PROJECT_ID, FakeRun, FakeServiceAccounts, fault, inventory
from tests.unit.controllers.cluster_state import EMAIL, FakeWorld, identity, parsed, project

from .test_usage import ATTACHMENT, RUN_PROJECT

ACCOUNT = Target(TargetKind.SERVICE_ACCOUNT, PROJECT_ID, name=EMAIL)
USABLE: dict[str, Any] = {"usableFrom": [{"projectRef": {"name": "run-prod"}}]}
AGENT = service_account_member(cloud_run_service_agent("5678"))
LENT = {grant: entry_of(grant, (), GrantState.GRANTED) for grant in (Grant(ACCOUNT, TOKEN_CREATOR, AGENT),)}


class FakeAccess:
    """An operator that may act as every account; `asked` is who it would act as, by project."""

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


async def audit(run: FakeRun, access: FakeAccess, *objects: Any, **spec: Any) -> Audit:
    obj = identity(**spec)
    cluster = FakeWorld(obj, *objects)
    attachments = {ObjectKey.of(each) for each in objects if isinstance(each, IdentityAttachment)}
    cluster.references = {identity_key("payments", "checkout"): attachments}
    auditor = IdentityAuditor(
        inventory(FakeServiceAccounts(), run, lambda: 1000.0),
        access,
        FakeKeys(),
    )
    return await auditor.look(obj, ACCOUNT, "111", [], cluster, 60.0)


def usage(allowed: str) -> dict[str, Any]:
    return {"projectNumber": "417203958816", "crossProjectUsage": allowed}


def crossing(found: Audit, allowed: str, entries: Any) -> tuple[ConditionStatus, str, str]:
    home = project().model_copy(update={"status": type(project().status).model_validate(usage(allowed))})
    obj = identity(**USABLE)
    cluster = FakeWorld(home, obj, parsed(RUN_PROJECT), entries=entries)
    finding = cross_project(obj, home, ACCOUNT, found, cluster)
    assert finding is not None
    return finding.status, finding.reason, finding.message


async def test_workloads_are_found_in_its_project_where_attachments_are_and_where_it_is_usable() -> None:
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


async def test_what_cannot_be_read_is_told_and_the_rest_is_found() -> None:
    run = FakeRun()
    run.services = {("europe-west1", "web"): EMAIL}
    run.unreadable = {"us-east1"}
    found = await audit(run, FakeAccess(), project(locations=["europe-west1", "us-east1"]))
    assert len(found.attached) == 1
    assert found.unreadable
    assert all("us-east1" in each for each in found.unreadable)


async def test_the_operator_is_asked_about_as_whom_it_acts_in_each_usable_project() -> None:
    access = FakeAccess()
    found = await audit(FakeRun(), access, project(), parsed(RUN_PROJECT), **USABLE)
    assert access.asked == ["run-prod-5678"]
    assert found.may_act == {"run-prod": AccessState.GRANTED}
    closed = parsed(RUN_PROJECT, namespaces={})
    assert (await audit(FakeRun(), access, project(), closed, **USABLE)).may_act == {}


def test_all_three_requirements_make_an_identity_usable_elsewhere() -> None:
    status, reason, _ = crossing(Audit(may_act={"run-prod": AccessState.GRANTED}), "Allowed", LENT)
    assert (status, reason) == (ConditionStatus.TRUE, "Allowed")


def test_each_requirement_that_is_missing_is_named_with_what_mends_it() -> None:
    status, reason, message = crossing(Audit(may_act={"run-prod": AccessState.NOT_GRANTED}), "Denied", {})
    assert (status, reason) == (ConditionStatus.FALSE, "ActAs")
    assert "serviceAccountUser" in message
    assert "spec {usableFrom: [{projectRef: {name: run-prod}}]}" in message
    assert "ManagedProject payments-prod with spec {crossProjectUsage: Allow}" in message


def test_what_nobody_can_tell_is_unknown() -> None:
    status, reason, _ = crossing(Audit(), "Allowed", LENT)
    assert (status, reason) == (ConditionStatus.UNKNOWN, "ActAs")


def test_an_identity_that_no_other_project_uses_has_no_such_condition() -> None:
    assert cross_project(identity(), project(), ACCOUNT, Audit(), FakeWorld(project())) is None


async def test_keys_are_listed_unless_nobody_wants_to_know() -> None:
    found = await audit(FakeRun(), FakeAccess(), project())
    assert isinstance(found.keys, tuple)
    assert [key.id for key in found.keys] == ["k1"]
    ignored = await audit(FakeRun(), FakeAccess(), project(), unmanagedKeys="Ignore")
    assert ignored.keys is None
