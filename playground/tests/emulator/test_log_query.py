"""Filters in the Logging query language."""

from __future__ import annotations

import pytest

from cloudrun_identity_playground.emulator.errors import GoogleError
from cloudrun_identity_playground.emulator.log_router.query import parse

ENTRY = {
    "logName": "projects/shop/logs/cloudaudit.googleapis.com%2Factivity",
    "severity": "NOTICE",
    "labels": {"k8s-pod/app": "web"},
    "operation": {"first": True},
    "protoPayload": {
        "serviceName": "iam.googleapis.com",
        "methodName": "google.iam.admin.v1.SetIAMPolicy",
        "authenticationInfo": {"principalEmail": "dana@example.com"},
        "authorizationInfo": [{"permission": "iam.serviceAccounts.setIamPolicy"}, {"permission": "other"}],
        "status": {"code": 7},
    },
}


@pytest.mark.parametrize(
    "text",
    [
        "",
        'log_id("cloudaudit.googleapis.com/activity")',
        'logName="projects/shop/logs/cloudaudit.googleapis.com%2Factivity"',
        'protoPayload.serviceName=("run.googleapis.com" OR "iam.googleapis.com")',
        'protoPayload.methodName:("SetIam" AND "admin")',
        'protoPayload.methodName=~"^google\\.iam\\.admin\\.v1\\.(Set|Create)"',
        'protoPayload.methodName!~"^google\\.cloud"',
        'protoPayload.serviceName="iam.googleapis.com"\nprotoPayload.status.code>=7 -- refused',
        'NOT protoPayload.serviceName="run.googleapis.com"',
        '-protoPayload.serviceName="run.googleapis.com"',
        'protoPayload.authenticationInfo.principalEmail!="ann@example.com"',
        'protoPayload.missing!="x"',
        'protoPayload.authorizationInfo.permission="other"',
        'labels."k8s-pod/app"="web"',
        "operation.first=true",
        "severity>=NOTICE",
        "protoPayload.status:*",
        '"dana@example.com"',
        # OR binds more strongly than AND.
        "severity=ERROR OR severity=NOTICE AND protoPayload.status.code=7 OR protoPayload.status.code=8",
    ],
)
def test_matching_filter(text: str) -> None:
    assert parse(text)(ENTRY)


@pytest.mark.parametrize(
    "text",
    [
        'log_id("cloudaudit.googleapis.com/data_access")',
        'protoPayload.serviceName="run.googleapis.com"',
        'NOT protoPayload.methodName:"setiampolicy"',
        'protoPayload.missing="x"',
        "protoPayload.missing:*",
        "severity>=ERROR",
        'protoPayload.serviceName="iam.googleapis.com" protoPayload.status.code<7',
        "severity=NOTICE OR severity=ERROR AND protoPayload.status.code=8",
        '"eve@example.com"',
    ],
)
def test_other_filter(text: str) -> None:
    assert not parse(text)(ENTRY)


@pytest.mark.parametrize("text", ["a=(", "a=", "(a=b", "a=b)", 'a=~"("', 'log_id("x"', "NOT", "a=b OR"])
def test_broken_filter_is_invalid(text: str) -> None:
    with pytest.raises(GoogleError, match="Unparseable filter"):
        parse(text)
