"""Run the Argo CD health check of docs/operations.md (Lua 5.1) on statuses as the operator writes them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from lupa import lua51

from cloudrun_identity.api import CloudRunIdentity, Reason
from cloudrun_identity.reconcile.outcomes import Failing, InSync, Outcome, Paused, Refused, Waiting
from cloudrun_identity.reconcile.status import Report, status_object, status_of
from tests.documented import ROOT, blocks
from tests.gitops.states import Kstatus, State, object_in

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
GENERATION = 3
PAGE = ROOT / "docs" / "operations.md"

Object = dict[str, Any]


def script(page: Path) -> str:
    """Return the health check that the page puts into `argocd-cm`."""
    [block] = [block for block in blocks(page) if "resource.customizations" in block]
    customizations = yaml.safe_load(yaml.safe_load(block)["data"]["resource.customizations"])
    [(_, customization)] = customizations.items()
    return str(customization["health.lua"])


def health(obj: Object) -> tuple[str, str]:
    """Return the health status and message that Argo CD shows for an object."""
    runtime = lua51.LuaRuntime()
    runtime.globals().obj = runtime.table_from(obj, recursive=True)
    found = runtime.execute(script(PAGE))
    return found.status, found.message


def identity(outcome: Outcome | None = None) -> Object:
    """Return an identity after a reconcile with this outcome; without one, before the first reconcile."""
    metadata = {"name": "checkout", "namespace": "payments", "generation": GENERATION}
    raw = {"kind": "CloudRunIdentity", "metadata": metadata, "spec": {"projectRef": {"name": "acme"}}}
    if outcome is None:
        return raw
    status = status_of(CloudRunIdentity.model_validate(raw), Report(outcome), NOON)
    return {**raw, "status": status_object(status)}


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (InSync(), "Healthy"),
        (Waiting(Reason.PROPAGATION_PENDING, "reason"), "Progressing"),
        (Waiting(Reason.DRIFT_DETECTED, "reason"), "Progressing"),
        (Failing(Reason.API_UNAVAILABLE, "reason"), "Progressing"),
        (Failing(Reason.API_UNAVAILABLE, "reason", observed=False), "Progressing"),
        (Refused(Reason.INVALID_SPEC, "reason"), "Degraded"),
        (Paused(Reason.SUSPENDED, "reason"), "Suspended"),
        (Paused(Reason.DRIFT_DETECTED, "reason"), "Suspended"),
    ],
    ids=str,
)
def test_outcome_determines_the_health_status(outcome: Outcome, expected: str) -> None:
    message = "Google Cloud is as declared" if expected == "Healthy" else "reason"
    assert health(identity(outcome)) == (expected, message)


def test_object_past_its_progress_deadline_is_degraded() -> None:
    late = State("late", Kstatus.FAILED, Waiting(Reason.WORKLOAD_NOT_FOUND, "reason"), stalled=True)
    assert health(object_in("IdentityAttachment", late))[0] == "Degraded"


def test_object_without_status_is_progressing() -> None:
    assert health(identity())[0] == "Progressing"


def test_edited_object_is_progressing_until_it_is_reconciled() -> None:
    for outcome in (InSync(), Refused(Reason.INVALID_SPEC, "reason")):
        edited = identity(outcome)
        edited["metadata"]["generation"] += 1
        assert health(edited)[0] == "Progressing"


def test_policy_ledger_without_status_is_healthy() -> None:
    assert health({"kind": "PolicyLedger", "metadata": {"generation": 1}})[0] == "Healthy"
