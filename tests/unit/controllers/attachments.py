"""An attachment, the cluster with its identity, and a workload that runs as declared."""

from dataclasses import replace
from typing import Any, cast

import yaml

from cloudrun_identity.api import IdentityAttachment, WorkloadKind
from cloudrun_identity.controllers.identity_attachment.attachment import AttachmentWant
from cloudrun_identity.controllers.identity_attachment.attachment import resolve as resolve_attachment
from cloudrun_identity.controllers.identity_attachment.attachment_records import AttachmentRecords
from cloudrun_identity.gcp.workloads import Workload
from cloudrun_identity.ledger.store import Ledgers
from cloudrun_identity.plan.in_memory_client import InMemoryClient
from cloudrun_identity.reconcile.preconditions import Allowed, Blocked
from tests.unit.gcp.workload_states import settled

from .cluster_state import EMAIL, FakeClusterState, identity, parsed, project, record

ATTACHMENT = """
kind: IdentityAttachment
metadata: {name: checkout, namespace: payments, uid: u-attachment, generation: 1}
spec:
  projectRef: {name: payments-prod}
  workload: {kind: Service, location: europe-west1, name: checkout}
  identityRef: {name: checkout}
"""
OLD = "old@payments-prod-1234.iam.gserviceaccount.com"
CLUSTER = FakeClusterState(project(), identity(), accounts=[record()])
ROLLED_OUT = settled(
    Workload(WorkloadKind.SERVICE, "payments-prod-1234", "europe-west1", "checkout"),
    EMAIL,
    uid="w-1",
    generation=2,
    observed_generation=2,
    latest_created_revision="checkout-2",
    latest_ready_revision="checkout-2",
    serving_revisions=("checkout-2",),
)
ELSEWHERE = replace(ROLLED_OUT, service_account=OLD)


def attachment(status: dict[str, Any] | None = None, **spec: Any) -> IdentityAttachment:
    """Return the attachment with this status, which is about its current generation."""
    text = ATTACHMENT
    if status is not None:
        text += yaml.safe_dump({"status": {"observedGeneration": 1, **status}})
    return cast("IdentityAttachment", parsed(text, **spec))


def resolve(obj: IdentityAttachment, cluster: FakeClusterState = CLUSTER) -> AttachmentWant | Blocked:
    return resolve_attachment(obj, Allowed(project(), observe=False), cluster)


def want(obj: IdentityAttachment | None = None, cluster: FakeClusterState = CLUSTER) -> AttachmentWant:
    wanted = resolve(obj or attachment(), cluster)
    assert isinstance(wanted, AttachmentWant)
    return wanted


def attachment_records() -> AttachmentRecords:
    """Return attachment records over an empty ledger."""
    return AttachmentRecords(Ledgers(InMemoryClient(), "operator"))
