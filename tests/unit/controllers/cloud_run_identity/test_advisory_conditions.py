"""Advisory conditions of an identity."""

from datetime import UTC, datetime
from typing import Any

from cloudrun_identity.api import ConditionStatus, GrantState, TargetKind, UnmanagedKey
from cloudrun_identity.api.predefined_roles import TOKEN_CREATOR
from cloudrun_identity.controllers.cloud_run_identity.advisory_conditions import (
    cross_project,
    keys_audited,
    least_privilege,
    recommendations,
)
from cloudrun_identity.controllers.cloud_run_identity.audit import Audit
from cloudrun_identity.controllers.cloud_run_identity.google_advice import Evidence
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.permission_checks import AccessState
from cloudrun_identity.gcp.projects import cloud_run_service_agent
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.principals import service_account_member
from cloudrun_identity.ledger.model import entry_of
from cloudrun_identity.reconcile.grants.members import GrantMember
from cloudrun_identity.reconcile.grants.resolver import RequestedGrant
from cloudrun_identity.reconcile.outcomes import InSync
from cloudrun_identity.reconcile.references import Unresolved
from tests.unit.controllers.cluster_state import EMAIL, FakeClusterState, identity, parsed, project

from .test_audit import ACCOUNT, USABLE
from .test_observation import RUN_PROJECT

AGENT = service_account_member(cloud_run_service_agent("5678"))
GRANT = Grant(ACCOUNT, TOKEN_CREATOR, AGENT)
GRANTED = {GRANT: entry_of(GRANT, (), GrantState.GRANTED)}
OLD = UnmanagedKey(id="old", created_time=datetime(2025, 3, 1, tzinfo=UTC))
NEW = UnmanagedKey(id="new", created_time=datetime(2026, 1, 1, tzinfo=UTC))


def usage(allowed: str) -> dict[str, Any]:
    return {"projectNumber": "417203958816", "crossProjectUsage": allowed}


def condition(found: Audit, allowed: str, entries: Any) -> tuple[ConditionStatus, str, str]:
    home = project().model_copy(update={"status": type(project().status).model_validate(usage(allowed))})
    obj = identity(**USABLE)
    cluster = FakeClusterState(home, obj, parsed(RUN_PROJECT), entries=entries)
    finding = cross_project(obj, home, ACCOUNT, found, cluster)
    assert finding is not None
    return finding.status, finding.reason, finding.message


def test_cross_project_ready_is_true_if_all_checks_pass() -> None:
    status, reason, _ = condition(Audit(may_act={"run-prod": AccessState.GRANTED}), "Allowed", GRANTED)
    assert (status, reason) == (ConditionStatus.TRUE, "Allowed")


def test_every_failed_check_is_named_with_its_remedy() -> None:
    status, reason, message = condition(Audit(may_act={"run-prod": AccessState.NOT_GRANTED}), "Denied", {})
    assert (status, reason) == (ConditionStatus.FALSE, "ActAs")
    assert "serviceAccountUser" in message
    assert "spec {usableFrom: [{projectRef: {name: run-prod}}]}" in message
    assert "ManagedProject payments-prod with spec {crossProjectUsage: Allow}" in message


def test_check_without_an_answer_is_unknown() -> None:
    status, reason, _ = condition(Audit(), "Allowed", GRANTED)
    assert (status, reason) == (ConditionStatus.UNKNOWN, "ActAs")


def test_identity_without_usable_from_has_no_condition() -> None:
    assert cross_project(identity(), project(), ACCOUNT, Audit(), FakeClusterState(project())) is None


def test_keys_audited_names_the_oldest_key_and_the_remedy() -> None:
    finding = keys_audited((OLD, NEW), EMAIL)
    assert (finding.status, finding.reason) == (ConditionStatus.FALSE, "UnmanagedKeys")
    assert "2 user-managed keys" in finding.message
    assert "2025-03-01" in finding.message
    assert f"keys delete old --iam-account={EMAIL}" in finding.message


def test_keys_audited_is_unknown_if_keys_cannot_be_listed() -> None:
    assert keys_audited((), EMAIL).status is ConditionStatus.TRUE
    denied = GoogleError(Fault.PERMISSION_DENIED, "IAM/ListServiceAccountKeys", "you may not")
    assert keys_audited(denied, EMAIL).status is ConditionStatus.UNKNOWN


PROJECT = Target(TargetKind.PROJECT, "acme")
CHECKOUT = GrantMember("serviceAccount:checkout@acme.iam.gserviceaccount.com")


class ReadRoles:
    """Roles of which one has been read."""

    def cached(self, role: str, project_id: str) -> frozenset[str] | None:
        return {"roles/run.admin": frozenset({"run.services.setIamPolicy"})}.get(role)


ROLES: Any = ReadRoles()


def requested(
    role: str, path: str = "spec.roles[0]", target: Target | Unresolved = PROJECT
) -> RequestedGrant:
    return RequestedGrant(path, target, role, CHECKOUT)


def test_role_is_advised_about_once_its_permissions_are_known() -> None:
    found = recommendations([requested("roles/run.admin"), requested("roles/unread")], ROLES)
    assert [each.kind for each in found] == ["Escalation"]
    finding = least_privilege(found, Evidence(), "shop")
    assert (finding.status, finding.reason) == (ConditionStatus.FALSE, "Advice")
    assert finding.message == "Escalation (rules of this operator): see status.recommendations"


def test_agents_and_unresolved_targets_are_not_advised_about() -> None:
    agent = requested("roles/iam.serviceAccountTokenCreator", "spec.usableFrom[0].projectRef")
    nowhere = requested("roles/owner", target=Unresolved("ManagedProject shared", InSync()))
    found = recommendations([agent, nowhere], ROLES)
    assert found == ()
    assert least_privilege(found, Evidence(), "shop").status is ConditionStatus.TRUE
