from dataclasses import replace
from typing import Any

import pytest

from cloudrun_identity.api import EffectiveCrossProjectUsage, Reason
from cloudrun_identity.controllers.cross_project import Account
from cloudrun_identity.controllers.identity_attachment.attachment import (
    AttachmentWant,
    may_run_as,
)
from cloudrun_identity.controllers.identity_attachment.attachment import (
    resolve as resolve_attachment,
)
from cloudrun_identity.iam.admission import Admitted, DeclaredIdentity, Denied
from cloudrun_identity.reconcile.outcomes import Refused, Waiting
from cloudrun_identity.reconcile.preconditions import Allowed, Blocked
from tests.unit.controllers.attachments import CLUSTER, OLD, ROLLED_OUT, attachment, resolve, want
from tests.unit.controllers.cluster_state import (
    EMAIL,
    PROJECT,
    FakeClusterState,
    admitted,
    identity,
    project,
    record,
)

CHECKOUT = DeclaredIdentity("payments", "checkout")
DEFAULT = "417203958816-compute@developer.gserviceaccount.com"
SHOP = """
kind: ManagedProject
metadata: {name: shop, uid: u-shop, generation: 1}
spec: {projectID: shop-1234, namespaces: {names: [payments]}}
status: {projectNumber: "99", crossProjectUsage: Denied}
"""
PRICING = """
kind: CloudRunIdentity
metadata: {name: pricing, namespace: shop, uid: u-pricing, generation: 1}
spec: {projectRef: {name: shop}, allowedNamespaces: [payments]}
"""
OF_SHOP = "pricing@shop-1234.iam.gserviceaccount.com"


def refusal(stop: AttachmentWant | Blocked) -> str:
    assert isinstance(stop, Blocked)
    assert isinstance(stop.outcome, Refused)
    assert stop.outcome.reason is Reason.DENIED_BY_GUARDRAIL
    return stop.outcome.message


def by_email(email: str, cluster: FakeClusterState = CLUSTER, **guardrails: Any) -> AttachmentWant | Blocked:
    obj = attachment(identityRef=None, email=email)
    delegated = project(
        guardrails={"workloads": [{"names": ["checkout*"], "namespaces": ["*"]}], **guardrails}
    )
    return resolve_attachment(obj, Allowed(delegated, observe=False), cluster)


def test_the_workload_runs_as_the_identitys_account() -> None:
    wanted = want()
    assert (wanted.workload, wanted.email) == (ROLLED_OUT.workload, EMAIL)
    assert wanted.account.identity == CHECKOUT
    assert not wanted.is_cross_project


def test_a_workload_that_the_namespace_may_not_use_is_denied() -> None:
    other = {"kind": "Service", "location": "europe-west1", "name": "other"}
    assert refusal(resolve(attachment(workload=other))).startswith("spec.workload: guardrails.workloads")


def test_an_identity_that_is_not_ready_is_waited_for() -> None:
    stop = resolve(attachment(), FakeClusterState(project(), identity()))
    assert isinstance(stop, Blocked)
    assert isinstance(stop.outcome, Waiting)
    assert stop.unresolved == stop.outcome.message


def test_a_cross_project_identity_carries_the_facts_about_its_project() -> None:
    cluster = FakeClusterState(
        project(),
        project(SHOP),
        identity(PRICING),
        accounts=[record("shop/pricing", OF_SHOP)],
    )
    wanted = want(attachment(identityRef={"name": "pricing", "namespace": "shop"}), cluster)
    assert wanted.is_cross_project
    assert wanted.account == Account(
        OF_SHOP,
        "shop-1234",
        DeclaredIdentity("shop", "pricing"),
        "shop",
        EffectiveCrossProjectUsage.DENIED,
        "111",
    )


def test_an_identity_in_a_project_closed_to_the_namespace_is_denied() -> None:
    closed = project(SHOP, namespaces={"names": ["shop"]})
    cluster = FakeClusterState(
        project(), closed, identity(PRICING), accounts=[record("shop/pricing", OF_SHOP)]
    )
    reference = {"name": "pricing", "namespace": "shop"}
    assert refusal(resolve(attachment(identityRef=reference), cluster)).startswith("spec.identityRef: ")


def test_an_account_that_a_guardrail_lists_may_be_named_by_e_mail() -> None:
    wanted = by_email(OLD, accounts=admitted([OLD]))
    assert isinstance(wanted, AttachmentWant)
    assert wanted.account == Account(OLD, "payments-prod-1234", None, "payments-prod")


@pytest.mark.parametrize("email", [OLD, DEFAULT, "operator@ops.iam.gserviceaccount.com"])
def test_an_e_mail_that_no_guardrail_lists_or_can_list_is_denied(email: str) -> None:
    listed = [each for each in (DEFAULT, "operator@ops.iam.gserviceaccount.com") if each == email]
    assert refusal(by_email(email, accounts=listed)).startswith("spec.email: ")


def test_the_e_mail_of_an_identity_is_a_reference_to_it() -> None:
    wanted = by_email(EMAIL)
    assert isinstance(wanted, AttachmentWant)
    assert wanted.account.identity == CHECKOUT

    foreign = FakeClusterState(
        project(),
        project(SHOP),
        identity(PRICING, allowedNamespaces=[]),
        accounts=[record("shop/pricing", OF_SHOP)],
    )
    assert "allowedNamespaces" in refusal(by_email(OF_SHOP, foreign, accounts=admitted([OF_SHOP])))


def test_an_account_may_be_restored_if_it_may_be_attached() -> None:
    obj, delegated = attachment(), project(PROJECT)
    assert isinstance(may_run_as(EMAIL, obj, delegated, CLUSTER), Admitted)
    assert isinstance(may_run_as(OLD, obj, delegated, CLUSTER), Denied)
    listing = project(guardrails={"accounts": admitted([OLD])})
    assert isinstance(may_run_as(OLD, obj, listing, CLUSTER), Admitted)


def test_an_account_without_a_known_project_is_not_cross_project() -> None:
    assert not replace(want(), account=Account(DEFAULT, "")).is_cross_project
