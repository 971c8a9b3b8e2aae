from typing import Any

from cloudrun_identity.api import GrantState, LedgerAttachment, TargetKind
from cloudrun_identity.controllers.cloud_run_identity.revoked import kept_by_others
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.model import Ledger, entry_of
from cloudrun_identity.reconcile.cluster_state import ObjectKey, identity_key
from cloudrun_identity.reconcile.retained import retained_issues
from tests.unit.controllers.cluster_state import EMAIL, FakeClusterState, identity, parsed, project

HOME = Target.project("payments-prod-1234")
WEB = Target(TargetKind.SERVICE, "payments-prod-1234", "europe-west1", "web")
MEMBER = f"serviceAccount:{EMAIL}"
BINDING = """
kind: IAMBinding
metadata: {name: viewers, namespace: shop, uid: u-viewers}
spec:
  projectRef: {name: payments-prod}
  target: {kind: Project}
  role: roles/run.viewer
  members: [{identityRef: {name: checkout, namespace: payments}}]
"""
ATTACHMENT = """
kind: IdentityAttachment
metadata: {name: web, namespace: shop, uid: u-web}
spec:
  projectRef: {name: payments-prod}
  workload: {kind: Service, location: europe-west1, name: web}
  identityRef: {name: checkout, namespace: payments}
"""


class Cluster(FakeClusterState):
    """A cluster with ledgers by their targets."""

    def ledger(self, target: Target) -> Ledger:
        found = (each for each in self.stored_ledgers if each.target == target)
        return next(found, Ledger.of(target))


def cluster(**spec: Any) -> Cluster:
    """Return a cluster in which another namespace refers to an identity, with grants and a workload."""
    binding, attachment, owner = parsed(BINDING), parsed(ATTACHMENT), identity(**spec)
    found = Cluster(project(), owner, binding, attachment)
    found.references[identity_key("payments", "checkout")] = {
        ObjectKey.of(binding),
        ObjectKey.of(attachment),
    }
    grants = [Grant(HOME, f"roles/run.{each}", MEMBER) for each in ("viewer", "invoker", "admin", "builder")]
    states = [GrantState.GRANTED, GrantState.GRANTED, GrantState.RELEASING, GrantState.PENDING]
    entries = {
        grant: entry_of(grant, ["IAMBinding/shop/viewers/u-viewers"], state)
        for grant, state in zip(grants, states, strict=True)
    }
    moved = LedgerAttachment(owner="shop/web", owner_uid="u-web", workload_uid="w", service_account=EMAIL)
    found.stored_ledgers = [Ledger.of(HOME, entries), Ledger.of(WEB).with_attachment(moved)]
    return found


def test_refused_object_lists_the_grants_that_remain() -> None:
    found = retained_issues(parsed(BINDING), [HOME], cluster())
    assert [issue.split(" remains")[0] for issue in found] == [
        f"roles/run.invoker for {MEMBER} on {HOME}",
        f"roles/run.viewer for {MEMBER} on {HOME}",
    ]
    admitted = {Grant(HOME, "roles/run.viewer", MEMBER), Grant(HOME, "roles/run.invoker", MEMBER)}
    assert retained_issues(parsed(BINDING), [HOME], cluster(), admitted) == ()


def test_refused_attachment_names_the_account_of_its_workload() -> None:
    (issue,) = retained_issues(parsed(ATTACHMENT), [], cluster())
    assert issue.startswith(f"{WEB} still runs as {EMAIL}")


def test_identity_lists_what_a_revoked_namespace_retains() -> None:
    viewers, web = "IAMBinding shop/viewers", "IdentityAttachment shop/web"
    assert kept_by_others(identity(), EMAIL, cluster()) == tuple(
        f"spec.allowedNamespaces does not list shop, but {what} until {key} is deleted or changed"
        for what, key in (
            (f"the identity keeps roles/run.invoker on {HOME}", viewers),
            (f"the identity keeps roles/run.viewer on {HOME}", viewers),
            (f"{WEB} runs as the identity", web),
        )
    )


def test_identity_lists_nothing_of_an_allowed_namespace() -> None:
    opened = {"allowedNamespaces": ["shop"]}
    assert kept_by_others(identity(**opened), EMAIL, cluster(**opened)) == ()
