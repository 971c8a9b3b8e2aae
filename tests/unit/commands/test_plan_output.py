"""Formats of a plan."""

import json
from pathlib import Path

import pytest

from cloudrun_identity.api import Reason
from cloudrun_identity.commands.plan_output import PlanOutput, as_json, as_text
from cloudrun_identity.commands.plan_reports import (
    MAX_SUMMARY,
    as_annotations,
    as_markdown,
    as_sarif,
)
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.kube.manifest_files import Manifests, Source
from cloudrun_identity.plan.model import DryRun, PlanBlocker, PlannedStep, Sign
from cloudrun_identity.reconcile.cluster_state import ObjectKey
from cloudrun_identity.reconcile.steps import Change

IDENTITY = ObjectKey("CloudRunIdentity", "payments", "checkout")
BINDING = ObjectKey("IAMBinding", "payments", "viewers")
FILE = Source(Path("teams/payments.yaml"), 7)
GRANT = Grant(Target.project("shop-1234"), "roles/viewer", "user:ann@example.com")
ACCOUNT = "ServiceAccount checkout@shop-1234.iam.gserviceaccount.com"
RENAMED = Change("displayName", "", "Checkout, %: new")
STEPS = (
    PlannedStep(ACCOUNT, Sign.CHANGE, str(RENAMED), IDENTITY, detail=RENAMED),
    PlannedStep(
        "IAM policy of Project shop-1234",
        Sign.REMOVE,
        "roles/viewer for user:ann@example.com",
        BINDING,
        observed=True,
        detail=GRANT,
    ),
)
DENIED = PlanBlocker(IDENTITY, Reason.DENIED_BY_GUARDRAIL, "100% denied:\nadd an entry", final=True)
WAITING = PlanBlocker(BINDING, Reason.WORKLOAD_NOT_FOUND, "Service web does not exist", final=False)


def output(*parts: PlannedStep | PlanBlocker, in_cluster: bool = True) -> PlanOutput:
    sources = {(IDENTITY.kind, IDENTITY.namespace, IDENTITY.name): FILE}
    plan = DryRun(
        tuple(each for each in parts if isinstance(each, PlannedStep)),
        tuple(each for each in parts if isinstance(each, PlanBlocker)),
    )
    return PlanOutput(plan, Manifests(sources=sources), in_cluster)


@pytest.mark.parametrize(
    ("parts", "exit_code", "summary"),
    [
        ((), 0, "Nothing would change."),
        ((WAITING,), 0, "Nothing would change; 1 object would wait."),
        (STEPS, 2, "Plan: 0 to add, 1 to change, 1 to remove; 1 of the changes observed only."),
        ((DENIED,), 1, "Error: the plan is incomplete; 1 object would not become Ready."),
        (
            (STEPS[0], DENIED),
            1,
            "Plan: 0 to add, 1 to change, 0 to remove; 1 object would not become Ready.",
        ),
    ],
)
def test_summary_agrees_with_the_exit_code(
    parts: tuple[PlannedStep | PlanBlocker, ...], exit_code: int, summary: str
) -> None:
    result = output(*parts)
    assert result.exit_code == exit_code
    assert list(as_text(result, colors=False))[-1] == summary
    assert summary in as_markdown(result)


def test_plan_without_a_cluster_says_first_what_it_cannot_know() -> None:
    first = next(as_text(output(in_cluster=False), colors=False))
    assert first.startswith("Note: Planned without a cluster: ")
    assert "Planned without a cluster" in as_markdown(output(in_cluster=False))


def test_text_has_colors_only_on_request() -> None:
    plain = list(as_text(output(*STEPS, DENIED), colors=False))
    colored = list(as_text(output(*STEPS, DENIED), colors=True))
    assert plain[:4] == [
        ACCOUNT,
        "  ~ displayName: unset → Checkout, %: new  (CloudRunIdentity payments/checkout)",
        "IAM policy of Project shop-1234",
        "  - roles/viewer for user:ann@example.com  (IAMBinding payments/viewers, observed only)",
    ]
    assert "\x1b[" not in "".join(plain)
    assert all("\x1b[" in line for line in colored)


def test_json_has_the_documented_fields() -> None:
    found = json.loads(json.dumps(as_json(output(*STEPS, DENIED))))
    identity = {"kind": "CloudRunIdentity", "namespace": "payments", "name": "checkout"}
    binding = {"kind": "IAMBinding", "namespace": "payments", "name": "viewers"}
    assert found == {
        "schemaVersion": 1,
        "result": "Error",
        "cluster": True,
        "notes": [],
        "resources": [
            {
                "resource": ACCOUNT,
                "changes": [
                    {
                        "action": "change",
                        "text": "displayName: unset → Checkout, %: new",
                        "field": {"name": "displayName", "before": "", "after": "Checkout, %: new"},
                        "observed": False,
                        "object": identity,
                        "file": "teams/payments.yaml",
                        "line": 7,
                    }
                ],
            },
            {
                "resource": "IAM policy of Project shop-1234",
                "changes": [
                    {
                        "action": "remove",
                        "text": "roles/viewer for user:ann@example.com",
                        "grant": {
                            "role": "roles/viewer",
                            "member": "user:ann@example.com",
                            "condition": None,
                            "expiresAt": None,
                        },
                        "observed": True,
                        "object": binding,
                        "file": None,
                        "line": None,
                    }
                ],
            },
        ],
        "blockers": [
            {
                "object": identity,
                "file": "teams/payments.yaml",
                "line": 7,
                "reason": "DeniedByGuardrail",
                "message": "100% denied:\nadd an entry",
                "final": True,
            }
        ],
        "summary": {"add": 0, "change": 1, "remove": 1, "observed": 1, "blocked": 1, "waiting": 0},
    }


def test_annotations_escape_what_github_would_interpret() -> None:
    lines = list(as_annotations(output(*STEPS, DENIED, WAITING)))
    assert lines == [
        "::error file=teams/payments.yaml,line=7,title=CloudRunIdentity payments/checkout%3A "
        "DeniedByGuardrail::100%25 denied:%0Aadd an entry",
        "::warning title=IAMBinding payments/viewers%3A WorkloadNotFound::Service web does not exist",
        "::warning title=Removal from IAM policy of Project shop-1234::"
        "- roles/viewer for user:ann@example.com  (IAMBinding payments/viewers, observed only)",
        "::error title=cloudrun-identity plan::Plan: 0 to add, 1 to change, 1 to remove; 1 object would not "
        "become Ready; 1 object would wait; 1 of the changes observed only.",
    ]


def test_markdown_shows_changes_as_a_diff() -> None:
    text = as_markdown(output(*STEPS, DENIED))
    assert "! displayName: unset → Checkout" in text
    assert "\n- roles/viewer for user:ann@example.com" in text
    assert "! CloudRunIdentity payments/checkout: DeniedByGuardrail: 100% denied: add an entry" in text
    assert text.count("```") % 2 == 0


def test_markdown_that_github_would_drop_is_cut() -> None:
    steps = [
        PlannedStep(f"ServiceAccount a{number}", Sign.ADD, "x" * 1000, IDENTITY) for number in range(1000)
    ]
    text = as_markdown(output(*steps))
    assert len(text.encode()) < MAX_SUMMARY + 1000
    assert "The summary is cut" in text


def test_sarif_results_name_file_and_line() -> None:
    log = as_sarif(output(*STEPS, DENIED), "1.2.3")
    (run,) = json.loads(json.dumps(log))["runs"]
    location = {
        "physicalLocation": {
            "artifactLocation": {"uri": "teams/payments.yaml"},
            "region": {"startLine": 7},
        }
    }
    assert [(each["ruleId"], each["level"], each.get("locations")) for each in run["results"]] == [
        ("DeniedByGuardrail", "error", [location]),
        ("PlannedChange", "note", [location]),
        ("PlannedRemoval", "warning", None),
    ]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == [
        "DeniedByGuardrail",
        "PlannedChange",
        "PlannedRemoval",
    ]
    assert run["invocations"][0]["exitCode"] == 1
