"""The catalog of beliefs, its page, and the report of a run."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloudrun_identity.gcp.errors import Fault, GoogleError
from tools.verify.beliefs import Belief, Cost, Observation, Result, described
from tools.verify.catalog import BELIEFS
from tools.verify.page import PAGE, with_table
from tools.verify.report import Report, as_json, as_text, redacted
from tools.verify.runner import Finding
from tools.verify.sandbox import Sandbox

PRODUCT = Path(__file__).parents[3] / "operator" / "cloudrun_identity"


async def no_check(sandbox: Sandbox) -> AsyncIterator[Observation]:
    """Observe nothing."""
    return
    yield


BELIEF = Belief(
    id="round", statement="It is round.", breaks="Maps.", modules=("m.py",), cost=Cost.SLOW, check=no_check
)
ADDRESS = "crid-verify-0a1b2c-runner@shop-1234.iam.gserviceaccount.com"


def finding(*results: Result) -> Finding:
    return Finding(BELIEF, tuple(Observation("a read", "200", result) for result in results))


def report(*findings: Finding, left: tuple[str, ...] = ()) -> Report:
    return Report(
        service="Google Cloud",
        project_id="shop-1234",
        location="europe-west1",
        version="0.1.0",
        time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        findings=findings,
        left=left,
    )


def test_there_are_ten_beliefs_with_different_names() -> None:
    assert len({belief.id for belief in BELIEFS}) == len(BELIEFS) == 10


@pytest.mark.parametrize("belief", BELIEFS, ids=lambda belief: belief.id)
def test_modules_that_rely_on_a_belief_exist(belief: Belief) -> None:
    assert [module for module in belief.modules if not (PRODUCT / module).is_file()] == []


def test_the_page_has_a_current_row_for_each_belief() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == with_table(page), "run make generate"
    assert [belief.id for belief in BELIEFS if f"| `{belief.id}` |" not in page] == []


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ((), Result.SKIPPED),
        ((Result.HOLDS, Result.HOLDS), Result.HOLDS),
        ((Result.HOLDS, Result.UNKNOWN), Result.UNKNOWN),
        ((Result.UNKNOWN, Result.FALSE, Result.HOLDS), Result.FALSE),
    ],
)
def test_the_worst_observation_decides(results: tuple[Result, ...], expected: Result) -> None:
    assert finding(*results).result is expected


@pytest.mark.parametrize(
    ("of", "passed"),
    [
        (report(finding(Result.HOLDS), finding()), True),
        (report(finding(Result.HOLDS), finding(Result.UNKNOWN)), False),
        (report(finding(Result.FALSE)), False),
        (report(finding(Result.HOLDS), left=("service account a: no access",)), False),
    ],
    ids=["holds", "unknown", "false", "left"],
)
def test_a_run_passes_if_all_checked_beliefs_hold_and_nothing_is_left(of: Report, passed: bool) -> None:
    assert of.passed is passed
    assert as_json(of)["passed"] is passed


def test_a_false_belief_states_what_it_breaks() -> None:
    text = as_text(report(finding(Result.FALSE)))
    assert "FALSE    round" in text
    assert "This breaks: Maps." in text
    assert text.endswith("1 false")


def test_a_skipped_belief_names_the_option() -> None:
    assert "add --slow" in as_text(report(finding()))


def test_json_has_each_observation() -> None:
    [belief] = json.loads(json.dumps(as_json(report(finding(Result.HOLDS)))))["beliefs"]
    assert belief["result"] == "holds"
    assert belief["observations"] == [{"subject": "a read", "answer": "200", "result": "holds"}]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("projects/shop-1234 denied", "projects/PROJECT denied"),
        (f"{ADDRESS} is new", "crid-verify-0a1b2c-runner@PROJECT.iam.gserviceaccount.com is new"),
        ("user:ann@example.com lacks it", "user:ADDRESS lacks it"),
        ("payroll@shop-1234.iam.gserviceaccount.com", "ADDRESS"),
        ("deleted uid=112233445566778899001", "deleted uid=NUMBER"),
        ("after 120.5 s, 2026-01-02T03:04:05", "after 120.5 s, 2026-01-02T03:04:05"),
    ],
)
def test_redaction_removes_ids_and_addresses(text: str, expected: str) -> None:
    assert redacted(text, "shop-1234") == expected


def test_an_error_is_described_by_status_reason_and_message() -> None:
    error = GoogleError(
        Fault.QUOTA_EXCEEDED, "m", "too many", code="RESOURCE_EXHAUSTED", reason="RATE", retry_after=30
    )
    assert described(error) == "RESOURCE_EXHAUSTED RATE (too many) RetryInfo 30 s"
