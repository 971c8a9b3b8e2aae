"""Which grants of an identity are advised about."""

from typing import Any

from cloudrun_identity.api import ConditionStatus, TargetKind
from cloudrun_identity.controllers.cloud_run_identity.least_privilege import least_privilege, recommendations
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.reconcile.grants.members import Holder
from cloudrun_identity.reconcile.grants.resolver import RequestedGrant
from cloudrun_identity.reconcile.grants.targets import NoTarget
from cloudrun_identity.reconcile.outcomes import InSync

PROJECT = Target(TargetKind.PROJECT, "acme")
CHECKOUT = Holder("serviceAccount:checkout@acme.iam.gserviceaccount.com")


class ReadRoles:
    """Roles of which one has been read."""

    def cached(self, role: str, project_id: str) -> frozenset[str] | None:
        return {"roles/run.admin": frozenset({"run.services.setIamPolicy"})}.get(role)


ROLES: Any = ReadRoles()


def requested(role: str, path: str = "spec.roles[0]", target: Target | NoTarget = PROJECT) -> RequestedGrant:
    return RequestedGrant(path, target, role, CHECKOUT)


def test_what_a_role_holds_is_advised_about_once_it_has_been_read() -> None:
    found = recommendations([requested("roles/run.admin"), requested("roles/unread")], ROLES)
    assert [each.kind for each in found] == ["Escalation"]
    finding = least_privilege(found)
    assert (finding.status, finding.reason) == (ConditionStatus.FALSE, "Advice")
    assert "Escalation" in finding.message


def test_what_is_not_granted_or_not_a_choice_is_no_matter() -> None:
    agent = requested("roles/iam.serviceAccountTokenCreator", "spec.usableFrom[0].projectRef")
    nowhere = requested("roles/owner", target=NoTarget("ManagedProject shared", InSync()))
    found = recommendations([agent, nowhere], ROLES)
    assert found == ()
    assert least_privilege(found).status is ConditionStatus.TRUE
