"""IAM conditions that the emulator evaluates, and those that only Google can."""

import pytest

from cloudrun_identity_playground.emulator.access.conditions import (
    MODIFIED_ROLES,
    RequestAttributes,
    is_met,
    problem_of,
)

OBJECT = RequestAttributes(
    resource_name="projects/_/buckets/reports/objects/2026/sales.csv",
    resource_type="storage.googleapis.com/Object",
    time=1_790_000_000.5,
    modified_roles=frozenset({"roles/viewer"}),
)


@pytest.mark.parametrize(
    ("expression", "met"),
    [
        (
            "resource.type == 'storage.googleapis.com/Object' && resource.service != 'run.googleapis.com'",
            True,
        ),
        ("resource.name.startsWith('projects/_/buckets/backups')", False),
        ("resource.name.extract('/objects/{year}/') == '2026'", True),
        ("resource.name.extract('{all}') == resource.name", True),
        ("resource.name.extract('/folders/{folder}/') == ''", True),
        ("request.time > timestamp('2026-09-21T14:13:20Z')", True),
        ("request.time < timestamp('2026-09-21T14:13:21Z')", True),
        ("request.time.getHours('Europe/Zurich') == 16", True),
        (f"api.getAttribute('{MODIFIED_ROLES}', []).hasOnly(['roles/viewer', 'roles/browser'])", True),
        (f"api.getAttribute('{MODIFIED_ROLES}', []).hasOnly(['roles/browser'])", False),
        ("api.getAttribute('storage.googleapis.com/objectListPrefix', '') == ''", True),
    ],
)
def test_condition_about_the_call_is_evaluated(expression: str, met: bool) -> None:
    assert problem_of(expression) == ""
    assert is_met(expression, OBJECT) is met


@pytest.mark.parametrize(
    "expression",
    [
        "resource.matchTag('1/env', 'prod')",
        "resource.matchTagId('tagKeys/1', 'tagValues/2')",
        "resource.hasTagKey('1/env')",
        "resource.hasTagKeyId('tagKeys/1')",
        "inIpRange(origin.ip, '192.0.2.0/24')",
        "request.auth.access_levels.exists(level, level == 'high')",
        "destination.port == 443",
    ],
)
def test_condition_about_what_only_google_knows_is_accepted_and_not_met(expression: str) -> None:
    assert problem_of(expression) == ""
    assert not is_met(expression, OBJECT)


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("request.time <", "1:15: Syntax error"),
        ("resource.name", "the result is not a boolean"),
        ("user.name == 'ada'", "undeclared reference to 'user.name'"),
        ("resource.name.startWith('a')", "undeclared reference to 'startWith'"),
        ("resource.hasTagKey(1)", "no matching overload for 'hasTagKey'"),
    ],
)
def test_invalid_condition_is_refused_and_not_met(expression: str, problem: str) -> None:
    assert problem in problem_of(expression)
    assert not is_met(expression, OBJECT)
