"""The script that docs/operations.md gives Argo CD (Lua 5.1), over statuses as the operator writes them."""

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

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
GENERATION = 3
PAGE = ROOT / "docs" / "operations.md"

Object = dict[str, Any]


def script(page: Path) -> str:
    """What the page puts into `argocd-cm`."""
    [block] = [block for block in blocks(page) if "resource.customizations" in block]
    customizations = yaml.safe_load(yaml.safe_load(block)["data"]["resource.customizations"])
    [(_, customization)] = customizations.items()
    return str(customization["health.lua"])


def health(obj: Object) -> tuple[str, str]:
    """The status and the message that Argo CD shows of an object."""
    runtime = lua51.LuaRuntime()
    runtime.globals().obj = runtime.table_from(obj, recursive=True)
    found = runtime.execute(script(PAGE))
    return found.status, found.message


def identity(outcome: Outcome | None = None, *, stalled: bool = False) -> Object:
    """One after a pass with this outcome, or before the first one."""
    metadata = {"name": "checkout", "namespace": "payments", "generation": GENERATION}
    raw = {"kind": "CloudRunIdentity", "metadata": metadata, "spec": {"projectRef": {"name": "acme"}}}
    if outcome is None:
        return raw
    status = status_of(CloudRunIdentity.model_validate(raw), Report(outcome), NOON, stalled=stalled)
    return {**raw, "status": status_object(status)}


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (InSync(), "Healthy"),
        (Waiting(Reason.PROPAGATION_PENDING, "told"), "Progressing"),
        (Waiting(Reason.DRIFT_DETECTED, "told"), "Progressing"),
        (Failing(Reason.API_UNAVAILABLE, "told"), "Progressing"),
        (Failing(Reason.API_UNAVAILABLE, "told", observed=False), "Progressing"),
        (Refused(Reason.INVALID_SPEC, "told"), "Degraded"),
        (Paused(Reason.SUSPENDED, "told"), "Suspended"),
        (Paused(Reason.DRIFT_DETECTED, "told"), "Suspended"),
    ],
    ids=str,
)
def test_a_pass_is_shown_as_what_it_came_to(outcome: Outcome, expected: str) -> None:
    said = "Google Cloud is as declared" if expected == "Healthy" else "told"
    assert health(identity(outcome)) == (expected, said)


def test_what_has_failed_for_long_is_degraded() -> None:
    assert health(identity(Failing(Reason.API_UNAVAILABLE, "told"), stalled=True)) == ("Degraded", "told")


def test_what_was_not_seen_yet_is_waited_for() -> None:
    assert health(identity())[0] == "Progressing"


def test_an_edit_is_waited_for_whatever_was_said_before_it() -> None:
    for outcome in (InSync(), Refused(Reason.INVALID_SPEC, "told")):
        edited = identity(outcome)
        edited["metadata"]["generation"] += 1
        assert health(edited)[0] == "Progressing"


def test_a_ledger_which_has_no_status_is_healthy() -> None:
    assert health({"kind": "PolicyLedger", "metadata": {"generation": 1}})[0] == "Healthy"
